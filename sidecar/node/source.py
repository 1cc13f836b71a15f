"""Opens the configured node: where its state starts, and the reader that goes on from there.

A node that has not started yet is waited for, with a log line; a snapshot that can't be used is
logged and the next older one is taken, in the end an empty state and the whole log.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import anyio

from sidecar.config import SourceSettings
from sidecar.errors import SnapshotInvalid, SourceMissing
from sidecar.limits import SOURCE_RETRY_S
from sidecar.node.follow import Reader
from sidecar.node.hyperliquid import STREAMS, HyperliquidReader, open_first_snapshot
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.snapshot import Row, SnapshotReader, list_snapshots
from sidecar.telemetry.logs import get_log

_log = get_log("node")


@dataclass(frozen=True)
class Start:
    """The state to start from: the rows of a snapshot (none at height 0) and the reader of what
    follows.
    """

    chain: str
    height: int
    time_ns: int
    rows: Iterable[Row]
    reader: Reader


async def open_source(settings: SourceSettings) -> Start:
    """Waits until the node has written what is needed, then opens it. Raises `NodeError`,
    `ConfigInvalid`.
    """
    if settings.kind == "hyperliquid":
        return await _open_hyperliquid(settings)
    ipc = IpcDirectory(Path(settings.path))
    return _open_native(ipc, await _wait(ipc.read_chain))


async def _wait(read: Callable[[], ChainInfo]) -> ChainInfo:
    told = False
    while True:
        try:
            return read()
        except SourceMissing as missing:
            if not told:
                _log.warning("waiting for the node", reason=str(missing))
                told = True
            await anyio.sleep(SOURCE_RETRY_S)


def _open_native(ipc: IpcDirectory, info: ChainInfo) -> Start:
    for path in list_snapshots(ipc.snapshots):
        try:
            snapshot = SnapshotReader(path, chain=info.chain)
        except SnapshotInvalid as error:
            _log.warning("snapshot not used", reason=str(error))
            continue
        header = snapshot.header
        reader = LogReader(ipc.log, after=header.height, chain=info.chain)
        return Start(info.chain, header.height, header.time_ns, snapshot.rows(), reader)
    return Start(info.chain, 0, info.genesis_ns, (), LogReader(ipc.log, chain=info.chain))


async def _open_hyperliquid(settings: SourceSettings) -> Start:
    snapshot = await open_first_snapshot(settings)
    data = Path(settings.path)
    reader = HyperliquidReader(data, after=snapshot.height, markets=snapshot.markets)
    if missing := [name for name in STREAMS if not (data / name).is_dir()]:
        _log.warning("waiting for the node", path=str(data), missing=", ".join(missing))
    return Start("Hyperliquid", snapshot.height, 0, snapshot.rows(), reader)
