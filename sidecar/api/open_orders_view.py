"""A user's orders as clients read them: Hyperliquid's short shape, and the frontend's.

An order that rests shows the book's price and what is left of it; all else is from its newest
status. The newest order comes first.
"""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from sidecar.api.messages import NS_PER_MS
from sidecar.api.orders_view import OrderView, resting_view, status_view
from sidecar.fixed import to_text
from sidecar.node.transitions import OrderStatus
from sidecar.state.book import Order
from sidecar.state.chain import ChainState
from sidecar.state.faults import Fault
from sidecar.state.orders import FoundOrder


class BasicOrderView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """An order in short. `reduce_only` is there where it is true and asked for."""

    coin: str
    side: str
    limit_px: str
    sz: str
    oid: int
    timestamp: int
    orig_sz: str
    reduce_only: bool | UnsetType = UNSET
    cloid: str | UnsetType = UNSET


class FrontendOrderView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """An order with all that is known of it. `children` wait for its fill."""

    coin: str
    side: str
    limit_px: str
    sz: str
    oid: int
    timestamp: int
    trigger_condition: str
    is_trigger: bool
    trigger_px: str
    children: list["FrontendOrderView"]
    is_position_tpsl: bool
    reduce_only: bool
    order_type: str
    orig_sz: str
    tif: str | None
    cloid: str | None


class OrderStatusView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """An order and the step that it took at `status_timestamp`."""

    order: BasicOrderView | FrontendOrderView
    status: str
    status_timestamp: int


def doubt(state: ChainState, user: bytes) -> Fault | None:
    """Why a user's open orders can't be told now, if so: a book is known to be wrong in which they
    have or had orders. O(1) while none is, else O(orders and statuses kept).
    """
    wrong = state.faults.books
    if state.faults.everything or not wrong:
        return state.faults.everything
    return next(
        (wrong[market] for market in sorted(markets_of(state, user)) if market in wrong), None
    )


def markets_of(state: ChainState, user: bytes) -> set[int]:
    """Where a user has or had orders. O(orders and statuses kept)."""
    known = state.users.look(user)
    markets = {market for market, _ in known.resting.values()}
    markets.update(status.market for status in known.statuses or ())
    return markets


def open_orders(state: ChainState, user: bytes) -> list[BasicOrderView]:
    """What rests or waits, in short. O(orders * log orders)."""
    views = []
    for view, orig_sz in _open(state, user):
        reduce_only = True if view.reduce_only else UNSET
        views.append(_basic(view, orig_sz, reduce_only))
    return views


def frontend_open_orders(state: ChainState, user: bytes) -> list[FrontendOrderView]:
    """Likewise, with everything. O(orders * log orders)."""
    return [_frontend(state, view, orig_sz) for view, orig_sz in _open(state, user)]


def update_view(coin: str, status: OrderStatus) -> OrderStatusView:
    """A step of an order, in short."""
    order = _basic(status_view(coin, status).order, status.orig_sz)
    return OrderStatusView(order, status.status, status.time_ns // NS_PER_MS)


def history_view(state: ChainState, status: OrderStatus) -> OrderStatusView:
    """A step of an order, with everything."""
    view = status_view(state.markets[status.market].symbol, status).order
    order = _frontend(state, view, status.orig_sz)
    return OrderStatusView(order, status.status, status.time_ns // NS_PER_MS)


def found_view(state: ChainState, found: FoundOrder) -> OrderStatusView:
    """An order as it is now."""
    if found.resting is None:
        assert found.status is not None, "an order that does not rest is known by a status"
        return history_view(state, found.status)
    order, status = found.resting, found.status
    view = resting_view(state.markets[found.market].symbol, order)
    time_ns = order.added_ns if status is None else status.time_ns
    return OrderStatusView(
        _frontend(state, view, _orig_sz(order)),
        "open" if status is None else status.status,
        time_ns // NS_PER_MS,
    )


def _open(state: ChainState, address: bytes) -> Iterator[tuple[OrderView, int]]:
    """The views of a user's open orders, newest first, with their original sizes."""
    user, markets = state.users.look(address), state.markets
    waiting = user.waiting or {}
    for oid in sorted((*user.resting, *waiting), reverse=True):
        if oid in user.resting:
            market, order = user.resting[oid]
            yield resting_view(markets[market].symbol, order), _orig_sz(order)
        else:
            status = waiting[oid]
            yield status_view(markets[status.market].symbol, status).order, status.orig_sz


def _orig_sz(order: Order) -> int:
    return order.sz if order.status is None else order.status.orig_sz


def _basic(view: OrderView, orig_sz: int, reduce_only: bool | UnsetType = UNSET) -> BasicOrderView:
    return BasicOrderView(
        view.coin,
        view.side,
        view.limit_px,
        view.sz,
        view.oid,
        view.timestamp,
        to_text(orig_sz),
        reduce_only,
        UNSET if view.cloid is None else view.cloid,
    )


def _frontend(state: ChainState, view: OrderView, orig_sz: int) -> FrontendOrderView:
    """With its children, which have none: no node tells of any."""
    children = state.orders.children.get(view.oid, {}).values()
    return _detailed(
        view,
        orig_sz,
        [_detailed(status_view(view.coin, one).order, one.orig_sz, []) for one in children],
    )


def _detailed(
    view: OrderView, orig_sz: int, children: list[FrontendOrderView]
) -> FrontendOrderView:
    return FrontendOrderView(
        view.coin,
        view.side,
        view.limit_px,
        view.sz,
        view.oid,
        view.timestamp,
        view.trigger_condition,
        view.is_trigger,
        view.trigger_px,
        children,
        view.is_position_tpsl,
        view.reduce_only,
        view.order_type,
        to_text(orig_sz),
        view.tif,
        view.cloid,
    )
