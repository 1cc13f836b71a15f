"""Orders and their statuses as a Hyperliquid node writes them, and what they mean here.

Every field but those that an order can't do without may be missing, and unknown ones are ignored:
the format changed several times in 2025 and 2026.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from sidecar.fixed import parse
from sidecar.node.hyperliquid.texts import (
    CLOID_BYTES,
    HASH_BYTES,
    NS_MAX,
    NS_PER_MS,
    parse_address,
    parse_hex,
    parse_side,
    parse_time,
)
from sidecar.node.transitions import OrderStatus, Trigger

# What was seen up to November 2026. Others pass through like these, and are counted.
KNOWN_STATUSES = frozenset(
    (
        *("open", "filled", "triggered", "canceled", "scheduledCancel", "internalCancel"),
        *("marginCanceled", "vaultWithdrawalCanceled", "openInterestCapCanceled"),
        *("selfTradeCanceled", "reduceOnlyCanceled", "siblingFilledCanceled", "delistedCanceled"),
        *("liquidatedCanceled", "outcomeSettledCanceled"),
    )
)
KNOWN_REFUSALS = frozenset(
    (
        *("rejected", "tickRejected", "minTradeNtlRejected", "perpMarginRejected"),
        *("reduceOnlyRejected", "badAloPxRejected", "iocCancelRejected", "badTriggerPxRejected"),
        *("marketOrderNoLiquidityRejected", "positionIncreaseAtOpenInterestCapRejected"),
        *("positionFlipAtOpenInterestCapRejected", "tooAggressiveAtOpenInterestCapRejected"),
        *("openInterestIncreaseRejected", "insufficientSpotBalanceRejected", "oracleRejected"),
        *("perpMaxPositionRejected", "tooManyOpenOrdersRejected"),
    )
)
NO_CONDITION = "N/A"


class WireOrder(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """An order, in statuses and snapshots."""

    coin: str
    limit_px: str
    sz: str
    oid: int
    side: str
    timestamp: Annotated[int, Meta(ge=0, le=NS_MAX // NS_PER_MS)] = 0
    trigger_condition: str = NO_CONDITION
    is_trigger: bool = False
    trigger_px: str = "0.0"
    is_position_tpsl: bool = False
    reduce_only: bool = False
    order_type: str = "Limit"
    orig_sz: str | None = None
    tif: str | None = None
    cloid: str | None = None
    user: str | None = None


class WireBuilder(msgspec.Struct, gc=False, frozen=True):
    """Who gets a builder fee: address and tenths of a basis point."""

    b: str
    f: int


class WireEvent(msgspec.Struct, gc=False, frozen=True):
    """A step in an order's life, but for its name."""

    user: str
    order: WireOrder
    time: str | None = None
    hash: str | None = None
    builder: WireBuilder | None = None


class WireStatus(WireEvent, kw_only=True, gc=False, frozen=True):
    """A step in an order's life, whatever it is called."""

    status: str


def is_refusal(status: str) -> bool:
    """Whether the order never was, or no longer is to be, on a book: "rejected" and
    "...Rejected".
    """
    return status.endswith("ejected")


def order_status(wire: WireEvent, status: str, market: int, block_ns: int) -> OrderStatus:
    """A status as a transition. Raises `NumberInvalid`, `ValueError`."""
    time_ns = block_ns if wire.time is None else parse_time(wire.time)
    tx_hash = None if wire.hash is None else parse_hex(wire.hash, HASH_BYTES)
    builder = None if wire.builder is None else (parse_address(wire.builder.b), wire.builder.f)
    user = parse_address(wire.user)
    return describe(wire.order, market, user, status, time_ns, tx_hash, builder)


def describe(
    order: WireOrder,
    market: int,
    user: bytes,
    status: str,
    time_ns: int,
    tx_hash: bytes | None = None,
    builder: tuple[bytes, int] | None = None,
) -> OrderStatus:
    """An order in a given status. Raises `NumberInvalid`, `ValueError`."""
    sz = parse(order.sz)
    return OrderStatus(  # by position: by keyword it takes five times as long
        order.oid,
        user,
        market,
        parse_side(order.side),
        parse(order.limit_px),
        sz,
        sz if order.orig_sz is None else parse(order.orig_sz),
        order.tif,
        order.reduce_only,
        _trigger(order),
        None if order.cloid is None else parse_hex(order.cloid, CLOID_BYTES),
        status,
        time_ns,
        order.timestamp * NS_PER_MS,
        order.order_type,
        tx_hash,
        builder,
    )


def _trigger(order: WireOrder) -> Trigger | None:
    if not order.is_trigger and order.trigger_condition == NO_CONDITION:
        return None
    px = parse(order.trigger_px)
    return Trigger(px, order.trigger_condition, order.is_position_tpsl, waiting=order.is_trigger)
