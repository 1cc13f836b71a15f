"""Opens the configured node: where its state starts, and the reader that goes on from there.

A node that has not started yet is waited for, with a log line. Beside a native node there are
several places to start from: the sidecar's own checkpoints and the node's snapshots, in the end an
empty state and the whole log. They are tried in turn; each that can't be used is logged.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from sidecar.config import SourceSettings
from sidecar.errors import ConfigInvalid, LogGap, SnapshotInvalid, SourceMissing
from sidecar.limits import CHECKPOINT_PREFERRED_BLOCKS, SOURCE_RETRY_S
from sidecar.node.extent import LogExtent
from sidecar.node.follow import Reader
from sidecar.node.hyperliquid import STREAMS, HyperliquidReader, HyperliquidSnapshot
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.row_files import RowDirectory, RowFileReader
from sidecar.node.snapshot import SNAPSHOTS
from sidecar.telemetry.logs import get_log

_log = get_log("node")


@dataclass(frozen=True)
class Start:
    """The state to start from: the rows of a snapshot or checkpoint (none at height 0) and the
    reader of what follows. `origin` says in the log what the rows are from.
    """

    chain: str
    height: int
    time_ns: int
    rows: Iterable[Any]
    reader: Reader
    origin: str = "snapshot"


async def open_source(
    settings: SourceSettings, own: RowDirectory[Any] | None = None
) -> Iterator[Start]:
    """Waits until the node has written what is needed, then opens it: where to start from, the best
    first. Whoever can't use one closes its reader and asks for the next. `own` is where the
    sidecar's own checkpoints are.

    Raises `NodeError`, `ConfigInvalid`; each step does: `LogGap` where nothing is left to start
    from.
    """
    if settings.kind == "hyperliquid":
        return iter((await _open_hyperliquid(settings),))
    ipc = IpcDirectory(Path(settings.path))
    return _native_starts(ipc, await _wait(ipc.read_chain), own)


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


def _native_starts(
    ipc: IpcDirectory, info: ChainInfo, own: RowDirectory[Any] | None
) -> Iterator[Start]:
    files = _files(RowDirectory(ipc.snapshots, SNAPSHOTS), own)
    extent = LogExtent(ipc.log)  # after the listing: what a node snapshots is in its log already
    for path, directory in files:
        try:
            start = _native_start(path, directory, ipc, info.chain, extent)
        except (SnapshotInvalid, SourceMissing) as error:
            _log.warning(f"{directory.form.noun} not used", reason=str(error))
        else:
            yield start
    if (reason := extent.why_not_after(0)) is not None:
        what = f"there is no checkpoint or snapshot to start from that can be used, and {reason}"
        raise LogGap(what, path=ipc.log, height=1)
    reader = LogReader(ipc.log, chain=info.chain)
    yield Start(info.chain, 0, info.genesis_ns, (), reader, "log")


def _files(
    snapshots: RowDirectory[Any], own: RowDirectory[Any] | None
) -> list[tuple[Path, RowDirectory[Any]]]:
    """Newest first, where an own checkpoint, which holds more than a snapshot, counts as newer than
    it is.
    """
    found = [] if own is None else [(path, own) for path in own.list()]
    found += [(path, snapshots) for path in snapshots.list()]

    def newness(one: tuple[Path, RowDirectory[Any]]) -> int:
        path, directory = one
        return int(path.stem) + (CHECKPOINT_PREFERRED_BLOCKS if directory is own else 0)

    return sorted(found, key=newness, reverse=True)  # stable: own ones first where equal


def _native_start(
    path: Path, directory: RowDirectory[Any], ipc: IpcDirectory, chain: str, extent: LogExtent
) -> Start:
    """Raises `SnapshotInvalid` where the log can't go on from the file, or the file is damaged."""
    height = int(path.stem)
    reason = extent.why_not_after(height)
    if extent.first is None and directory.form is not SNAPSHOTS:
        reason = "the log is empty: the node was replaced"
    if reason is not None:
        raise SnapshotInvalid(reason, path=path)
    file = RowFileReader(path, directory.form, chain=chain)
    time_ns = file.header.time_ns
    if height == 0 or extent.first is None or extent.why_not_after(height - 1) is not None:
        reader = LogReader(ipc.log, after=height, chain=chain)
    else:
        reader = LogReader(ipc.log, after=height - 1, chain=chain)
        _read_own_block(reader, path, time_ns)
    return Start(chain, height, time_ns, file.rows(), reader, directory.form.noun)


def _read_own_block(reader: LogReader, path: Path, time_ns: int) -> None:
    """The last block of the state in the file. Raises `SnapshotInvalid` where the log has one of
    another time: the node was set back, and went another way.
    """
    try:
        block = reader.next_block()
    except BaseException:
        reader.close()
        raise
    if block is None or block.time_ns != time_ns:
        reader.close()
        what = "the log's block of that height has another time: the node went another way"
        raise SnapshotInvalid(what, path=path)


async def _open_hyperliquid(settings: SourceSettings) -> Start:
    if settings.snapshot is None:
        raise ConfigInvalid(
            "source.snapshot: a Hyperliquid node's files hold changes only; name an L4 snapshot "
            "file (fileSnapshot of the node's info server, or compute-l4-snapshots)"
        )
    snapshot = HyperliquidSnapshot(Path(settings.snapshot), settings.snapshot_height)
    data = Path(settings.path)
    reader = HyperliquidReader(data, after=snapshot.height, markets=snapshot.markets)
    if missing := [name for name in STREAMS if not (data / name).is_dir()]:
        _log.warning("waiting for the node", path=str(data), missing=", ".join(missing))
    return Start("Hyperliquid", snapshot.height, 0, snapshot.rows(), reader)
