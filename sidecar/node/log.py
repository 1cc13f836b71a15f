"""The native log: segments of records, one record a block (docs/node-log.md).

    log/00000000000000000001.seg    [header][block 1][block 2] ... [block 4096]
    log/00000000000000004097.seg    [header][block 4097] ...    growing: may be cut anywhere

`SegmentReader` reads one segment, `LogReader` a whole directory across segments, both without
waiting: "nothing more yet" is an answer. The node's side is `sidecar.node.log_writer`.
"""

import errno
import math
import os
import time
from pathlib import Path
from typing import Self

import msgspec

from sidecar.errors import LogCorrupt, LogGap, SourceBusy, SourceMissing
from sidecar.limits import LOG_LISTED_S, RECORD_BYTES_MAX
from sidecar.node.records import HEAD_BYTES, crc32c, unpack_head
from sidecar.node.transitions import Block, Logged

FORMAT = "node-log/1"
SUFFIX = ".seg"
UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)  # what msgspec raises for bytes
_HEIGHT_MAX = (1 << 63) - 1
PEEK_BYTES = 14  # of a payload: an array's head, an integer's
_FIX_ARRAY = 0x9  # msgpack: the upper four bits
_FIX_INT_MAX = 0x7F
_ARRAYS = {0xDC: 3, 0xDD: 5}  # array 16, array 32: bytes of the head
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}  # uint 8 to uint 64: bytes that follow
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


class SegmentHeader(msgspec.Struct, array_like=True, frozen=True):
    """The first record of a segment. `previous_height` is the last height of the segment before,
    0 for none.
    """

    format: str
    chain: str
    first_height: int
    previous_height: int


class _BlockRecord(msgspec.Struct, array_like=True, frozen=True):
    height: int
    time_ns: int
    written_ns: int
    transitions: list[Logged]


class _LooseBlockRecord(msgspec.Struct, array_like=True, frozen=True):
    height: int
    time_ns: int
    written_ns: int
    transitions: list[msgspec.Raw]


_encoder = msgspec.msgpack.Encoder()
_decode_header = msgspec.msgpack.Decoder(SegmentHeader).decode
_decode_block = msgspec.msgpack.Decoder(_BlockRecord).decode
_decode_loose_block = msgspec.msgpack.Decoder(_LooseBlockRecord).decode
_decode_transition = msgspec.msgpack.Decoder(Logged).decode
_decode_array = msgspec.msgpack.Decoder(list).decode
_KNOWN_TAGS = frozenset(kind.__struct_config__.tag for kind in Logged.__args__)


def encode_block(block: Block) -> bytes:
    """The payload of a block's record."""
    return _encoder.encode((block.height, block.time_ns, block.written_ns, block.transitions))


def block_digest(block: Block) -> int:
    """What tells a block from another one of its height. When the node wrote it does not count: a
    node that starts again may write the same block later. O(transitions).
    """
    return crc32c(encode_block(msgspec.structs.replace(block, written_ns=0)))


def decode_block(payload: bytes) -> Block:
    """A block from its record's payload. Raises `msgspec.DecodeError`. O(n).

    Transitions with a tag that this version does not know are skipped and counted in
    `Block.unknown`.
    """
    try:
        record = _decode_block(payload)
    except msgspec.ValidationError:
        return _decode_with_unknown_tags(payload)
    return Block(record.height, record.time_ns, record.written_ns, record.transitions)  # type: ignore[arg-type]


def _decode_with_unknown_tags(payload: bytes) -> Block:
    record = _decode_loose_block(payload)
    transitions = []
    unknown = 0
    for encoded in record.transitions:
        fields = _decode_array(encoded)
        if fields and isinstance(fields[0], int) and fields[0] not in _KNOWN_TAGS:
            unknown += 1
        else:
            transitions.append(_decode_transition(encoded))
    return Block(record.height, record.time_ns, record.written_ns, transitions, unknown)


def peek_height(payload: bytes) -> int | None:
    """The height of a block's record from its front, PEEK_BYTES at the most: an array, then an
    unsigned integer (docs/node-log.md). None where something else stands there. O(1).
    """
    kind = payload[0] if payload else 0
    start = 1 if kind >> 4 == _FIX_ARRAY else _ARRAYS.get(kind)
    if start is None or len(payload) <= start:
        return None
    first = payload[start]
    if first <= _FIX_INT_MAX:
        return first
    size = _UNSIGNED.get(first, 0)
    digits = payload[start + 1 : start + 1 + size]
    return int.from_bytes(digits, "big") if digits and len(digits) == size else None


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
        self.height = first_height(path) - 1  # of the last block read
        self._head = b""  # of the record at the offset
        self._passed = 0, b""  # the last record that was read: its offset, its head
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
            self.height = found

    def at_boundary(self) -> bool:
        """Whether the file ends where the last read record ended."""
        size = os.fstat(self._fd).st_size
        if size < self.offset:
            raise self._corrupt(f"the file shrank to {size} bytes")
        return size == self.offset

    def check_in_place(self, *, newest: bool) -> None:
        """Raises `LogCorrupt` where the path does not lead to this file any more: nobody will ever
        append to it, nor does what lies beside it follow it. All but the `newest` may be retired.
        """
        try:
            replaced = not os.path.samestat(os.fstat(self._fd), self.path.stat())
        except FileNotFoundError:
            replaced = newest
        except OSError as error:
            raise unreadable(self.path, error) from error
        if replaced:
            raise self._corrupt("the segment was deleted or replaced while it was read")

    def check_passed(self) -> None:
        """Raises `LogCorrupt` where the last record that was read is another one now. A node that
        is set back cuts its log and writes on; if that is over before anybody looks, nothing else
        tells.
        """
        offset, head = self._passed
        if self._look(HEAD_BYTES, offset) != head:
            raise self._corrupt("the record before it was written again: the node was set back")

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


