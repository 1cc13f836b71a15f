"""Segments of the native log: files that are named by their first height, each a header and one
record a block (docs/node-log.md).
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from sidecar.errors import LogCorrupt, LogGap
from sidecar.limits import RECORD_BYTES_MAX
from sidecar.node.block_records import UNDECODABLE, decode_block, peek_height
from sidecar.node.records import HEAD_BYTES, crc32c, unpack_head
from sidecar.node.regular import open_regular
from sidecar.node.transitions import Block
from sidecar.node.unreadable import unreadable

FORMAT = "node-log/1"
SUFFIX = ".seg"
HEIGHT_MAX = (1 << 63) - 1


class SegmentHeader(msgspec.Struct, array_like=True, frozen=True):
    """The first record of a segment. `previous_height` is the last height of the segment before,
    0 for none; `previous_crc` the CRC-32C of its record, None where there is none or nobody says.
    """

    format: str
    chain: str
    first_height: int
    previous_height: int
    previous_crc: int | None = None


_decode_header = msgspec.msgpack.Decoder(SegmentHeader).decode


class SegmentReader:
    """Reads the records of one segment, growing or done, each with one copy (from the page
    cache).
    """

    def __init__(self, path: Path, *, chain: str | None = None) -> None:
        """`chain`: what the header must say. Raises `SourceMissing`."""
        self.path = path
        self.chain = chain
        self.offset = 0
        self.header: SegmentHeader | None = None
        self._below = first_height(path) - 1
        self.height = self._below  # of the last block read
        self._head = b""  # of the record at the offset
        self._passed = 0, b""  # the last record that was read: its offset, its head
        try:
            self._fd = open_regular(path)
        except OSError as error:
            raise unreadable(path, error) from error

    def close(self) -> None:
        os.close(self._fd)

    def next_block(self) -> Block | None:
        """The next block, or None while its record is not all there. Raises `LogCorrupt`,
        `LogGap`.
        """
        if self.header is None and not self._read_header():
            return None
        payload = self.read_record()
        if payload is None:
            return None
        self.check_passed()
        try:
            block = decode_block(payload)
        except UNDECODABLE as error:
            raise self._corrupt(f"not a block: {error}") from error
        if block.height != self.height + 1:
            what = f"block {block.height} follows block {self.height}"
            raise LogGap(what, path=self.path, offset=self.offset, height=self.height + 1)
        self._pass(payload)
        self.height = block.height
        return block

    def skip_to(self, height: int) -> None:
        """Moves on behind block `height`, or as far as whole records go, looking at their heights
        only. What is missing below, or there twice, does no harm. Raises `LogCorrupt`.
        """
        if self.height >= height or (self.header is None and not self._read_header()):
            return
        while (payload := self.read_record()) is not None:
            found = peek_height(payload)
            if found is None or found > height:
                if found == height + 1:
                    self.height = height
                return
            self._pass(payload)
            self.height = max(found, self._below)  # what is lower still is of no segment behind it

    def at_boundary(self) -> bool:
        """Whether the file ends where the last read record ended."""
        size = os.fstat(self._fd).st_size
        if size < self.offset:
            raise self._corrupt(f"the file shrank to {size} bytes")
        return size == self.offset

    def check_in_place(self, is_retired: Callable[[], bool] = lambda: False) -> None:
        """Raises `LogCorrupt` where the path does not lead to this file any more: nobody will ever
        append to it, nor does what lies beside it follow it. One that `is_retired` may be gone.
        """
        try:
            replaced = not os.path.samestat(os.fstat(self._fd), self.path.stat())
        except FileNotFoundError:
            replaced = not is_retired()
        except OSError as error:
            raise unreadable(self.path, error) from error
        if replaced:
            raise self._corrupt("the segment was deleted or replaced while it was read")

    def check_passed(self) -> None:
        """Raises `LogCorrupt` where the last record that was read is another one now. A node that
        is set back cuts its log and writes on; if that is over before anybody looks, nothing else
        tells: what stands at our offset may look like the front of a long record.
        """
        offset, head = self._passed
        if head and self._look(HEAD_BYTES, offset) != head:
            raise self._corrupt("the record before it was written again: the node was set back")

    @property
    def last_crc(self) -> int | None:
        """Of the record of the last block that was read; None before the first."""
        offset, head = self._passed
        return unpack_head(head)[1] if offset else None

    def read_record(self) -> bytes | None:
        """The payload at the offset, its CRC checked, or None while it is not all there; does
        not move on.
        """
        head = self._look(HEAD_BYTES, self.offset)
        if len(head) < HEAD_BYTES:
            self.at_boundary()  # a file that shrank is corrupt, not quiet
            return None
        length, crc = unpack_head(head)
        payload = b""
        if 0 < length <= RECORD_BYTES_MAX:
            payload = self._look(length, self.offset + HEAD_BYTES)
            if len(payload) < length:
                return None
            if crc32c(payload) == crc:
                self._head = head
                return payload
        if self._look(HEAD_BYTES, self.offset) != head:
            return None  # a node that starts again has just cut a torn record off: look again
        if payload:
            raise self._corrupt(f"the CRC of a record of {length} bytes does not match")
        raise self._corrupt(f"a record of {length} bytes; 1 to {RECORD_BYTES_MAX} can be")

    def _read_header(self) -> bool:
        payload = self.read_record()
        if payload is None:
            return False
        try:
            header = _decode_header(payload)
        except UNDECODABLE as error:
            raise self._corrupt(f"not a segment header: {error}") from error
        if header.format != FORMAT:
            raise self._corrupt(f"format {header.format!r}; this version reads {FORMAT!r}")
        if segment_name(header.first_height) != self.path.name:
            raise self._corrupt(f"the header says first height {header.first_height}")
        if self.chain is not None and header.chain != self.chain:
            raise self._corrupt(f"the segment is of chain {header.chain!r}, not {self.chain!r}")
        self._pass(payload)
        self.header = header
        return True

    def _pass(self, payload: bytes) -> None:
        """The record at the offset was read."""
        self._passed = self.offset, self._head
        self.offset += HEAD_BYTES + len(payload)

    def _look(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:  # a bad disk, a network that is gone
            raise unreadable(self.path, error) from error

    def _corrupt(self, what: str) -> LogCorrupt:
        return LogCorrupt(what, path=self.path, offset=self.offset, height=self.height + 1)


def segment_name(first_height: int) -> str:
    """The file name of the segment that starts there."""
    return f"{first_height:020d}{SUFFIX}"


def list_segments(directory: Path) -> list[Path]:
    """The segments of a log, oldest first. Empty where the directory does not exist yet.

    Raises `SourceMissing` where it can't be read.
    """
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(directory, error) from error


def first_height(segment: Path) -> int:
    """The height of a segment's first block, from its name. Raises `LogCorrupt`."""
    if segment.stem.isdecimal() and len(segment.stem) == 20:
        height = int(segment.stem)
        if height <= HEIGHT_MAX:
            return height
    raise LogCorrupt("a segment's name is a height, 20 digits, and .seg", path=segment)
