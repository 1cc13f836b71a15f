"""What a Hyperliquid node's files say: the shapes of their events, and what becomes one by itself.

    OrderStatus        the order, whole                        node_order_statuses
    Fill               [buyer, fill], [seller, fill]           node_fills
    Book transitions   new, update, "remove"                   node_raw_book_diffs
    FundingSettled     one Funding for all of a block          misc_events
    LedgerChanged      LedgerUpdate

The order of the fields is that of the keys in the files. Nothing here is shared with what reads
such files: each checks the other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from sidecar.fixed import to_text
from sidecar.node.transitions import Fill, Leg, OrderStatus

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
SIDES = ("B", "A")  # BID, ASK
ZERO = to_text(0)
_NO_HASH = "0x" + "00" * 32


class WireOrder(Struct, rename="camel", gc=False):
    """An order, in statuses and snapshots."""

    coin: str
    side: str
    limit_px: str
    sz: str
    oid: int
    timestamp: int  # ms
    trigger_condition: str
    is_trigger: bool
    trigger_px: str
    children: Sequence["WireOrder"]
    is_position_tpsl: bool
    reduce_only: bool
    order_type: str
    orig_sz: str
    tif: str | None
    cloid: str | None


class WireBuilder(Struct, gc=False):
    """Who gets a builder fee: address and tenths of a basis point."""

    b: str
    f: int


class WireStatus(Struct, gc=False):
    """A step in an order's life."""

    time: str
    user: str
    hash: str | None
    builder: WireBuilder | None
    status: str
    order: WireOrder


class WireNewSize(Struct, rename="camel", gc=False):
    """`insert_before`: the order that the new one goes in front of, if it does."""

    sz: str
    insert_before: int | UnsetType = UNSET


class WireNew(Struct, gc=False):
    """An order joins a queue."""

    new: WireNewSize


class WireSizes(Struct, rename="camel", gc=False):
    """What an order had, and what it has left."""

    orig_sz: str
    new_sz: str


class WireUpdate(Struct, gc=False):
    """An order has less left."""

    update: WireSizes


WireChange = WireNew | WireUpdate | str  # "remove"


class WireDiff(Struct, gc=False):
    """A change of one order in a book."""

    user: str
    oid: int
    coin: str
    side: str
    px: str
    raw_book_diff: WireChange


class WireLiquidation(Struct, rename="camel", gc=False):
    """Why a fill happened."""

    liquidated_user: str
    mark_px: str
    method: str


class WireFill(Struct, rename="camel", gc=False):
    """One side of a trade; `crossed` is the taker's. An unset key is not there at all."""

    coin: str
    px: str
    sz: str
    side: str
    time: int  # ms
    start_position: str
    dir: str
    closed_pnl: str
    hash: str
    oid: int
    crossed: bool
    fee: str
    tid: int
    cloid: str | UnsetType
    liquidation: WireLiquidation | UnsetType
    fee_token: str
    twap_id: int | None


class WireFunding(Struct, gc=False):
    """A payment of funding, positive for the receiver; `szi` is the position."""

    user: str
    coin: str
    funding_amount: str
    szi: str
    funding_rate: str


class WireMisc(Struct):
    """An event that is none of the others; `inner` has one key, its kind."""

    time: str
    hash: str
    inner: dict[str, Any]


def wire_order(
    status: OrderStatus,
    coin: str,
    px: int,
    sz: int,
    placed_ns: int,
    children: Sequence[WireOrder] = (),
) -> WireOrder:
    """An order with the price and size that count where it is written."""
    trigger, cloid = status.trigger, status.cloid
    condition, trigger_px = "N/A", ZERO
    if trigger is not None and trigger.waiting:
        condition, trigger_px = trigger.condition, to_text(trigger.px)
    elif trigger is not None:
        condition = "Triggered"
    return WireOrder(  # by position: by keyword it takes several times as long
        coin,
        SIDES[status.side],
        to_text(px),
        to_text(sz),
        status.oid,
        placed_ns // NS_PER_MS,
        condition,
        trigger is not None and trigger.waiting,
        trigger_px,
        children,
        trigger is not None and trigger.is_position_tpsl,
        status.reduce_only,
        status.order_type,
        to_text(status.orig_sz),
        status.tif,
        None if cloid is None else hex_text(cloid),
    )


def wire_status(status: OrderStatus, coin: str, block_ns: int) -> WireStatus:
    """A status; one that has no time of its own has the block's."""
    builder = status.builder
    px, sz, placed_ns = status.limit_px, status.sz, status.placed_ns
    return WireStatus(
        time_text(status.time_ns or block_ns),
        address_text(status.user),
        None if status.hash is None else hex_text(status.hash),
        None if builder is None else WireBuilder(address_text(builder[0]), builder[1]),
        status.status,
        wire_order(status, coin, px, sz, placed_ns),
    )


def wire_fills(fill: Fill, coin: str, time_ns: int) -> list[tuple[str, WireFill]]:
    """The legs of a trade that are known, the buyer's first."""
    legs = enumerate((fill.buyer, fill.seller))  # BID is 0, ASK is 1
    return [
        (address_text(leg.user), _wire_fill(fill, side, leg, coin, time_ns))
        for side, leg in legs
        if leg is not None
    ]


def _wire_fill(fill: Fill, side: int, leg: Leg, coin: str, time_ns: int) -> WireFill:
    why = leg.liquidation
    return WireFill(
        coin,
        to_text(fill.px),
        to_text(fill.sz),
        SIDES[side],
        time_ns // NS_PER_MS,
        to_text(leg.start_position),
        leg.direction,
        to_text(leg.closed_pnl),
        hex_text(fill.hash),
        leg.oid,
        side == fill.taker_side,
        to_text(leg.fee),
        fill.tid,
        UNSET if leg.cloid is None else hex_text(leg.cloid),
        UNSET
        if why is None
        else WireLiquidation(address_text(why.user), to_text(why.mark_px), why.method),
        leg.fee_token,
        leg.twap_id,
    )


def misc_event(kind: str, payload: dict[str, Any], time_ns: int) -> WireMisc:
    """An event of misc_events. The chain does not tell the transactions of these: hash 0."""
    return WireMisc(time_text(time_ns), _NO_HASH, {kind: payload})


def hex_text(value: bytes) -> str:
    """0x and the hex digits."""
    return "0x" + value.hex()


address_text = lru_cache(maxsize=1 << 16)(hex_text)  # one text for all that a user does


@lru_cache(maxsize=256)
def time_text(time_ns: int) -> str:
    """ISO 8601, UTC, 9 decimals, no zone: "2026-05-05T17:39:13.394723455". O(1).

    The statuses of a block share one time, so the last ones are remembered.
    """
    seconds, ns = divmod(time_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}"
