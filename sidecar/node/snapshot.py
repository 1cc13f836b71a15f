"""Snapshots: the exchange's state after a height, as records (docs/node-log.md).

    [header][chunk][chunk] ... [footer]        header: format, chain, height, time
                                               chunk:  up to 4,096 rows
                                               footer: rows, CRC-32C of all payloads before it

Rows come in an order in which they can be applied: markets, then their resting orders in queue
order (bids from the best price, then asks), then recent trades; behind all markets trigger orders,
accounts, agents. Other nodes' snapshots are read into the same rows.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from sidecar.errors import SnapshotInvalid
from sidecar.limits import RECORD_BYTES_MAX, SNAPSHOT_CHUNK_ROWS, SNAPSHOTS_KEPT
from sidecar.node.ipc import sync_directory
from sidecar.node.log import UNDECODABLE, unreadable
from sidecar.node.records import HEAD_BYTES, crc32c, extend_crc32c, frame, unpack_head
from sidecar.node.transitions import Fill, MarketListed, OrderStatus, Record

FORMAT = "node-snapshot/1"
SUFFIX = ".snap"


class MarketRow(Record, tag=1, frozen=True):
    """A market: its listing, prices, and the heights of its newest trade and of its newest order
    event.

    The heights continue the `prev` chains of what is served: 0 for none so far, None where the node
    can't tell.
    """

    listing: MarketListed
    oracle_px: int = 0
    mark_px: int = 0
    trades_height: int | None = None
    orders_height: int | None = None


class RestingRow(Record, tag=2, frozen=True):
    """A resting order. `status` holds its details as of placement; `px` and `sz` are the book's."""

    market: int
    oid: int
    user: bytes
    side: int
    px: int
    sz: int
    added_ns: int
    status: OrderStatus | None = None


class TradeRow(Record, tag=3, frozen=True):
    """A recent trade, oldest first within its market."""

    height: int
    time_ns: int
    fill: Fill


class TriggerRow(Record, tag=4, frozen=True):
    """A stop or take-profit order that waits for the mark price: its newest status. Oldest first.

    `parent` is the order whose fill brings it to life, 0 for one that waits for the price only.
    """

    status: OrderStatus
    parent: int = 0


class PositionRow(Record, frozen=True):
    """`sz` is signed; `cost`, in 1e-8 of the quote currency, is what opening it cost, without its
    sign.
    """

    market: int
    sz: int
    cost: int
    isolated_margin: int = 0


class AccountRow(Record, tag=5, frozen=True):
    """An account: cross balance, positions, and its leverages where it set them: `(market,
    leverage, is_cross)`.
    """

    user: bytes
    balance: int
    positions: tuple[PositionRow, ...] = ()
    leverages: tuple[tuple[int, int, bool], ...] = ()


class AgentRow(Record, tag=6, frozen=True):
    """An agent that may sign for a user until `valid_until` (ns; 0 is for ever)."""

    user: bytes
    agent: bytes
    name: str
    valid_until: int = 0


class NodeRow(Record, tag=7, frozen=True):
    """What the node keeps for itself, to go on from here. Of no meaning to anybody else."""

    name: str
    state: bytes


Row = MarketRow | RestingRow | TradeRow | TriggerRow | AccountRow | AgentRow | NodeRow


class SnapshotHeader(msgspec.Struct, array_like=True, tag="snapshot", frozen=True):
    """What a snapshot is of: the state after block `height` of `chain`, whose consensus time was
    `time_ns`.
    """

    format: str
    chain: str
    height: int
    time_ns: int


class _Chunk(msgspec.Struct, array_like=True, tag="rows", frozen=True):
    rows: list[Row]


class _Footer(msgspec.Struct, array_like=True, tag="end", frozen=True):
    rows: int
    crc: int


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[SnapshotHeader | _Chunk | _Footer] = msgspec.msgpack.Decoder(
    SnapshotHeader | _Chunk | _Footer
)


