"""Opens the configured node: where a state can start, and readers that go on from there.

A node that has not started yet is waited for, with a log line.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio

from sidecar.config import SourceSettings
from sidecar.errors import SourceMissing
from sidecar.limits import SOURCE_RETRY_S
from sidecar.node.hyperliquid import (
    STREAMS,
    HyperliquidReader,
    HyperliquidSnapshot,
    open_first_snapshot,
)
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.native import NativeOrigin
from sidecar.node.row_files import RowDirectory
from sidecar.node.starts import Origin, Start
from sidecar.telemetry.logs import get_log

_log = get_log("node")


async def open_source(settings: SourceSettings, own: RowDirectory[Any] | None = None) -> Origin:
    """Waits until the node has written what is needed, then opens it. `own` is where the sidecar's
    own checkpoints are. Raises `NodeError`, `ConfigInvalid`.
    """
    if settings.kind == "hyperliquid":
        return await _open_hyperliquid(settings)
    ipc = IpcDirectory(Path(settings.path))
    return NativeOrigin(ipc, await _wait(ipc.read_chain), own)


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


async def _open_hyperliquid(settings: SourceSettings) -> Origin:
    snapshot = await open_first_snapshot(settings)
    data = Path(settings.path)
    origin = HyperliquidOrigin(data, snapshot)
    if missing := [name for name in STREAMS if not (data / name).is_dir()]:
        _log.warning("waiting for the node", path=str(data), missing=", ".join(missing))
    return origin


class HyperliquidOrigin:
    """A node's data directory, and a snapshot file."""

    def __init__(self, data: Path, snapshot: HyperliquidSnapshot) -> None:
        self._data = data
        self._snapshot = snapshot

    def reader(self, after: int) -> HyperliquidReader:
        """A reader of the blocks above a height."""
        return HyperliquidReader(self._data, after=after, markets=self._snapshot.markets)

    def starts(self, at_most: int | None = None) -> Iterator[Start]:
        """The snapshot."""
        height = self._snapshot.height
        if at_most is None or height <= at_most:
            yield Start("Hyperliquid", height, 0, self._snapshot.rows(), self.reader(height))
