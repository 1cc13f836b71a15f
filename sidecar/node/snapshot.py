"""Snapshots: the exchange's state after a height, as a file of rows (docs/node-log.md).

Rows come in an order in which they can be applied: markets, then their resting orders in queue
order (bids from the best price, then asks), then recent trades; behind all markets trigger orders,
accounts, agents. Other nodes' snapshots are read into the same rows.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from sidecar.node.row_files import RowFileHeader, RowFileReader, RowFormat
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
SnapshotHeader = RowFileHeader
SNAPSHOTS: RowFormat[Row] = RowFormat(FORMAT, "snapshot", SUFFIX, get_args(Row))


class SnapshotReader(RowFileReader[Row]):
    """A snapshot file of the node. Raises `SnapshotInvalid`."""

    def __init__(self, path: Path, *, chain: str | None = None) -> None:
        super().__init__(path, SNAPSHOTS, chain=chain)


def write_snapshot(directory: Path, header: SnapshotHeader, rows: Iterable[Row]) -> Path:
    """Writes a snapshot so that it is there whole or not at all, and deletes all but the newest
    two, and what a writer before left half written. O(rows). Raises `OSError`.
    """
    SNAPSHOTS.sweep(directory)
    return SNAPSHOTS.write(directory, header, rows)


def list_snapshots(directory: Path) -> list[Path]:
    """The snapshots of a directory, newest first; other names are passed over. Empty where it does
    not exist yet.

    Raises `SourceMissing` where it can't be read.
    """
    return SNAPSHOTS.list(directory)