class LogReader:
    """Reads blocks above a height from a log directory, segment after segment, without waiting."""

    def __init__(self, directory: Path, *, after: int = 0, chain: str | None = None) -> None:
        """`after`: the height of the last block that is already known. `chain`: what the
        segments must say.
        """
        self.directory = directory
        self.chain = chain
        self.height = after
        self._segment: SegmentReader | None = None
        self._listed_at = -math.inf  # monotonic seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def directories(self) -> list[Path]:
        """The directories to watch for new blocks."""
        return [self.directory]

    def is_at_head(self) -> bool:
        """False where the log ends below `height`: the node went back."""
        known = 0 if self._segment is None else self._segment.height
        return known >= self.height

    def behind(self) -> list[Path]:
        """Nothing: a block of this log is whole or not there."""
        return []

    @property
    def position(self) -> tuple[Path, int] | None:
        """The segment being read and the offset in it."""
        return None if self._segment is None else (self._segment.path, self._segment.offset)

    def next_block(self) -> Block | None:
        """The block after `height`, or None while the node has not written it.

        Raises `LogCorrupt` and `LogGap` with file, offset and height; the reader stays where it
        was.
        """
        if self._segment is None and not self._open_first():
            return None
        while True:
            assert self._segment is not None
            self._segment.skip_to(self.height)
            block = self._segment.next_block()
            if block is None:
                if not self._advance():
                    return None
            elif block.height > self.height:
                self.height = block.height
                return block

    def _open_first(self) -> bool:
        segments = list_segments(self.directory)
        if not segments:
            return False
        chosen = [s for s in segments if first_height(s) <= self.height + 1]
        if not chosen:
            oldest = first_height(segments[0])
            raise LogGap(
                f"the log starts at height {oldest}; height {self.height + 1} is needed",
                path=segments[0],
                height=self.height + 1,
            )
        self._segment = SegmentReader(chosen[-1], chain=self.chain)
        self._segment.skip_to(self.height)
        return True

    def _advance(self) -> bool:
        """Goes to the next segment where there is one and this one is read to its end."""
        segment = self._segment
        assert segment is not None
        newer = self._newer(segment)
        if newer is None:
            return False
        # The next segment exists: this one is complete, but its last append may be news to us.
        if segment.at_boundary():
            self._enter(newer, segment)
        elif segment.read_record() is None:
            raise LogCorrupt(
                "the segment ends inside a record though a newer one exists",
                path=segment.path,
                offset=segment.offset,
                height=segment.height + 1,
            )
        return True

    def _newer(self, segment: SegmentReader) -> Path | None:
        """The segment after this one. The name it should have is looked for each time, others
        (a gap) and a log that was replaced a few times a second: listing costs ten times as much.
        """
        expected = self.directory / segment_name(segment.height + 1)
        if expected != segment.path and _exists(expected):
            return expected
        now = time.monotonic()
        if now - self._listed_at < LOG_LISTED_S:
            return None
        self._listed_at = now
        newer = [path for path in list_segments(self.directory) if path.name > segment.path.name]
        if not newer:
            segment.check_in_place(newest=True)
        return newer[0] if newer else None

    def _enter(self, path: Path, before: SegmentReader) -> None:
        if first_height(path) != before.height + 1:
            what = f"the next segment starts at height {first_height(path)}"
            raise LogGap(what, path=path, offset=0, height=before.height + 1)
        segment = SegmentReader(path, chain=self.chain)
        try:
            before.check_in_place(newest=False)  # else what was opened is of another log
            before.check_passed()
        except BaseException:
            segment.close()
            raise
        before.close()
        self._segment = segment


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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # in a directory that may not be searched
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> SourceMissing:
    """The error of the operating system, with what to do about it."""
    remedy = "; may this user read it?" if isinstance(error, PermissionError) else ""
    kind = SourceBusy if error.errno in _OUT_OF_RESOURCES else SourceMissing
    return kind(f"can't be read: {error.strerror}{remedy}", path=path)


def first_height(segment: Path) -> int:
    """The height of a segment's first block, from its name. Raises `LogCorrupt`."""
    if segment.stem.isdecimal() and len(segment.stem) == 20:
        height = int(segment.stem)
        if height <= _HEIGHT_MAX:
            return height
    raise LogCorrupt("a segment's name is a height, 20 digits, and .seg", path=segment)
