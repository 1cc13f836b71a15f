"""Takers: those who trade with what rests, and those who try and are refused.

A turn is one of a few habits, chosen by lot:

    sweep      Ioc up to four ticks into the book, for what is there
    market     a market order, five per cent of slippage allowed
    miss       Ioc one tick short of the best price: refused
    join       Gtc near the best price: some cross and rest with what is left; the oldest of its
               orders is cancelled once there are a few
    post_late  Alo through the best price: refused
    off_tick   a price that no tick allows: refused
    both_ways  a bid through an offer of one's own: the offer gives way
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random

from sidecar.devnet.execution.actions import Action, Cancel, Place
from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.markets import Market, floor_px
from sidecar.devnet.execution.orders import ALO, GTC, IOC, MARKET
from sidecar.devnet.traders.makers import address, random_sz
from sidecar.fixed import SCALE
from sidecar.node.transitions import ASK, BID

_ORDERS = 3  # that a taker leaves resting in a market
_ORDER_VALUE = 2_000_000 * SCALE  # the largest order is worth about so many yen
_SLIPPAGE_PERCENT = 5


class Taker:
    """One taker in all markets."""

    def __init__(self, number: int, random: Random) -> None:
        self.user = address("taker", number)
        self._random = random

    def turn(self, market: Market, book: Book, fair_px: int) -> Iterator[Action]:
        """The actions of one habit; none where the side to trade with is empty."""
        bid, ask = book.best_px(BID), book.best_px(ASK)
        random = self._random
        habit = random.choices(_NAMES, cum_weights=_WEIGHTS)[0]
        # Whoever sees a price on the wrong side of the fair one takes it; else it is chance.
        if ask is not None and ask < fair_px:
            side = BID
        elif bid is not None and bid > fair_px:
            side = ASK
        elif bid is None or ask is None:
            return
        else:
            side = int(random.random() * 2)
        if bid is None or ask is None:
            habit = "sweep"
        if habit == "join":
            yield from self._leave(market, book)
        best = ask if side == BID else bid
        if habit == "both_ways" and ask is not None:
            yield self._place(market, ASK, ask, GTC)
            side, best = BID, ask
        assert best is not None
        _, tif, price = _HABITS[habit]
        px = price(random, market, side, best)
        yield self._place(market, side, px, tif)

    def clear(self, market: Market, book: Book, fair_px: int) -> Iterator[Action]:
        """Takes everything that is on the wrong side of the fair price."""
        px = floor_px(market, fair_px)
        for side in (BID, ASK):
            stale = 0
            for order in book.queue(1 - side):
                if (order.px >= px) if side == BID else (order.px <= px):
                    break
                stale += order.sz
            if stale:
                yield Place(self.user, market.id, side, px, stale, IOC)

    def _leave(self, market: Market, book: Book) -> Iterator[Action]:
        mine = book.of_user(self.user)
        if len(mine) >= _ORDERS:
            yield Cancel(self.user, market.id, next(iter(mine)))

    def _place(self, market: Market, side: int, px: int, tif: str) -> Place:
        sz = random_sz(self._random, market, _ORDER_VALUE)
        return Place(self.user, market.id, side, px, sz, tif)


def _moved(market: Market, side: int, px: int, ticks: int) -> int:
    """A price so many ticks more aggressive than `px`."""
    away = ticks * market.tick(px)
    return floor_px(market, px + away if side == BID else px - away)


def _into(random: Random, market: Market, side: int, best: int) -> int:
    return _moved(market, side, best, int(random.random() * 5))


def _slipped(_random: Random, market: Market, side: int, best: int) -> int:
    slippage = best * _SLIPPAGE_PERCENT // 100
    return floor_px(market, best + slippage if side == BID else best - slippage)


def _short(_random: Random, market: Market, side: int, best: int) -> int:
    return _moved(market, side, best, -1)


def _near(random: Random, market: Market, side: int, best: int) -> int:
    return _moved(market, side, best, int(random.random() * 12) - 10)


def _through(_random: Random, market: Market, side: int, best: int) -> int:
    return _moved(market, side, best, 1)


def _between_ticks(_random: Random, market: Market, side: int, best: int) -> int:
    return _moved(market, side, best, -1) + 1


_Price = Callable[[Random, Market, int, int], int]  # from the best price of the opposite side

_HABITS: dict[str, tuple[int, str, _Price]] = {  # how often of a hundred turns, tif, price
    "sweep": (38, IOC, _into),
    "market": (20, MARKET, _slipped),
    "miss": (6, IOC, _short),
    "join": (22, GTC, _near),
    "post_late": (10, ALO, _through),
    "off_tick": (1, GTC, _between_ticks),
    "both_ways": (3, GTC, _through),
}
_NAMES = tuple(_HABITS)
_WEIGHTS = tuple(accumulate(often for often, _, _ in _HABITS.values()))
