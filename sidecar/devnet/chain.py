"""The chain: one block after another, the same from the same config, and its state as a snapshot.

block 1           lists the markets
blocks 2, 3, ...  a market maker each opens its ladders; from then on everybody trades
every few blocks  prices; every few more, checks of the books that were touched since
"""

from collections import deque
from collections.abc import Iterator

from sidecar.devnet.checks import book_check
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.markets import Market, floor_px
from sidecar.devnet.matching import Exchange
from sidecar.devnet.prices import FairPrices
from sidecar.devnet.traders import Traders
from sidecar.limits import RECENT_TRADES
from sidecar.node.snapshot import FORMAT as SNAPSHOT_FORMAT
from sidecar.node.snapshot import MarketRow, RestingRow, Row, SnapshotHeader, TradeRow
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    OrderStatus,
    PricesUpdated,
    Transition,
)

GENESIS_NS = 1_767_225_600 * 10**9  # 2026-01-01 00:00:00 UTC, where nothing else is said
PRICES_BLOCKS = 5
CHECK_BLOCKS = 10


class _Tally:
    """What a snapshot says of a market beside its book."""

    def __init__(self) -> None:
        self.oracle_px = 0
        self.mark_px = 0
        self.trades_height = 0
        self.orders_height = 0
        self.trades: deque[TradeRow] = deque(maxlen=RECENT_TRADES)


class Chain:
    """The chain after block `height`, whose consensus time is `time_ns`. Pure: no clock, no I/O."""

    def __init__(self, config: DevnetConfig) -> None:
        self.height = 0
        self.time_ns = GENESIS_NS
        self.config = config
        markets = config.listed
        self.exchange = Exchange(config.chain, markets)
        self._fair = FairPrices(config.seed, markets)
        self._traders = Traders(config.seed, self.exchange.markets, self.exchange.books)
        self._tallies = {market.id: _Tally() for market in markets}
        self._unchecked: set[int] = set()

    def set_time(self, time_ns: int) -> None:
        """The next block's consensus time is `time_ns`, if that is later than one interval on."""
        self.time_ns = max(self.time_ns, time_ns - self.config.block_ns)

    def step(self, written_ns: int) -> Block:
        """Makes the next block. O(actions)."""
        self.height += 1
        self.time_ns += self.config.block_ns
        out = self.exchange.begin_block(self.height, self.time_ns)
        if self.height == 1:
            out.extend(market.listing() for market in self.config.listed)
        self._fair.step()
        if self.height % PRICES_BLOCKS == 1:
            out.append(self._prices())
        if self.height > 1:
            self._trade()
        self._note(out)
        if self.height % CHECK_BLOCKS == 0:
            self._check(out)
        return Block(self.height, self.time_ns, written_ns, out)

    def snapshot_header(self) -> SnapshotHeader:
        """What a snapshot of the state as it is now starts with."""
        return SnapshotHeader(SNAPSHOT_FORMAT, self.config.chain, self.height, self.time_ns)

    def snapshot_rows(self) -> Iterator[Row]:
        """The state as rows; to be read through before the next `step`. O(orders)."""
        for market in self.config.listed:
            tally = self._tallies[market.id]
            yield MarketRow(
                market.listing(),
                tally.oracle_px,
                tally.mark_px,
                tally.trades_height,
                tally.orders_height,
            )
            yield from self._resting_rows(market.id, BID)
            yield from self._resting_rows(market.id, ASK)
            yield from tally.trades

    def _resting_rows(self, market: int, side: int) -> Iterator[RestingRow]:
        for order in self.exchange.books[market].queue(side):
            opened = order.opened
            yield RestingRow(
                market, order.oid, order.user, side, order.px, order.sz, opened.placed_ns, opened
            )

    def _trade(self) -> None:
        execute, px = self.exchange.execute, self._fair.px
        for action in self._traders.open(self.height - 2, px):
            execute(action)
        for action in self._traders.trade(self.config.actions, px):
            execute(action)

    def _prices(self) -> PricesUpdated:
        prices = []
        for market in self.config.listed:
            tally = self._tallies[market.id]
            tally.oracle_px = floor_px(market, self._fair.px[market.id])
            tally.mark_px = self._mark_px(market, tally.oracle_px)
            prices.append((market.id, tally.oracle_px, tally.mark_px))
        return PricesUpdated(tuple(prices))

    def _mark_px(self, market: Market, oracle_px: int) -> int:
        """The median of oracle, best bid and best ask; the oracle while a side is empty."""
        book = self.exchange.books[market.id]
        bid, ask = book.best_px(BID), book.best_px(ASK)
        if bid is None or ask is None:
            return oracle_px
        return sorted((oracle_px, bid, ask))[1]

    def _note(self, transitions: list[Transition]) -> None:
        """Keeps what a snapshot and the checks need to know of a block."""
        height, time_ns = self.height, self.time_ns
        touched = set()
        for transition in transitions:
            if isinstance(transition, (OrderStatus, BookAdded, BookChanged, BookRemoved)):
                touched.add(transition.market)
            elif isinstance(transition, Fill):
                tally = self._tallies[transition.market]
                tally.trades_height = height
                tally.trades.append(TradeRow(height, time_ns, transition))
        for market in touched:
            self._tallies[market].orders_height = height
        self._unchecked |= touched

    def _check(self, out: list[Transition]) -> None:
        books = self.exchange.books
        out.extend(book_check(market, books[market]) for market in sorted(self._unchecked))
        self._unchecked.clear()
