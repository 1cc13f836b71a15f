"""A market: its listing, book, prices and recent trades."""

from collections import deque

import msgspec

from sidecar.limits import RECENT_TRADES
from sidecar.node.transitions import ASK, BID, Fill, MarketListed
from sidecar.state.book import Book
from sidecar.state.candles import Candles
from sidecar.state.context import Context
from sidecar.state.faults import Fault


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade and the block that made it."""

    height: int
    time_ns: int
    fill: Fill


class Market:
    """What the chain says of one market as of the last block.

    `trades_height`, `orders_height` and `levels_height` are the heights of the newest block with a
    trade, with an order status or book change, and with a price level that it left different, of
    this market: 0 for none so far, None where the source could not tell.
    """

    __slots__ = (
        "book",
        "candles",
        "context",
        "fault",
        "id",
        "levels_height",
        "listing",
        "mark_px",
        "oracle_px",
        "orders_height",
        "symbol",
        "trades",
        "trades_height",
    )

    def __init__(self, listing: MarketListed) -> None:
        self.id = listing.market
        self.symbol = listing.symbol
        self.listing = listing
        self.book = Book()
        self.candles = Candles()
        self.context = Context()
        self.fault: Fault | None = None  # the book is known to be wrong
        self.oracle_px = 0
        self.mark_px = 0
        self.trades: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self.trades_height: int | None = 0
        self.levels_height: int | None = 0
        self.orders_height: int | None = 0

    def mid_px(self) -> int | None:
        """The middle of the best bid and ask, rounded down to 1e-8; None while a side is empty or
        the book known to be wrong.
        """
        if self.fault is not None:
            return None
        bid, ask = self.book.best(BID), self.book.best(ASK)
        if bid is None or ask is None:
            return None
        return (bid[0] + ask[0]) // 2
