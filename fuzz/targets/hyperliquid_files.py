"""The files of a Hyperliquid node, hour by hour: blocks whose heights go up by one, silence,
`LogCorrupt`, `LogGap` or `SourceMissing` that name the place; the same blocks and the same end when
they are read while they grow, in whatever pieces. A lenient state takes the blocks, and all that
readers are sent of it can be encoded. Reads and the longest line are made small, so that inputs are
more than one.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import msgspec

import filesets
from cutting import at_random
from filesets import File
from mutators.files import mutate_files
from mutators.jsons import mutate_lines
from scratch import scratch
from serving import Reader
from sidecar.errors import LogCorrupt, LogGap, NodeError, SourceMissing
from sidecar.node.hyperliquid import DiffReader, HyperliquidReader, lines, seek
from sidecar.node.hyperliquid.diff_reader import BookStep
from sidecar.node.hyperliquid.draft import INVALID
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.reader import _ROW_READERS, STREAMS
from sidecar.node.hyperliquid.seek import peek_height
from sidecar.node.snapshot import MarketRow
from sidecar.node.transitions import Block, MarketListed, OrdersRefused
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import restorer

AIMED_AT = tuple(
    f"sidecar.node.hyperliquid.{name}"
    for name in ("reader", "stream", "files", "lines", "hours", "seek", "diff_reader")
)
AFTER = 100  # the height of the snapshot that the files follow
_ONLY = "node_raw_book_diffs_by_block/hourly/20260505/17"
_MARKETS = {"BTC": 0}
_READ_BYTES, _LINE_BYTES_MAX = 600, 3_000
_QUIET_S = 5.0
_LOOKS = 4
_BLOCKS_MAX = 50

Outcome = tuple[list[Block], type[NodeError] | None]


class _Follower:
    """Reads whenever it is told to. Time goes on when it is told, too."""

    def __init__(self, directory: Path) -> None:
        self._now_ns = 0
        self.reader = HyperliquidReader(
            directory, after=AFTER, markets=_MARKETS, quiet_s=_QUIET_S, clock=lambda: self._now_ns
        )
        self.blocks: list[Block] = []
        self.error: NodeError | None = None

    def look(self) -> None:
        """Reads what is there; the first error is the last."""
        if self.error is not None:
            return
        try:
            while (block := self.reader.next_block()) is not None:
                assert block.height == self.reader.height == AFTER + len(self.blocks) + 1
                self.blocks.append(block)
        except (LogCorrupt, LogGap, SourceMissing) as error:
            assert error.path is not None
            self.error = error
        self.reader.behind()

    def finish(self) -> "_Follower":
        """Reads all there is, with pauses long enough for a node to be dead."""
        for _ in range(_LOOKS):
            self.look()
            self._now_ns += int(_QUIET_S * 1e9)
        self.reader.directories()
        self.reader.close()
        return self


def check(data: bytes) -> None:
    """Writes the files, reads them, and serves what was read."""
    with (
        patch.object(lines, "READ_BYTES", _READ_BYTES),
        patch.object(seek, "READ_BYTES", _READ_BYTES),
        patch.object(lines, "LINE_BYTES_MAX", _LINE_BYTES_MAX),
    ):
        _check(data)


def _check(data: bytes) -> None:
    files = filesets.decode(data, _ONLY)
    whole = _read(files, lambda content: [content], lambda _: None)
    if _is_orderly(files):
        pieces = partial(at_random, rng=random.Random(len(data)))
        growing = _read(files, pieces, _Follower.look)
        both = min(len(growing.blocks), len(whole.blocks))
        assert _content(growing.blocks[:both]) == _content(whole.blocks[:both])
        if _is_plain(files):
            assert len(growing.blocks) == len(whole.blocks)
            _check_errors(growing.error, whole.error)
    state = ChainState(strict=False)
    restorer(state, AFTER, 1).rows([MarketRow(MarketListed(0, "BTC"))])
    reader = Reader(state, whole.blocks[:_BLOCKS_MAX])
    reader.follow()
    reader.check()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other files."""
    return mutate_files(data, rng, mutate_lines, _ONLY)


def _content(blocks: list[Block]) -> list[list[object]]:
    return [
        [block.height, block.time_ns, block.written_ns]
        + [
            (one.market, one.count, one.statuses()) if isinstance(one, OrdersRefused) else one
            for one in block.transitions
        ]
        for block in blocks
    ]


def _is_orderly(files: list[File]) -> bool:
    """Whether the files came hour by hour and say one thing of each height: else it depends on when
    one looks which of two is read.
    """
    if files != sorted(files, key=_hour) or len({file.name for file in files}) < len(files):
        return False
    rows: dict[tuple[str, object], bytes] = {}
    for name, content in files:
        for text in content.split(b"\n"):
            with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
                key = (name.split("/")[0], _decode_height(text).block_number)
                if rows.setdefault(key, text) != text:
                    return False
    return True


def _is_plain(files: list[File]) -> bool:
    """Whether heights never go back (nor does half a line's), one line at most of a stream can't be
    read, and files begin with a row: else it depends on when one looks at which file reading
    begins, and whether a line that can't be read is one that a dying node left, which the rows that
    it writes again stand for.
    """
    highest: dict[str, int] = {}
    unread: set[str] = set()
    for name, content in files:
        stream = name.split("/")[0]
        if stream not in STREAMS:
            continue
        if content and peek_height(content) is None:
            return False
        *texts, half = content.split(b"\n")
        for text in [*texts, half] if half else texts:
            height = peek_height(text)
            if text is not half and (height is None or not _can_be_read(stream, text, height)):
                if stream in unread:
                    return False
                unread.add(stream)
            if height is not None:
                if height <= max(highest.get(stream, -1), AFTER if stream in unread else -1):
                    return False
                highest[stream] = height
    return True


def _can_be_read(stream: str, text: bytes, height: int) -> bool:
    try:
        return _ROW_READERS[stream](Line(text, Path(), 0)).height == height
    except INVALID:
        return False


def _check_errors(one: NodeError | None, other: NodeError | None) -> None:
    """Both readers stop for the same, or for two streams' faults at one height."""
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        paths = [error.path and error.path.parts[-4] for error in (one, other)]
        assert paths[0] != paths[1] or type(one) is type(other)


class _Height(msgspec.Struct):
    block_number: int


_decode_height = msgspec.json.Decoder(_Height).decode


def _hour(file: File) -> tuple[str, int]:
    *_, date, hour = ("", "", *file.name.split("/"))
    return date, int(hour) if hour.isdecimal() else -1


def _read(
    files: list[File], pieces: filesets.Pieces, look: Callable[[_Follower], None]
) -> _Follower:
    with scratch() as directory:
        follower = _Follower(directory)
        filesets.write(directory, files, lambda: look(follower), pieces)
        follower.finish()
        if look is not _Follower.look:
            _check_diffs(directory, follower.blocks)
    return follower


def _check_diffs(directory: Path, blocks: list[Block]) -> None:
    """The reader of books alone sees the same steps."""
    with DiffReader(directory, after=AFTER, markets=_MARKETS) as diffs:
        for block in blocks:
            try:
                steps = diffs.next_steps()
            except (LogCorrupt, LogGap, SourceMissing):
                return  # a side that only a status knows; a symbol numbered another way
            assert steps is None or len(steps) == len(
                [one for one in block.transitions if isinstance(one, BookStep)]
            )
