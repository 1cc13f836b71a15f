"""Files of rows: a state after a height, as records; snapshots and checkpoints are such files.

    [header][chunk][chunk] ... [footer]        header: format, chain, height, time
                                               chunk:  up to 4,096 rows
                                               footer: rows, CRC-32C of all payloads before it

A file is named after its height, 20 digits, and is there whole or not at all: it is written under a
temporary name, fsynced, renamed. A reader first goes through all bytes without decoding a row, then
decodes one chunk at a time while its rows are used.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import or_
from pathlib import Path
from typing import Any, BinaryIO, Generic, Literal, TypeVar

import msgspec

from sidecar.errors import SnapshotInvalid, SourceMissing
from sidecar.limits import RECORD_BYTES_MAX, SNAPSHOT_CHUNK_ROWS, SNAPSHOTS_KEPT
from sidecar.node.block_records import UNDECODABLE
from sidecar.node.ipc import sync_directory
from sidecar.node.records import HEAD_BYTES, crc32c, extend_crc32c, frame, unpack_head
from sidecar.node.regular import open_regular
from sidecar.node.unreadable import unreadable

RowT = TypeVar("RowT")


class RowFileHeader(msgspec.Struct, array_like=True, tag="snapshot", frozen=True):
    """What a file is of: the state after block `height` of `chain`, whose consensus time was
    `time_ns`; `digest` is that block's (see `block_digest`), None where it is not known. `telling`:
    heights and digests of blocks before it that tell the way there, oldest first. `doubted`: up to
    which height what was told of the chain may be wrong, or of another way.
    """

    format: str
    chain: str
    height: int
    time_ns: int
    digest: int | None = None
    telling: tuple[tuple[int, int], ...] = ()
    doubted: int = 0


class _Chunk(msgspec.Struct, array_like=True, tag="rows", frozen=True):
    rows: list[Any]


class _Footer(msgspec.Struct, array_like=True, tag="end", frozen=True):
    rows: int
    crc: int


_encode = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(RowFileHeader).decode
_decode_footer = msgspec.msgpack.Decoder(_Footer).decode


def encode_header(header: RowFileHeader) -> bytes:
    """A header as a record's payload: without what the format of the node's snapshots does not have
    where there is none of it.
    """
    fields = (RowFileHeader.__struct_config__.tag, *msgspec.structs.astuple(header))
    known = len(fields) if header.telling or header.doubted else -2
    return _encode(fields[:known])


class RowFormat(Generic[RowT]):
    """A kind of row file: what its headers say, how its files are called, what rows it takes."""

    def __init__(
        self, name: str, noun: str, suffix: str, rows: Iterable[Any], *, mode: int = 0o644
    ) -> None:
        """`rows`: the types of its rows, whose tags differ. `noun`: what messages call a file.
        `mode`: who may read it, whatever the umask.
        """
        self.name = name
        self.noun = noun
        self.suffix = suffix
        self.mode = mode
        union: Any = reduce(or_, rows)
        chunk: Any = tuple[Literal["rows"], list[union]]
        self.decode_chunk = msgspec.msgpack.Decoder(chunk).decode

    def file_name(self, height: int) -> str:
        """The name of the file of that height."""
        return f"{height:020d}{self.suffix}"

    def list(self, directory: Path) -> list[Path]:
        """The files of a directory, newest first; other names are passed over. Empty where it does
        not exist yet.

        Raises `SourceMissing` where it can't be read.
        """
        try:
            found = [path for path in directory.iterdir() if self._names(path)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(directory, error) from error
        return sorted(found, reverse=True)

    def sweep(self, directory: Path) -> None:
        """Deletes what a writer left half written, as far as it can be. Raises `OSError`."""
        for left_behind in directory.glob(f".*{self.suffix}*.tmp"):
            with suppress(OSError):
                left_behind.unlink()

    def surplus(self, directory: Path, height: int) -> Iterator[Path]:
        """What has no use beside a file of that height: those above it (of a chain that was
        replaced), all but the newest two, and what has the name of one and is none. O(names).

        Raises `SourceMissing`.
        """
        found = self.list(directory)
        kept = [path for path in found if int(path.stem) <= height and _is_file(path)]
        yield from (path for path in found if path not in kept[:SNAPSHOTS_KEPT])

    def write(self, directory: Path, header: RowFileHeader, rows: Iterable[RowT]) -> Path:
        """Writes a file so that it is there whole or not at all, and deletes what is `surplus`
        then, as far as it can be. O(rows).

        Raises `OSError`; then nothing is left behind.
        """
        path = directory / self.file_name(header.height)
        temporary = self.temporary(path, os.getpid())
        try:
            _write(temporary, self.mode, header, rows)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        with suppress(SourceMissing):  # written it is, all the same
            for other in self.surplus(directory, header.height):
                with suppress(OSError):
                    other.unlink()
        sync_directory(directory)
        return path

    def temporary(self, path: Path, pid: int) -> Path:
        """Where process `pid` writes what becomes `path`. A writer that outlived its parent can't
        rename another one's half.
        """
        return path.with_name(f".{path.name}.{pid}.tmp")

    def _names(self, path: Path) -> bool:
        stem, digits = path.stem, 20
        return path.suffix == self.suffix and len(stem) == digits and stem.isdecimal()


@dataclass(frozen=True)
class RowDirectory(Generic[RowT]):
    """Where files of one kind lie."""

    path: Path
    form: RowFormat[RowT]

    def list(self) -> list[Path]:
        """Its files, newest first."""
        return self.form.list(self.path)


class RowFileReader(Generic[RowT]):
    """A file of rows: `header` at once, `rows()` as a stream of one chunk at a time."""

    def __init__(self, path: Path, form: RowFormat[RowT], *, chain: str | None = None) -> None:
        """Reads the file once, so that one that is torn or damaged is refused before a row of it is
        used. Decodes header and footer only. O(bytes).

        Raises `SnapshotInvalid`; also where the file is of another chain than `chain`.
        """
        self.path = path
        self._format = form
        self._offset = 0
        self._chunks = 0
        self.header, self._footer = self._verify()
        if chain is not None and self.header.chain != chain:
            raise self._invalid(f"is of chain {self.header.chain!r}, not {chain!r}")

    def rows(self) -> Iterator[RowT]:
        """Every row, in the order in which it can be applied. O(rows), one chunk in memory.

        Raises `SnapshotInvalid`, after the rows before, where a chunk holds what can't be a row.
        """
        count = 0
        for payload in islice(self._payloads(), 1, 1 + self._chunks):
            try:
                _, chunk = self._format.decode_chunk(payload)
            except UNDECODABLE as error:
                raise self._invalid(f"holds a record that can't be decoded: {error}") from error
            count += len(chunk)
            yield from chunk
        if count != self._footer.rows:
            raise self._invalid(f"holds {count} rows, its footer says {self._footer.rows}")

    def _verify(self) -> tuple[RowFileHeader, _Footer]:
        header: RowFileHeader | None = None
        covered, newest, records = 0, b"", 0
        for payload in self._payloads():
            if header is None:
                header = self._check_header(payload)
            else:
                covered = extend_crc32c(covered, newest)
            newest = payload
            records += 1
        if header is None or records == 1:
            raise self._invalid("has no valid footer")
        self._chunks = records - 2
        return header, self._check_footer(newest, covered)

    def _check_header(self, payload: bytes) -> RowFileHeader:
        try:
            header = _decode_header(payload)
        except UNDECODABLE:
            header = None
        if header is None or header.format != self._format.name:
            raise self._invalid(f"does not start with a header of format {self._format.name!r}")
        if self.path.name != self._format.file_name(header.height):
            raise self._invalid(f"says height {header.height}, its name another")
        return header

    def _check_footer(self, payload: bytes, covered: int) -> _Footer:
        try:
            footer = _decode_footer(payload)
        except UNDECODABLE as error:
            raise self._invalid("has no valid footer") from error
        if footer.crc != covered:
            raise self._invalid("has a footer that does not fit: a record is missing or too many")
        return footer

    def _payloads(self) -> Iterator[bytes]:
        self._offset = 0
        try:
            with os.fdopen(open_regular(self.path), "rb") as file:
                while head := file.read(HEAD_BYTES):
                    yield self._payload(file, head)
        except OSError as error:
            raise self._invalid(f"can't be read: {error.strerror}") from error

    def _payload(self, file: BinaryIO, head: bytes) -> bytes:
        if len(head) < HEAD_BYTES:
            raise self._invalid("ends inside a record")
        length, crc = unpack_head(head)
        if not 0 < length <= RECORD_BYTES_MAX:
            raise self._invalid(f"has a record of {length} bytes")
        payload = file.read(length)
        if len(payload) < length or crc32c(payload) != crc:
            raise self._invalid("has a record that is torn or whose CRC does not match")
        self._offset += HEAD_BYTES + length
        return payload

    def _invalid(self, what: str) -> SnapshotInvalid:
        noun = self._format.noun
        return SnapshotInvalid(f"the {noun} {what}", path=self.path, offset=self._offset)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC  # follows no link


def _write(path: Path, mode: int, header: RowFileHeader, rows: Iterable[Any]) -> None:
    path.unlink(missing_ok=True)  # of a process that had our number
    with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode)
        covered, count = _append(file, 0, encode_header(header)), 0
        remaining = iter(rows)
        while chunk := list(islice(remaining, SNAPSHOT_CHUNK_ROWS)):
            covered = _append_chunk(file, covered, chunk)
            count += len(chunk)
        _append(file, covered, _encode(_Footer(count, covered)))
        file.flush()
        os.fsync(file.fileno())


def _append_chunk(file: BinaryIO, covered: int, chunk: list[Any]) -> int:
    """As one record, or as more where its rows are too large for one."""
    payload = _encode(_Chunk(chunk))
    if len(payload) <= RECORD_BYTES_MAX or len(chunk) == 1:
        return _append(file, covered, payload)
    half = len(chunk) // 2
    covered = _append_chunk(file, covered, chunk[:half])
    return _append_chunk(file, covered, chunk[half:])


def _append(file: BinaryIO, covered: int, payload: bytes) -> int:
    file.write(frame(payload))
    return extend_crc32c(covered, payload)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # what it leads to may not be looked at
        return False
