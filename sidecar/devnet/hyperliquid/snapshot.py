"""The chain's books as a Hyperliquid node's L4 snapshot.

`[height, [[coin, [bids, asks]], ...]]`, an order `[user, order]`: best prices first, at one price
in queue order; behind them the trigger orders of the side. Those that wait for a parent's fill are
within the parent.
"""

from collections.abc import Iterable, Mapping

import msgspec

from sidecar.devnet.hyperliquid.rows import WireOrder, address_text, wire_order
from sidecar.node.snapshot import MarketRow, RestingRow, Row, SnapshotHeader, TriggerRow
from sidecar.node.transitions import OrderStatus

_Entry = tuple[str, WireOrder] | WireOrder


def l4_snapshot(
    header: SnapshotHeader, rows: Iterable[Row], *, users: bool, triggers: bool, height: bool
) -> bytes:
    """The books of all coins as JSON. `triggers`: with the orders that wait. O(rows)."""
    rows = list(rows)
    symbols = {row.listing.market: row.listing.symbol for row in rows if isinstance(row, MarketRow)}
    sides: dict[int, tuple[list[_Entry], list[_Entry]]] = {market: ([], []) for market in symbols}
    children: dict[int, list[WireOrder]] = {}  # by parent
    for row in rows:
        if isinstance(row, TriggerRow) and row.parent:
            order = _order(row.status, symbols)
            children.setdefault(row.parent, []).append(order)
    for row in rows:
        if isinstance(row, RestingRow):
            order = _resting(row, symbols)
        elif isinstance(row, TriggerRow) and triggers and not row.parent:
            order = _order(row.status, symbols)
        else:
            continue
        status = row if isinstance(row, RestingRow) else row.status
        order.children = children.get(order.oid, ())
        entry = (address_text(status.user), order) if users else order
        sides[status.market][status.side].append(entry)
    books = [(symbols[market], sides[market]) for market in symbols]
    return msgspec.json.encode((header.height, books) if height else books)


def _order(status: OrderStatus, symbols: Mapping[int, str]) -> WireOrder:
    return wire_order(status, symbols[status.market], status.limit_px, status.sz, status.placed_ns)


def _resting(row: RestingRow, symbols: Mapping[int, str]) -> WireOrder:
    status = row.status or OrderStatus(
        row.oid, row.user, row.market, row.side, row.px, row.sz, row.sz,
        "Gtc", reduce_only=False, trigger=None, cloid=None, status="open",
    )  # fmt: skip
    return wire_order(status, symbols[row.market], row.px, row.sz, row.added_ns)
