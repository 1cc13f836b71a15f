"""Where a state can start beside a native node: the sidecar's own checkpoints and the node's
snapshots, in the end an empty state and the whole log. Each that can't be used is logged.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.errors import LogCorrupt, LogForked, LogGap, SnapshotInvalid, SourceMissing
from sidecar.limits import CHECKPOINT_PREFERRED_BLOCKS, WAY_BLOCKS_MAX
from sidecar.node.block_records import block_digest
from sidecar.node.extent import LogExtent
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.row_files import RowDirectory, RowFileHeader, RowFileReader
from sidecar.node.snapshot import SNAPSHOTS
from sidecar.node.starts import Start
from sidecar.node.transitions import Block
from sidecar.telemetry.logs import get_log

_log = get_log("node")


class NativeOrigin:
    """An IPC directory of a chain, and where the sidecar's own checkpoints are."""

    def __init__(
        self, ipc: IpcDirectory, info: ChainInfo, own: RowDirectory[Any] | None = None
    ) -> None:
        self._ipc = ipc
        self._info = info
        self._own = own

    def know(self, markets: Mapping[str, int]) -> None:
        """The log says which market is which."""

    async def refresh(self) -> bool:
        """The node writes snapshots when it does."""
        return False

    def reader(self, after: int) -> LogReader:
        """A reader of the blocks above a height, of its own."""
        return LogReader(self._ipc.log, after=after, chain=self._info.chain)

    def reader_behind(self, way: Sequence[Block]) -> LogReader:
        """A reader of the blocks behind the last of `way`, once the log is seen to hold that very
        one, and those before it as far as it reaches back: of two ways that differ below, both may
        have the same block of one height.
        """
        near = [one for one in way if one.height > way[-1].height - WAY_BLOCKS_MAX]
        for begin in range(len(near) - 1):
            with suppress(LogGap):  # its segment was retired, perhaps
                return self._reader_along(near[begin:])
        return self._reader_along(near[-1:])

    def _reader_along(self, way: Sequence[Block]) -> LogReader:
        reader = self.reader(way[0].height - 1)
        try:
            for block in way:
                self._check_next(reader, block)
        except BaseException:
            reader.close()
            raise
        return reader

    def _check_next(self, reader: LogReader, block: Block) -> None:
        while (found := reader.next_block()) is not None and found.height < block.height:
            pass
        if found is None:
            raise LogGap("the log ends below it", path=self._ipc.log, height=block.height)
        if block_digest(found) != block_digest(block):
            what = (
                "the log has another block than the one that was read: the node went another way, "
                "and what was sent of the blocks before it may be of the other one"
            )
            raise LogForked(what, path=self._ipc.log, height=block.height)

    def starts(self, at_most: int | None = None) -> Iterator[Start]:
        """The states that there are, the best first, each opened when it is asked for; only those
        of heights up to `at_most`. Raises `NodeError`: `LogGap` where there is none left.
        """
        files = _files(RowDirectory(self._ipc.snapshots, SNAPSHOTS), self._own)
        extent = LogExtent(self._ipc.log)  # after the listing: what has a snapshot is in its log
        doubted = 0
        for path, directory in files:
            if at_most is not None and int(path.stem) > at_most:
                continue
            try:
                start = _native_start(path, directory, self._ipc, self._info.chain, extent)
            except (SnapshotInvalid, SourceMissing, LogCorrupt, LogForked, LogGap) as error:
                _log.warning(f"{directory.form.noun} not used", reason=str(error))
                if isinstance(error, LogForked):
                    doubted = max(doubted, extent.head)
            else:
                yield replace(start, doubted=max(doubted, start.doubted))
        if (reason := extent.why_not_after(0)) is not None:
            what = (
                f"there is no checkpoint or snapshot to start from that can be used, and {reason}"
            )
            raise LogGap(what, path=self._ipc.log, height=1)
        where = (self._info.chain, 0, self._info.genesis_ns)
        yield Start(*where, (), self.reader(0), "log", doubted=doubted)


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
    """Raises `SnapshotInvalid` where the log can't go on from the file, or the file is damaged, and
    `LogForked` where the log went another way.
    """
    height, is_own = int(path.stem), directory.form is not SNAPSHOTS
    reason = extent.why_not_after(height)
    is_shown = height > 0 and extent.first is not None and not extent.why_not_after(height - 1)
    if extent.first is None and is_own:
        reason = "the log is empty: the node was replaced"
    elif reason is None and not is_shown and is_own:
        reason = "the log holds its block no more: it may be of a way that the node has left"
    if reason is not None:
        raise SnapshotInvalid(reason, path=path)
    file = RowFileReader(path, directory.form, chain=chain)
    if is_shown:
        reader, way = _reader_behind(ipc.log, path, file.header)
    else:
        reader, way = LogReader(ipc.log, after=height, chain=chain), []
    noun, header = directory.form.noun, file.header
    return Start(chain, height, header.time_ns, file.rows(), reader, noun, way, header.doubted)


def _reader_behind(
    log: Path, path: Path, header: RowFileHeader
) -> tuple[LogReader, Sequence[Block]]:
    """Behind the state in the file, and the blocks that lead there. Raises `LogForked` where the
    log has others.
    """
    reader = LogReader(log, after=header.height - 1, chain=header.chain)
    block = _read_own_block(reader, path, header)
    try:
        return reader, [*_read_before(log, path, header), block]
    except BaseException:
        reader.close()
        raise


def _read_own_block(reader: LogReader, path: Path, header: RowFileHeader) -> Block:
    """The last block of the state in the file. Raises `LogForked` where the log has another one:
    the node was set back, and went another way.
    """
    block = _read_one(reader)
    differs = ""
    if block is None or block.time_ns != header.time_ns:
        differs = "time"
    elif header.digest is not None and header.digest != block_digest(block):
        differs = "content"
    if block is None or differs:
        reader.close()
        what = f"the log's block of that height has another {differs}: the node went another way"
        raise LogForked(what, path=path)
    return block


def _read_before(log: Path, path: Path, header: RowFileHeader) -> Iterator[Block]:
    """The blocks before it that the file tells of, as far as the log reaches back. Raises
    `LogForked` likewise.
    """
    for height, digest in header.telling:
        with LogReader(log, after=height - 1, chain=header.chain) as reader:
            try:
                block = reader.next_block()
            except LogGap:  # its segment was retired
                continue
        if block is None or block_digest(block) != digest:
            what = f"the log has another block {height}: the node went another way"
            raise LogForked(what, path=path)
        yield block


def _read_one(reader: LogReader) -> Block | None:
    """Its next block; closes it where that fails."""
    try:
        return reader.next_block()
    except BaseException:
        reader.close()
        raise
