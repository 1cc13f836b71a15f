"""Leveraged accounts: they bet as much as their margin allows, and are liquidated now and then.

A gambler without a position bets: it sets its leverage to the highest, cross or isolated, and buys
or sells for nearly all it has, every other time with take profit and stop. One with a position
mostly waits; sometimes it takes its profit or loss, gives its position take profit and stop, moves
margin, or sends a friend some money. One that has nearly nothing left is given money again
(`Traders.settle`).
"""

from collections.abc import Iterator
from random import Random

from sidecar.devnet.execution.accounts import Account
from sidecar.devnet.execution.actions import (
    NORMAL_TPSL,
    POSITION_TPSL,
    Action,
    Place,
    PlaceGroup,
    ScheduleCancel,
    Send,
    TriggerSpec,
    UpdateIsolatedMargin,
    UpdateLeverage,
)
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.markets import Market, ceil_px, floor_px
from sidecar.devnet.execution.orders import GTC, MARKET
from sidecar.devnet.traders.makers import address
from sidecar.fixed import SCALE
from sidecar.node.transitions import ASK, BID

STAKE = 100_000 * SCALE  # what a gambler begins with, yen
_STAKED_PERCENT = 96  # of the margin, in one bet
_GIFT = 500 * SCALE
_PATIENCE = 0.8  # of the turns of one who has a position, those in which nothing is done
_SCHEDULE_NS = 10 * 10**9


class Gambler:
    """One gambler in all markets."""

    def __init__(self, number: int, friend: int, random: Random) -> None:
        self.user = address("gambler", number)
        self._is_cross = number % 2 == 0
        self._friend = address("gambler", friend)
        self._random = random

    def turn(self, market: Market, exchange: Exchange) -> Iterator[Action]:
        """Bets, or does something about a bet that runs."""
        clearing = exchange.clearing
        account = clearing.account(self.user)
        mark = clearing.marks[market.id]
        if market.id in account.positions:
            yield from self._mind(market, account, mark, exchange.tape.time_ns)
        elif len(account.positions) < 2:
            margin = clearing.standing(account)
            stake = (margin.value - margin.initial) * _STAKED_PERCENT // 100
            if stake > STAKE // 20:
                yield from self._bet(market, stake, mark)

    def _bet(self, market: Market, stake: int, mark: int) -> Iterator[Action]:
        random, leverage = self._random, market.max_leverage
        yield UpdateLeverage(
            self.user, market.id, leverage, self._is_cross and not market.only_isolated
        )
        lots = stake * leverage * SCALE // mark // market.lot
        side = int(random.random() * 2)
        bet = _at_market(self.user, market, side, lots * market.lot, mark)
        if random.random() < 0.5:
            yield bet
        else:
            tp, sl = self._tpsl(market, 1 - side, bet.sz, mark)
            yield PlaceGroup(self.user, (bet, tp, sl), NORMAL_TPSL)

    def _mind(self, market: Market, account: Account, mark: int, time_ns: int) -> Iterator[Action]:
        random, sz = self._random, account.sz(market.id)
        if random.random() < _PATIENCE:
            return
        side = ASK if sz > 0 else BID
        habit = int(random.random() * 5)
        if habit == 0:
            yield _at_market(self.user, market, side, abs(sz), mark, reduce_only=True)
        elif habit == 1:
            orders = self._tpsl(market, side, 0, mark)
            yield PlaceGroup(self.user, orders, POSITION_TPSL)
        elif habit == 2:
            yield UpdateIsolatedMargin(self.user, market.id, _GIFT)
        elif habit == 3:
            yield Send(self.user, self._friend, _GIFT)
        else:
            yield self._take_profit(market, side, abs(sz), mark)
            yield ScheduleCancel(self.user, time_ns + _SCHEDULE_NS)

    def _tpsl(self, market: Market, side: int, sz: int, mark: int) -> tuple[Place, Place]:
        """Take profit and stop of a position that `side` closes."""
        gain = mark * (20 + int(self._random.random() * 60)) // 10_000
        loss = mark * (20 + int(self._random.random() * 60)) // 10_000
        above, below = ceil_px(market, mark + gain), floor_px(market, mark - loss)
        tp, sl = (above, below) if side == ASK else (below, above)
        return (
            self._trigger(market, side, sz, tp, "tp"),
            self._trigger(market, side, sz, sl, "sl"),
        )

    def _trigger(self, market: Market, side: int, sz: int, px: int, tpsl: str) -> Place:
        worst = (
            floor_px(market, px * 95 // 100) if side == ASK else ceil_px(market, px * 105 // 100)
        )
        is_market = tpsl == "sl" or self._random.random() < 0.5
        spec = TriggerSpec(px, is_market, tpsl)
        limit = worst if is_market else px
        return Place(self.user, market.id, side, limit, sz, GTC, None, True, spec)

    def _take_profit(self, market: Market, side: int, sz: int, mark: int) -> Place:
        """A reduce-only order that rests a little away."""
        away = mark * 30 // 10_000
        px = ceil_px(market, mark + away) if side == ASK else floor_px(market, mark - away)
        return Place(self.user, market.id, side, px, sz, GTC, None, True)


def _at_market(
    user: bytes, market: Market, side: int, sz: int, mark: int, *, reduce_only: bool = False
) -> Place:
    px = mark * 105 // 100 if side == BID else mark * 95 // 100
    return Place(
        user, market.id, side, floor_px(market, px), sz, MARKET, None, reduce_only=reduce_only
    )