class SnapshotReader:
    """A snapshot file: `header` at once, `rows()` as a stream of one chunk at a time."""

    def __init__(self, path: Path, *, chain: str | None = None) -> None:
        """Reads and decodes the file once, so that a snapshot that is torn or makes no sense is
        refused before a row of it is used. O(rows).

        Raises `SnapshotInvalid`; also where the snapshot is of another chain than `chain`.
        """
        self.path = path
        self._offset = 0
        self.header = self._verify()
        if chain is not None and self.header.chain != chain:
            raise self._invalid(f"is of chain {self.header.chain!r}, not {chain!r}")

    def rows(self) -> Iterator[Row]:
        """Every row, in the order in which it can be applied."""
        for payload in self._payloads():
            record = self._decode(payload)
            if isinstance(record, _Chunk):
                yield from record.rows

    def _verify(self) -> SnapshotHeader:
        header: SnapshotHeader | None = None
        covered, rows, footed = 0, 0, False
        for payload in self._payloads():
            record = self._decode(payload)
            if footed:
                raise self._invalid("goes on behind its footer")
            if header is None:
                header = self._check_header(record)
            elif isinstance(record, _Chunk):
                rows += len(record.rows)
            elif isinstance(record, _Footer) and (record.rows, record.crc) == (rows, covered):
                footed = True
            else:
                raise self._invalid("has a footer that does not fit, or a second header")
            covered = extend_crc32c(covered, payload)
        if header is None or not footed:
            raise self._invalid("has no valid footer")
        return header

    def _check_header(self, record: SnapshotHeader | _Chunk | _Footer) -> SnapshotHeader:
        if not isinstance(record, SnapshotHeader) or record.format != FORMAT:
            raise self._invalid(f"does not start with a header of format {FORMAT!r}")
        if self.path.name != snapshot_name(record.height):
            raise self._invalid(f"says height {record.height}, its name another")
        return record

    def _decode(self, payload: bytes) -> SnapshotHeader | _Chunk | _Footer:
        try:
            return _decoder.decode(payload)
        except UNDECODABLE as error:
            raise self._invalid(f"holds a record that can't be decoded: {error}") from error

    def _payloads(self) -> Iterator[bytes]:
        self._offset = 0
        try:
            with self.path.open("rb") as file:
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
        return SnapshotInvalid(f"the snapshot {what}", path=self.path, offset=self._offset)


def write_snapshot(directory: Path, header: SnapshotHeader, rows: Iterable[Row]) -> Path:
    """Writes a snapshot so that it is there whole or not at all, and deletes all but the newest
    two. O(rows).
    """
    path = directory / snapshot_name(header.height)
    temporary = path.with_name(f".{path.name}.tmp")
    for left_behind in directory.glob(f".*{SUFFIX}.tmp"):
        left_behind.unlink()
    with temporary.open("wb") as file:
        covered, count = _write(file, 0, header), 0
        for chunk in _chunks(rows):
            covered = _write(file, covered, _Chunk(chunk))
            count += len(chunk)
        _write(file, covered, _Footer(count, covered))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    for old in list_snapshots(directory)[SNAPSHOTS_KEPT:]:
        old.unlink()
    sync_directory(directory)
    return path


def snapshot_name(height: int) -> str:
    """The file name of a snapshot of that height."""
    return f"{height:020d}{SUFFIX}"


def list_snapshots(directory: Path) -> list[Path]:
    """The snapshots of a directory, newest first. Empty where it does not exist yet.

    Raises `SourceMissing` where it can't be read.
    """
    try:
        found = (path for path in directory.iterdir() if path.suffix == SUFFIX)
        return sorted(found, reverse=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(directory, error) from error


def _write(file: BinaryIO, covered: int, record: msgspec.Struct) -> int:
    payload = _encode(record)
    file.write(frame(payload))
    return extend_crc32c(covered, payload)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, SNAPSHOT_CHUNK_ROWS)):
        yield chunk
