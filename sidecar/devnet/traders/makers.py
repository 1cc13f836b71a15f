"""Market makers: ladders of post-only quotes around the fair price, moved as the price moves.

Each maker spaces its ladder differently, so that together they fill some fifty prices a side, the
near ones with several orders.
"""

from collections.abc import Iterator
from hashlib import blake2b
from random import Random

from sidecar.devnet.execution.actions import Action, Cancel, Place
from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.markets import MIN_NOTIONAL, Market, floor_px
from sidecar.devnet.execution.orders import ALO, Resting
from sidecar.fixed import SCALE
from sidecar.node.transitions import ASK, BID

QUOTES = 24  # of a maker, a side, a market
_REFRESHED = 2  # of the oldest quotes, in a turn
_REACH_TICKS = 8  # beyond its ladder, a maker leaves a quote that far from the fair price alone
_QUOTE_VALUE = 500_000 * SCALE  # the largest quote is worth about so many yen


class Maker:
    """One maker in all markets. `number` makes its address and the spacing of its ladder."""

    def __init__(self, number: int, random: Random) -> None:
        self.number = number
        self.user = address("maker", number)
        self._spacing = 1 + number % 3
        self._random = random

    def turn(self, market: Market, book: Book, fair_px: int) -> Iterator[Action]:
        """Takes back stale and old quotes, then fills its ladder up, mostly near the fair price."""
        reach = (QUOTES * self._spacing + _REACH_TICKS) * market.tick(fair_px)
        taken_back: list[Resting] = []
        kept: list[Resting] = []
        for order in book.of_user(self.user).values():
            behind = fair_px - order.px if order.side == BID else order.px - fair_px
            (kept if 0 < behind <= reach else taken_back).append(order)
        if len(kept) > QUOTES:  # a side is full, or nearly: there is something to renew
            taken_back += kept[:_REFRESHED]
            kept = kept[_REFRESHED:]
        for order in taken_back:
            yield Cancel(self.user, market.id, order.oid)
        bids = sum(1 for order in kept if order.side == BID)
        yield from self._fill_up(market, fair_px, BID, bids)
        yield from self._fill_up(market, fair_px, ASK, len(kept) - bids)

    def _fill_up(self, market: Market, fair_px: int, side: int, quotes: int) -> Iterator[Action]:
        """New quotes of a side. A side that is empty gets one at every step of the ladder."""
        for number in range(QUOTES - quotes):
            step = _low(self._random, QUOTES) if quotes else number
            yield self._quote(market, fair_px, side, 1 + step * self._spacing)

    def _quote(self, market: Market, fair_px: int, side: int, ticks: int) -> Place:
        away = ticks * market.tick(fair_px)
        px = floor_px(market, fair_px - away if side == BID else fair_px + away)
        sz = random_sz(self._random, market, _QUOTE_VALUE)
        cloid = self._random.getrandbits(128).to_bytes(16) if self._random.random() < 0.5 else None
        return Place(self.user, market.id, side, px, sz, ALO, cloid)


def address(kind: str, number: int) -> bytes:
    """The 20 bytes that name a trader, the same on every chain."""
    return blake2b(f"devnet {kind} {number}".encode(), digest_size=20).digest()


def random_sz(random: Random, market: Market, value: int) -> int:
    """A size worth up to `value` at the market's first price, small ones likelier; never so small
    that it is refused while prices are above a quarter of that.
    """
    lots = value * SCALE // market.start_px // market.lot
    least = 4 * MIN_NOTIONAL * SCALE // market.start_px // market.lot + 1
    return market.lot * (least + _low(random, lots))


def _low(random: Random, below: int) -> int:
    """A number from 0 on, low ones likelier. A product is the same on every machine, a power may
    not be.
    """
    return int(random.random() * random.random() * below)
