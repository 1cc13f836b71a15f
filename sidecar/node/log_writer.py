"""The writing side of the native log, for nodes: the development chain and tests.

A record is appended with one `write` and never changed. A writer that starts again cuts a record
that a crash left half written (no reader can have read it) and goes on behind it.
"""

import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Self

import msgspec

from sidecar.errors import LogGap, LogUnwritable, NodeError
from sidecar.limits import SEGMENT_BLOCKS, SEGMENT_BYTES, SEGMENTS_KEPT_MIN
from sidecar.node.block_records import encode_block
from sidecar.node.records import HEAD_BYTES, frame, unpack_head
from sidecar.node.segments import (
    FORMAT,
    SegmentHeader,
    SegmentReader,
    first_height,
    list_segments,
    segment_name,
)
from sidecar.node.transitions import Block


class LogWriter:
    """Appends blocks of one chain to a log directory."""

    def __init__(
        self,
        directory: Path,
        chain: str,
        *,
        first_height: int = 1,
        segment_blocks: int = SEGMENT_BLOCKS,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """`first_height`: of an empty log; a log that exists goes on behind its last whole
        block.
        """
        self.directory = directory
        self.chain = chain
        self.height = first_height - 1
        self._segment_blocks = segment_blocks
        self._segment_bytes = segment_bytes
        self._fd: int | None = None
        self._path = directory
        self._offset = 0
        self._first_height = first_height
        self._broken = False
        self._last_crc: int | None = None  # of the last block's record
        directory.mkdir(parents=True, exist_ok=True)
        segments = list_segments(directory)
        if segments:
            self._resume(segments[-1], segments[-2] if segments[1:] else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def append(self, block: Block) -> int:
        """Appends the next block; returns the bytes written. Raises `LogGap`, `LogUnwritable`.

        After `LogUnwritable` the log still verifies: what was written of the block is the prefix of
        a record.
        """
        if block.height != self.height + 1:
            raise LogGap(
                f"block {block.height} can't follow block {self.height}", height=block.height
            )
        record = frame(encode_block(block))
        if self._is_full():
            self.close()
        if self._fd is None:
            self._start_segment()
        self._write(record)
        self.height = block.height
        _, self._last_crc = unpack_head(record[:HEAD_BYTES])
        return len(record)

    def retire(self, snapshot_height: int) -> list[Path]:
        """Deletes segments that a snapshot at `snapshot_height` makes dispensable, never the
        newest two.
        """
        segments = list_segments(self.directory)
        retired: list[Path] = []
        for segment, following in pairwise(segments):
            if len(segments) - len(retired) <= SEGMENTS_KEPT_MIN:
                break
            if first_height(following) - 1 > snapshot_height:
                break
            segment.unlink()
            retired.append(segment)
        return retired

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _resume(self, newest: Path, before: Path | None) -> None:
        reader = _read_through(newest)
        self._last_crc = reader.last_crc
        if self._last_crc is None and before is not None:
            with suppress(NodeError):  # then nobody is told
                self._last_crc = _read_through(before).last_crc
        if reader.header is not None and reader.header.chain != self.chain:
            what = f"the log is of chain {reader.header.chain!r}, not {self.chain!r}"
            raise LogUnwritable(what, path=newest)
        self._first_height = first_height(newest)
        self._open(newest)
        os.ftruncate(self._descriptor(), reader.offset)
        self._offset = reader.offset
        if reader.header is None:
            self.height = self._first_height - 1
            self._write_header()
        else:
            self.height = reader.height

    def _is_full(self) -> bool:
        blocks = self.height + 1 - self._first_height
        return self._fd is not None and (
            blocks >= self._segment_blocks or self._offset >= self._segment_bytes
        )

    def _start_segment(self) -> None:
        self._first_height = self.height + 1
        self._open(self.directory / segment_name(self._first_height))
        self._offset = 0
        self._write_header()

    def _open(self, path: Path) -> None:
        self._path = path
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise LogUnwritable(f"can't open the segment: {error.strerror}", path=path) from error

    def _write_header(self) -> None:
        previous = self.height if list_segments(self.directory)[1:] else 0
        follows = self._last_crc if previous else None
        header = SegmentHeader(FORMAT, self.chain, self._first_height, previous, follows)
        self._write(frame(msgspec.msgpack.encode(header)))

    def _write(self, record: bytes) -> None:
        if self._broken:
            raise LogUnwritable("a write failed before; start again", path=self._path)
        try:
            written = os.write(self._descriptor(), record)
        except OSError as error:
            what = f"the log can't be written: {error.strerror}"
            raise LogUnwritable(what, path=self._path, offset=self._offset) from error
        if written < len(record):
            self._broken = True  # what follows a torn record would be lost
            what = f"only {written} of {len(record)} bytes could be written: is the disk full?"
            raise LogUnwritable(what, path=self._path, offset=self._offset + written)
        self._offset += written

    def _descriptor(self) -> int:
        assert self._fd is not None
        return self._fd


def _read_through(path: Path) -> SegmentReader:
    """Closed, at the end of what is whole."""
    reader = SegmentReader(path)
    try:
        while reader.next_block() is not None:
            pass
    finally:
        reader.close()
    return reader
