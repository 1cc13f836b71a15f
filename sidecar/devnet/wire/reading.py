"""Actions as traders send them, JSON (`api/orders/schema.py`), into the exchange's actions."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sidecar.api.orders.schema import (
    NS_PER_MS,
    NTLI_UNIT,
    TIME_MS_MAX,
    ApproveAgentAction,
    BatchModifyAction,
    CancelAction,
    CancelByCloidAction,
    FaucetAction,
    Modification,
    ModifyAction,
    NoopAction,
    OrderAction,
    ScheduleCancelAction,
    UpdateIsolatedMarginAction,
    UpdateLeverageAction,
    UsdSendAction,
    WireAction,
    WireOrder,
)
from sidecar.api.orders.signing import parse_address
from sidecar.devnet.execution.actions import (
    NA,
    Action,
    ApproveAgent,
    Cancel,
    CancelByCloid,
    Deposit,
    Modify,
    Noop,
    Place,
    PlaceGroup,
    ScheduleCancel,
    Send,
    TriggerSpec,
    UpdateIsolatedMargin,
    UpdateLeverage,
)
from sidecar.devnet.execution.markets import QUOTE, Market
from sidecar.devnet.execution.orders import GTC, IOC, MARKET
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.errors import NumberInvalid, RequestInvalid
from sidecar.fixed import NUMBER_MAX, SCALE, parse
from sidecar.node.transitions import ASK, BID

FAUCET_MAX = 100_000_000 * SCALE  # yen at a time
_VALID_UNTIL = re.compile(r"(.*) valid_until (\d{1,13})")


class Order(msgspec.Struct, frozen=True):
    """What a signed action asks for, whoever its user is."""

    kind: str  # the action's type
    rank: int  # of the three kinds that a block executes one after the other
    make: Callable[[bytes], list[Action]]  # for the user


OTHERS, CANCELS, TAKERS = range(3)


def read_action(action: dict[str, Any], markets: Mapping[int, Market]) -> Order:
    """What an action asks for. Raises `ActionRefused` where it makes no sense: nothing of it is
    executed then.
    """
    try:
        wire: Any = msgspec.convert(action, WireAction)
        make = _READERS[type(wire)](wire, markets)
    except msgspec.ValidationError as error:
        raise ActionRefused(f"Invalid action: {error}") from None
    except NumberInvalid as error:
        raise ActionRefused(f"Invalid number: {error}") from None
    return Order(action["type"], _rank(wire), make)


def _rank(wire: Any) -> int:
    """Hyperliquid's order of execution within a block: what sends no Gtc or Ioc order to a book
    first, then cancels, then the rest.
    """
    if isinstance(wire, CancelAction | CancelByCloidAction):
        return CANCELS
    if isinstance(wire, OrderAction):
        orders = wire.orders
    elif isinstance(wire, ModifyAction):
        orders = [wire.order]
    elif isinstance(wire, BatchModifyAction):
        orders = [one.order for one in wire.modifies]
    else:
        return OTHERS
    limits = [order.t.limit for order in orders]
    takes = any(limit is not UNSET and limit.tif in (GTC, IOC, MARKET) for limit in limits)
    return TAKERS if takes else OTHERS


_Markets = Mapping[int, Market]
_Make = Callable[[bytes], list[Action]]


def _place(order: WireOrder, markets: _Markets) -> Callable[[bytes], Place]:
    market = _known(order.a, markets)
    limit, trigger = order.t.limit, order.t.trigger
    if isinstance(limit, UnsetType) == isinstance(trigger, UnsetType):
        raise ActionRefused("Invalid action: an order's `t` has either `limit` or `trigger`.")
    spec = None
    if not isinstance(trigger, UnsetType):
        spec = TriggerSpec(_number(trigger.trigger_px), trigger.is_market, trigger.tpsl)
    tif = GTC if isinstance(limit, UnsetType) else limit.tif
    px, sz = _number(order.p), _number(order.s)
    cloid = None if order.c is None else bytes.fromhex(order.c[2:])
    side = BID if order.b else ASK
    return lambda user: Place(user, market, side, px, sz, tif, cloid, order.r, spec)


def _orders(wire: OrderAction, markets: _Markets) -> _Make:
    places = [_place(order, markets) for order in wire.orders]
    if wire.grouping == NA:
        return lambda user: [place(user) for place in places]
    grouping = wire.grouping
    return lambda user: [PlaceGroup(user, tuple(place(user) for place in places), grouping)]


def _cancels(wire: CancelAction, markets: _Markets) -> _Make:
    found = [(_known(cancel.a, markets), cancel.o) for cancel in wire.cancels]
    return lambda user: [Cancel(user, market, oid) for market, oid in found]


def _cancels_by_cloid(wire: CancelByCloidAction, markets: _Markets) -> _Make:
    found = [
        (_known(cancel.asset, markets), bytes.fromhex(cancel.cloid[2:])) for cancel in wire.cancels
    ]
    return lambda user: [CancelByCloid(user, market, cloid) for market, cloid in found]


def _modification(
    wire: ModifyAction | Modification, markets: _Markets
) -> Callable[[bytes], Modify]:
    place = _place(wire.order, markets)
    order = wire.oid if isinstance(wire.oid, int) else bytes.fromhex(wire.oid[2:])
    return lambda user: Modify(user, order, place(user))


def _modify(wire: ModifyAction, markets: _Markets) -> _Make:
    modify = _modification(wire, markets)
    return lambda user: [modify(user)]


def _batch_modify(wire: BatchModifyAction, markets: _Markets) -> _Make:
    modifies = [_modification(one, markets) for one in wire.modifies]
    return lambda user: [modify(user) for modify in modifies]


def _schedule_cancel(wire: ScheduleCancelAction, _: _Markets) -> _Make:
    time_ns = None if wire.time is None else wire.time * NS_PER_MS
    return lambda user: [ScheduleCancel(user, time_ns)]


def _update_leverage(wire: UpdateLeverageAction, markets: _Markets) -> _Make:
    market = _known(wire.asset, markets)
    return lambda user: [UpdateLeverage(user, market, wire.leverage, wire.is_cross)]


def _update_isolated_margin(wire: UpdateIsolatedMarginAction, markets: _Markets) -> _Make:
    market = _known(wire.asset, markets)
    return lambda user: [UpdateIsolatedMargin(user, market, wire.ntli * NTLI_UNIT)]


def _approve_agent(wire: ApproveAgentAction, _: _Markets) -> _Make:
    agent, name, valid_until = _address(wire.agent_address), wire.agent_name or "", 0
    found = _VALID_UNTIL.fullmatch(name)
    if found is not None:
        name, valid_until = found[1], min(int(found[2]), TIME_MS_MAX) * NS_PER_MS
    return lambda user: [ApproveAgent(user, agent, name, valid_until)]


def _usd_send(wire: UsdSendAction, _: _Markets) -> _Make:
    destination, amount = _address(wire.destination), _number(wire.amount)
    return lambda user: [Send(user, destination, amount)]


def _noop(_wire: NoopAction, _: _Markets) -> _Make:
    return lambda user: [Noop(user)]


def _faucet(wire: FaucetAction, _: _Markets) -> _Make:
    amount = _number(wire.amount)
    if not 0 < amount <= FAUCET_MAX:
        raise ActionRefused(
            f"The faucet gives more than 0 and up to {FAUCET_MAX // SCALE} {QUOTE} at a time."
        )
    return lambda user: [Deposit(user, amount)]


def _known(asset: int, markets: _Markets) -> int:
    if asset not in markets:
        raise ActionRefused(f"Invalid action: asset {asset} is not listed.")
    return asset


def _number(text: str) -> int:
    number = parse(text)
    if not 0 <= number <= NUMBER_MAX:
        raise ActionRefused(f"Invalid number: {text} is out of range.")
    return number


def _address(text: str) -> bytes:
    try:
        return parse_address(text)
    except RequestInvalid as error:
        raise ActionRefused(f"Invalid action: {error}") from None


_READERS: dict[type, Callable[[Any, _Markets], _Make]] = {
    OrderAction: _orders,
    CancelAction: _cancels,
    CancelByCloidAction: _cancels_by_cloid,
    ModifyAction: _modify,
    BatchModifyAction: _batch_modify,
    ScheduleCancelAction: _schedule_cancel,
    UpdateLeverageAction: _update_leverage,
    UpdateIsolatedMarginAction: _update_isolated_margin,
    ApproveAgentAction: _approve_agent,
    UsdSendAction: _usd_send,
    NoopAction: _noop,
    FaucetAction: _faucet,
}
