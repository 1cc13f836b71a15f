"""Info requests about a user's orders: open ones, single ones, past ones."""

from typing import Any

import msgspec

from sidecar.api.info.handler import Handler
from sidecar.api.messages import parse_user
from sidecar.api.open_orders_view import (
    BasicOrderView,
    FrontendOrderView,
    OrderStatusView,
    doubt,
    found_view,
    frontend_open_orders,
    history_view,
    open_orders,
)
from sidecar.api.topics import DexUserParameters, check_dex
from sidecar.errors import RequestInvalid, StateUnavailable
from sidecar.limits import ORDERS_ANSWERED
from sidecar.state.chain import ChainState

_CLOID_HEX_DIGITS = 32


class OrderStatusParameters(msgspec.Struct, frozen=True):
    """`oid` is the exchange's id, a number, or the user's own, 0x and 32 hex digits."""

    user: str
    oid: int | str


def _open_orders(state: ChainState, parameters: DexUserParameters) -> list[BasicOrderView]:
    check_dex(parameters.dex)
    return open_orders(state, _not_in_doubt(state, parse_user(parameters.user)))


def _frontend_open_orders(
    state: ChainState, parameters: DexUserParameters
) -> list[FrontendOrderView]:
    check_dex(parameters.dex)
    return frontend_open_orders(state, _not_in_doubt(state, parse_user(parameters.user)))


def _order_status(state: ChainState, parameters: OrderStatusParameters) -> dict[str, Any]:
    user = parse_user(parameters.user)
    if isinstance(parameters.oid, int):
        found = state.orders.find(user, parameters.oid)
    else:
        found = state.orders.find_cloid(user, _parse_cloid(parameters.oid))
    if found is None or state.faults.of_book(found.market) is not None:
        _not_in_doubt(state, user)
    if found is None:
        return {"status": "unknownOid"}
    return {"status": "order", "order": found_view(state, found)}


def _historical_orders(state: ChainState, parameters: DexUserParameters) -> list[OrderStatusView]:
    user = state.users.look(parse_user(parameters.user))
    newest = list(user.statuses or ())[-ORDERS_ANSWERED:]
    return [history_view(state, status) for status in reversed(newest)]


def _not_in_doubt(state: ChainState, user: bytes) -> bytes:
    fault = doubt(state, user)
    if fault is not None:
        raise StateUnavailable(f"a book with orders of this user is being rebuilt: {fault.what}")
    return user


def _parse_cloid(text: str) -> bytes:
    digits = text[2:]
    if text[:2] in ("0x", "0X") and len(digits) == _CLOID_HEX_DIGITS and digits.isalnum():
        try:
            return bytes.fromhex(digits)
        except ValueError:
            pass
    what = "oid is a number, or a cloid of 0x and 32 hex digits"
    raise RequestInvalid(f"{what}, not {text[:48]!r}")


HANDLERS = {
    "openOrders": Handler(DexUserParameters, _open_orders),
    "frontendOpenOrders": Handler(DexUserParameters, _frontend_open_orders),
    "orderStatus": Handler(OrderStatusParameters, _order_status),
    "historicalOrders": Handler(DexUserParameters, _historical_orders),
}
