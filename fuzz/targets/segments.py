"""A log of several segment files, as a node left it: blocks whose heights go up by one, then
silence or an error that names the place; the same blocks when it is read while it grows, and
from any height on; `LogExtent` says the same; a writer that goes on behind it is read.
"""

import random
from functools import partial
from pathlib import Path
from unittest.mock import patch

import msgspec

import filesets
from cutting import at_random
from filesets import File
from mutators.files import mutate_files
from mutators.records import mutate_records, split
from scratch import scratch
from sidecar.errors import LogCorrupt, LogForked, LogGap, LogUnwritable, NodeError
from sidecar.node import log
from sidecar.node.block_records import UNDECODABLE
from sidecar.node.extent import LogExtent
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.records import crc32c
from sidecar.node.segments import HEIGHT_MAX, SUFFIX, SegmentHeader, segment_name
from sidecar.node.transitions import Block
from targets.records import content

AIMED_AT = (
    "sidecar.node.log",
    "sidecar.node.segments",
    "sidecar.node.extent",
    "sidecar.node.log_writer",
)
_ONLY = segment_name(1)
_LOOKS = 3  # at a log that does not grow
_DOCUMENTED = (LogCorrupt, LogForked, LogGap)


class _Follower:
    """Reads whenever it is told to, as the feed does: after an error it tries again."""

    def __init__(self, directory: Path, after: int = 0) -> None:
        self.reader = LogReader(directory, after=after)
        self.blocks: list[Block] = []
        self.error: NodeError | None = None

    def look(self) -> None:
        """Reads what is there. An error holds until a block comes."""
        try:
            while (block := self.reader.next_block()) is not None:
                self.error = None
                assert not self.blocks or block.height == self.blocks[-1].height + 1
                assert block.height == self.reader.height
                self.blocks.append(block)
        except _DOCUMENTED as error:
            assert error.path is not None
            self.error = error

    def finish(self) -> "_Follower":
        """Reads all there is."""
        for _ in range(_LOOKS):
            self.look()
        self.reader.close()
        return self


def check(data: bytes) -> None:
    """Writes the files, then reads them; a directory is listed as often as it is looked at."""
    with patch.object(log, "LOG_LISTED_S", 0):
        _check(data)


def _check(data: bytes) -> None:
    files = [file for file in filesets.decode(data, _ONLY) if "/" not in file.name]
    with scratch() as directory:
        filesets.write(directory, files, lambda: None, lambda content: [content])
        whole = _Follower(directory).finish()
        orderly = _is_orderly(files)
        if orderly:
            _check_from_anywhere(directory, whole)
        _check_extent(directory, whole, orderly=orderly)
        _check_writer(directory, whole, orderly=orderly)
    if orderly:
        _check_growing(files, whole, random.Random(len(data)))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other files."""
    return mutate_files(data, rng, mutate_records, _ONLY)


def _is_orderly(files: list[File]) -> bool:
    """Whether the segments came one behind the other, none overlaps the next, all have names, and
    follow the last record before: else it depends on when one looks, and from where, which of two
    is read, or what is wrong.
    """
    free_from, last = 1, b""
    for name, text in files:
        stem = name.removesuffix(SUFFIX)
        first = int(stem) if stem.isdecimal() and segment_name(int(stem)) == name else 0
        if not free_from <= first <= HEIGHT_MAX:
            return False
        records = split(text)[0]
        follows = _decode_header(records[0]).previous_crc if records else None
        if last and follows is not None and follows != crc32c(last):
            return False
        last = records[-1] if records[1:] else b""
        free_from = first + max(len(records) - 1, 1)
    return True


def _decode_header(payload: bytes) -> SegmentHeader:
    try:
        return msgspec.msgpack.decode(payload, type=SegmentHeader)
    except UNDECODABLE:
        return SegmentHeader("", "", 0, 0)


def _check_growing(files: list[File], whole: _Follower, rng: random.Random) -> None:
    with scratch() as directory:
        growing = _Follower(directory)
        filesets.write(directory, files, growing.look, partial(at_random, rng=rng))
        growing.finish()
    assert content(growing.blocks) == content(whole.blocks)
    assert type(growing.error) is type(whole.error)


def _check_from_anywhere(directory: Path, whole: _Follower) -> None:
    for index in (0, len(whole.blocks) // 2, len(whole.blocks) - 1):
        if 0 <= index < len(whole.blocks):
            after = whole.blocks[index].height
            part = _Follower(directory, after).finish()
            expected = content(whole.blocks[index + 1 :])
            # Of what lies below its start a reader looks at heights only: it may get past an error.
            end = None if whole.error is None else len(expected)
            assert content(part.blocks)[:end] == expected


def _check_extent(directory: Path, whole: _Follower, *, orderly: bool) -> None:
    try:
        extent = LogExtent(directory)
    except LogCorrupt as error:
        assert error.path is not None
        return
    last = whole.blocks[-1].height if whole.blocks else 0
    for height in (0, last, last + 1, extent.head):
        extent.why_not_after(height)
    if orderly and whole.error is None and whole.blocks:
        assert extent.first == whole.blocks[0].height
        assert extent.head >= last
        assert extent.why_not_after(last) is None


def _check_writer(directory: Path, whole: _Follower, *, orderly: bool) -> None:
    try:
        with LogWriter(directory, "devnet-1") as writer:
            height = writer.height + 1
            writer.append(Block(height, 7, 7, []))
    except (*_DOCUMENTED, LogUnwritable):
        return
    again = _Follower(directory).finish()
    if orderly and whole.error is None and whole.blocks:
        assert content(again.blocks[:-1]) == content(whole.blocks)
        assert again.blocks[-1].height == height
