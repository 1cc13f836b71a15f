"""Orders and their statuses as clients read them: Hyperliquid's L4 shapes.

A resting order shows the book's price and size; all else is from its newest status. Orders that the
node writes no status for (system addresses on spot) are shown as the post-only limit orders that
they are.
"""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from sidecar.api.messages import NS_PER_MS, hex_text, side_text
from sidecar.fixed import to_text
from sidecar.node.transitions import OrderStatus
from sidecar.state.book import Order

NS_PER_S = 1_000_000_000


class OrderView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """An order. `user` is null inside a status, which names the user itself."""

    user: str | None
    coin: str
    side: str
    limit_px: str
    sz: str
    oid: int
    timestamp: int
    trigger_condition: str
    is_trigger: bool
    trigger_px: str
    is_position_tpsl: bool
    reduce_only: bool
    order_type: str
    tif: str | None
    cloid: str | None


class StatusView(msgspec.Struct, gc=False, frozen=True):
    """A step in an order's life; `time` is ISO 8601 UTC in ns, without a zone, as nodes write
    it.
    """

    time: str
    user: str
    status: str
    order: OrderView


def resting_view(coin: str, order: Order) -> OrderView:
    """A resting order."""
    return OrderView(
        hex_text(order.user),
        coin,
        side_text(order.side),
        to_text(order.px),
        to_text(order.sz),
        order.oid,
        *_resting_details(order),
    )


def _resting_details(
    order: Order,
) -> tuple[int, str, bool, str, bool, bool, str, str | None, str | None]:
    """What comes behind the oid, as its newest status has it."""
    status = order.status
    if status is None:
        return order.added_ns // NS_PER_MS, *_NO_TRIGGER, False, "Limit", "Alo", None
    cloid = None if status.cloid is None else hex_text(status.cloid)
    placed_ms = status.placed_ns // NS_PER_MS
    return placed_ms, *_trigger(status), status.reduce_only, status.order_type, status.tif, cloid


def status_view(coin: str, status: OrderStatus) -> StatusView:
    """A status."""
    order = OrderView(
        None,
        coin,
        side_text(status.side),
        to_text(status.limit_px),
        to_text(status.sz),
        status.oid,
        status.placed_ns // NS_PER_MS,
        *_trigger(status),
        status.reduce_only,
        status.order_type,
        status.tif,
        None if status.cloid is None else hex_text(status.cloid),
    )
    return StatusView(iso_time(status.time_ns), hex_text(status.user), status.status, order)


@lru_cache(maxsize=256)
def iso_time(time_ns: int) -> str:
    """ISO 8601 UTC with 9 decimals and no zone. All statuses of a block share one."""
    seconds, ns = divmod(time_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}"


_Trigger = tuple[str, bool, str, bool]  # triggerCondition, isTrigger, triggerPx, isPositionTpsl
_NO_TRIGGER: _Trigger = ("N/A", False, "0.0", False)


def _trigger(status: OrderStatus) -> _Trigger:
    trigger = status.trigger
    if trigger is None:
        return _NO_TRIGGER
    return trigger.condition, trigger.waiting, to_text(trigger.px), trigger.is_position_tpsl
