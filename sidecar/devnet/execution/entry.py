"""What may become an order: every rule that an order is held against before it is executed.

The rules in the order in which they are asked: price, size, smallest notional, trigger price, how
many orders the user has, reduce-only, post-only or immediacy against the book, distance from the
oracle, margin.
"""

from sidecar.devnet.execution.actions import Place
from sidecar.devnet.execution.clearing import TAKER_FEE, Clearing
from sidecar.devnet.execution.markets import (
    MIN_NOTIONAL,
    NOTIONAL_MAX,
    Market,
    validate_px,
    validate_sz,
)
from sidecar.devnet.execution.matching import Matching, crosses
from sidecar.devnet.execution.orders import ALO, IMMEDIATE, MARKET
from sidecar.devnet.execution.refusals import REFUSED, Refusal, Refused
from sidecar.fixed import NUMBER_MAX, SCALE, to_text
from sidecar.limits import DEVNET_OPEN_ORDERS_MAX
from sidecar.node.transitions import ASK, BID

_ORACLE_BAND_PERCENT = 80  # how far from the oracle an order may be


class Entry:
    """The rules, against the books and accounts as they are."""

    def __init__(self, matching: Matching, clearing: Clearing) -> None:
        self.oracles: dict[int, int] = dict.fromkeys(clearing.markets, 0)
        self._matching = matching
        self._clearing = clearing

    def refusal(self, place: Place, *, child: bool = False, beside: int = 0) -> Refused | None:
        """Why an order is refused, None where it is not. `child`: it waits for a parent's fill;
        `beside`: how many orders take room that are not placed yet, less those that make room.
        """
        market = self._clearing.markets[place.market]
        refusal = validate_px(market, place.px) or self._size(market, place, child=child)
        if refusal is None and place.trigger is not None:
            refusal = self._trigger(market, place, child=child)
        if refusal is None:
            count = self._matching.open.count_of(place.user) + beside
            refusal = Refusal.TOO_MANY_ORDERS if count >= DEVNET_OPEN_ORDERS_MAX else None
        if refusal is not None:
            return REFUSED[refusal]
        if place.trigger is None:
            return self.executable(place)
        if self._increases(place) and not child:
            return REFUSED[Refusal.REDUCE_ONLY]
        far = not place.trigger.is_market and self._is_far(place)  # a market order's is a bound
        return REFUSED[Refusal.ORACLE] if far else None

    def executable(self, place: Place, *, woken: bool = False) -> Refused | None:
        """Why an order that is to trade or rest now is refused. `woken`: its price was looked at
        when it was placed.
        """
        if place.reduce_only and self._increases(place):
            return REFUSED[Refusal.REDUCE_ONLY]
        if place.tif in IMMEDIATE:
            if not self._matching.can_trade(place.user, place.market, place.side, place.px):
                market_order = place.tif == MARKET
                return REFUSED[Refusal.NO_LIQUIDITY if market_order else Refusal.IMMEDIATE]
        elif place.tif == ALO:
            best = self._matching.books[place.market].best_px(1 - place.side)
            if crosses(place.side, place.px, best):
                return self._post_only(place.market)
        if not woken and self._is_far(place):
            return REFUSED[Refusal.ORACLE]
        if self._matching.books[place.market].totals[place.side] + place.sz > NUMBER_MAX:
            return REFUSED[Refusal.SIZE]  # the book's totals fit 64 bits, whoever tries
        refusal = self._margin(place)
        return None if refusal is None else REFUSED[refusal]

    def reducible(self, place: Place) -> int:
        """How much of a reduce-only order the position allows."""
        return min(place.sz, abs(self._clearing.position(place.user, place.market)))

    def _size(self, market: Market, place: Place, *, child: bool) -> Refusal | None:
        if place.trigger is not None and not place.sz and place.reduce_only:
            return None  # the whole position, whatever it is then
        refusal = validate_sz(market, place.sz)
        if refusal is None and place.sz * place.px // SCALE < MIN_NOTIONAL and not child:
            return None if self._closes(place) else Refusal.MIN_NOTIONAL
        return refusal

    def _closes(self, place: Place) -> bool:
        """Whether the order may close the whole position: dust may be sold whatever its worth."""
        position = self._clearing.position(place.user, place.market)
        return place.reduce_only and 0 < abs(position) <= place.sz

    def _trigger(self, market: Market, place: Place, *, child: bool) -> Refusal | None:
        trigger = place.trigger
        assert trigger is not None
        if validate_px(market, trigger.px) is not None:
            return Refusal.TRIGGER_PX
        mark = self._clearing.marks[market.id]
        reached = mark >= trigger.px if triggers_above(place) else mark <= trigger.px
        return Refusal.TRIGGER_PX if reached and not child else None

    def _is_far(self, place: Place) -> bool:
        """Whether the price is too far from the oracle."""
        oracle = self.oracles[place.market]
        return abs(place.px - oracle) * 100 > oracle * _ORACLE_BAND_PERCENT

    def _increases(self, place: Place) -> bool:
        """Whether a reduce-only order would have nothing to reduce."""
        if not place.reduce_only:
            return False
        position = self._clearing.position(place.user, place.market)
        return position <= 0 if place.side == ASK else position >= 0

    def _margin(self, place: Place) -> Refusal | None:
        """Margin at the mark; what a worse price costs is seen at each match."""
        if place.reduce_only:
            return None
        user, market = place.user, place.market
        clearing = self._clearing
        mark = clearing.marks[market]
        sz = place.sz if place.side == BID else -place.sz
        if not clearing.can_trade(user, market, sz, mark, TAKER_FEE):
            return Refusal.MARGIN
        account = clearing.account(user)
        before = account.sz(market)
        after = abs(before + sz)
        if after <= abs(before):
            return None
        notional = after * mark // SCALE
        limit = clearing.markets[market].tier_leverage(notional)
        too_large = notional > NOTIONAL_MAX or clearing.leverage(account, market).value > limit
        return Refusal.MAX_POSITION if too_large else None

    def _post_only(self, market: int) -> Refused:
        book = self._matching.books[market]
        bid, ask = book.best_px(BID), book.best_px(ASK)
        bbo = "@".join("none" if px is None else _px_text(px) for px in (bid, ask))
        return Refused(Refusal.POST_ONLY, Refusal.POST_ONLY.message.format(bbo=bbo))


def triggers_above(place: Place) -> bool:
    """Whether a stop or take-profit order triggers as the mark price rises."""
    assert place.trigger is not None
    return (place.trigger.tpsl == "tp") == (place.side == ASK)


def _px_text(px: int) -> str:
    return to_text(px).removesuffix(".0")
