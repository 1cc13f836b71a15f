"""What the chain would refuse about an order, seen before it is sent: the native chain's rules, in
its own words, against the state as of the last block.

    rule          what is refused
    tick          a price that is none, or off the tick
    lot           a size that is none, or no multiple of the lot
    notional      an order that is worth too little
    reduce_only   a reduce-only order with nothing to reduce
    band          a price too far from the oracle
    margin        an order for which the account lacks margin, or whose position would be too large

Asked in the chain's order. What the chain alone can know (liquidity, how many orders, which trigger
is reached) is not asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import UnsetType

from sidecar.api.orders.schema import Trigger, WireOrder
from sidecar.errors import NumberInvalid
from sidecar.fixed import DECIMALS, NUMBER_MAX, SCALE, parse
from sidecar.state.chain import ChainState
from sidecar.state.margin import margin_lacks, max_leverage_at
from sidecar.state.market import Market
from sidecar.state.users import User

SIGNIFICANT_FIGURES = 5  # of a price
PX_DECIMALS = 6  # of a price, less the market's size decimals
MIN_NOTIONAL = 1_000 * SCALE  # yen
NOTIONAL_MAX = NUMBER_MAX // 2  # of a position that grows
BAND_PERCENT = 80  # of the oracle price
_TPSL = 2  # a take profit and a stop


class Refused(NamedTuple):
    """`rule` is what it is counted under, `message` what the sender is told."""

    rule: str
    message: str


PX_INVALID = Refused("tick", "Order has invalid price.")
OFF_TICK = Refused("tick", "Price must be divisible by tick size.")
TRIGGER_PX_INVALID = Refused("tick", "Invalid TP/SL price.")
SZ_ZERO = Refused("lot", "Order has zero size.")
SZ_INVALID = Refused("lot", "Order has invalid size.")
TOO_SMALL = Refused("notional", "Order must have minimum value of 1000 JPY.")
INCREASES = Refused("reduce_only", "Reduce only order would increase position.")
TOO_FAR = Refused("band", "Order price too far from oracle")
NO_MARGIN = Refused("margin", "Insufficient margin to place order.")
TOO_LARGE = Refused(
    "margin", "Order would cause position to exceed margin tier limit at current leverage"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """An order with its numbers read. Raises `NumberInvalid` where it is made."""

    market: Market
    is_buy: bool
    px: int
    sz: int
    reduce_only: bool
    trigger: Trigger | None
    trigger_px: int

    @classmethod
    def of(cls, order: WireOrder, market: Market) -> "Asked":
        """Of its JSON."""
        trigger = None if isinstance(order.t.trigger, UnsetType) else order.t.trigger
        trigger_px = 0 if trigger is None else _number(trigger.trigger_px)
        px, sz = _number(order.p), _number(order.s)
        return cls(market, order.b, px, sz, order.r, trigger, trigger_px)


class OrderRules:
    """The rules that are on, against a state."""

    def __init__(self, state: ChainState, off: frozenset[str]) -> None:
        self._state = state
        self._off = off

    def refusal(
        self, asked: Asked, user: User | None, *, prices_known: bool, child: bool = False
    ) -> Refused | None:
        """Why the chain would refuse an order, None where it may not. O(positions).

        `user` is None where the account may be another one by now (something of it is on its way),
        `prices_known` False where the market's prices may be; rules that need them are not asked.
        `child`: it waits for another's fill.
        """
        for found in self._refusals(asked, user, prices_known=prices_known, child=child):
            if found is not None and found.rule not in self._off:
                return found
        return None

    def _refusals(
        self, asked: Asked, user: User | None, *, prices_known: bool, child: bool
    ) -> Sequence[Refused | None]:
        found = [_px(asked), _sz(asked)]
        if user is not None and not child:
            found.append(_notional(asked, user))
        if asked.trigger is not None:
            found.append(_trigger(asked))
        if user is not None and not child:
            found.append(_reduce_only(asked, user))
        if prices_known and not (asked.trigger is not None and asked.trigger.is_market):
            found.append(_band(asked))
        if prices_known and user is not None and asked.trigger is None:
            found.append(self._margin(asked, user))
        return found

    def _margin(self, asked: Asked, user: User) -> Refused | None:
        if asked.reduce_only:
            return None
        state, market = self._state, asked.market
        sz = asked.sz if asked.is_buy else -asked.sz
        if margin_lacks(state.accounts, state.markets, user, market, sz):
            return NO_MARGIN
        before = _position(user, market)
        after = abs(before + sz)
        if after <= abs(before):
            return None
        notional = after * market.mark_px // SCALE
        leverage = state.accounts.leverage_of(user, market)
        limit = max_leverage_at(market.listing, notional)
        too_large = notional > NOTIONAL_MAX or (limit is not None and leverage.value > limit)
        return TOO_LARGE if too_large else None


def _number(text: str) -> int:
    number = parse(text)
    if not 0 <= number <= NUMBER_MAX:
        raise NumberInvalid(f"{text} is out of range.")
    return number


def is_bracket(asked: Sequence[Asked]) -> bool:
    """Whether these are an order, then its take profit, its stop or both."""
    parent, children = asked[0], asked[1:]
    fit = [_fits(one, parent.market, is_buy=not parent.is_buy) for one in children]
    return parent.trigger is None and 0 < len(children) <= _TPSL and all(fit)


def is_position_tpsl(asked: Sequence[Asked]) -> bool:
    """Whether these are take profit, stop or both of one position."""
    first = asked[0]
    fit = [_fits(one, first.market, is_buy=first.is_buy) for one in asked]
    return len(asked) <= _TPSL and all(fit)


def _fits(asked: Asked, market: Market, *, is_buy: bool) -> bool:
    closes = asked.trigger is not None and asked.reduce_only
    return closes and asked.market is market and asked.is_buy == is_buy


def _px(asked: Asked) -> Refused | None:
    return _bad_px(asked.market, asked.px)


def _bad_px(market: Market, px: int) -> Refused | None:
    """A price has so many figures and decimals; a whole number is always allowed."""
    if not 0 < px <= NUMBER_MAX:
        return PX_INVALID
    sz_decimals = market.listing.sz_decimals
    if sz_decimals is None:
        return None
    by_figures = min(10 ** max(len(str(px)) - SIGNIFICANT_FIGURES, 0), SCALE)
    by_decimals = 10 ** (DECIMALS - PX_DECIMALS + sz_decimals)
    return OFF_TICK if px % max(by_figures, by_decimals) else None


def _sz(asked: Asked) -> Refused | None:
    sz, decimals = asked.sz, asked.market.listing.sz_decimals
    if sz == 0:
        whole_position = asked.trigger is not None and asked.reduce_only
        return None if whole_position else SZ_ZERO
    off_lot = decimals is not None and sz % 10 ** (DECIMALS - decimals)
    return SZ_INVALID if off_lot or not 0 < sz <= NUMBER_MAX else None


def _notional(asked: Asked, user: User) -> Refused | None:
    """What closes a position may be worth nothing."""
    if asked.sz * asked.px // SCALE >= MIN_NOTIONAL or (not asked.sz and asked.trigger is not None):
        return None
    closes = asked.reduce_only and 0 < abs(_position(user, asked.market)) <= asked.sz
    return None if closes else TOO_SMALL


def _trigger(asked: Asked) -> Refused | None:
    bad = _bad_px(asked.market, asked.trigger_px)
    return TRIGGER_PX_INVALID if bad else None


def _reduce_only(asked: Asked, user: User) -> Refused | None:
    if not asked.reduce_only:
        return None
    position = _position(user, asked.market)
    increases = position >= 0 if asked.is_buy else position <= 0
    return INCREASES if increases else None


def _band(asked: Asked) -> Refused | None:
    oracle = asked.market.oracle_px
    far = oracle and abs(asked.px - oracle) * 100 > oracle * BAND_PERCENT
    return TOO_FAR if far else None


def _position(user: User, market: Market) -> int:
    position = user.positions.get(market.id)
    return 0 if position is None else position.sz
