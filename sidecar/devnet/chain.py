"""The chain: one block after another, the same from the same config and actions.

block 1            lists the markets, funds the insurance vault and the traders
blocks 2, 3, ...   a market maker each opens its ladders; from then on everybody trades

within a block     oracle and marks (every few blocks) ─▶ triggers ─▶ scheduled cancels
                   ─▶ funding ─▶ signed actions ─▶ synthetic traders ─▶ liquidations
                   ─▶ checks (every few blocks)
"""

from collections.abc import Sequence

import msgspec

from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.actions import Deposit
from sidecar.devnet.execution.agents import Nonces
from sidecar.devnet.execution.checks import account_check, book_check
from sidecar.devnet.execution.clearing import VAULT
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.funding import Funding
from sidecar.devnet.execution.liquidation import Liquidations
from sidecar.devnet.execution.markets import floor_grid
from sidecar.devnet.execution.marks import Average, Mark
from sidecar.devnet.execution.prices import Oracle
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.devnet.mempool import Result, Submitted, execute
from sidecar.devnet.traders.crowd import Traders
from sidecar.fixed import SCALE
from sidecar.limits import RECENT_TRADES
from sidecar.node.snapshot import TradeRow
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
CHECK_BLOCKS = 10
_CHECKED_ACCOUNTS = 8  # at a time, in turn
_VAULT_DEPOSIT = 1_000_000_000 * SCALE


class Tally(msgspec.Struct):
    """What a snapshot says of a market beside its book."""

    trades: list[TradeRow]  # the newest ones
    trades_height: int = 0
    orders_height: int = 0


class Chain:
    """The chain after block `height`, whose consensus time is `time_ns`. Pure: no clock, no I/O."""

    def __init__(self, config: DevnetConfig) -> None:
        self.height = 0
        self.time_ns = GENESIS_NS
        self.config = config
        self.results: list[Result] = []  # of the newest block's signed actions, in their order
        markets = config.listed
        self.exchange = Exchange(config.chain, markets)
        self.nonces = Nonces()
        self.oracle = Oracle(config.seed, markets, config.moves)
        self.marks = {market.id: Mark(Average(), Average()) for market in markets}
        exchange = self.exchange
        self.funding = Funding(
            exchange.tape, exchange.clearing, exchange.matching, config.funding_ns
        )
        self.liquidations = Liquidations(exchange)
        self.traders = Traders(config, exchange)
        self.tallies = {market.id: Tally([]) for market in markets}
        self.unchecked: set[int] = set()  # markets touched since the last check

    def set_time(self, time_ns: int) -> None:
        """The next block's consensus time is `time_ns`, if that is later than one interval on."""
        self.time_ns = max(self.time_ns, time_ns - self.config.block_ns)

    def step(self, submitted: Sequence[Submitted] = (), written_ns: int = 0) -> Block:
        """Makes the next block. What became of `submitted` is in `results`. O(actions)."""
        before_ns = self.time_ns
        self.height += 1
        self.time_ns += self.config.block_ns
        exchange = self.exchange
        out = exchange.begin_block(self.height, self.time_ns)
        if self.height == 1:
            self._genesis(out)
        self.oracle.step(self.height)
        priced = (self.height - 1) % self.config.prices_blocks == 0
        if priced:
            out.append(self._prices())
            exchange.wake_triggers()
        exchange.cancel_scheduled()
        self.funding.step(before_ns, exchange.entry.oracles)
        self.results = [execute(exchange, self.nonces, one) for one in submitted]
        if self.height > 1:
            self._trade()
        self.liquidations.run(marks_changed=priced)
        self._note(out)
        if self.height % CHECK_BLOCKS == 0:
            self._check(out)
        return Block(self.height, self.time_ns, written_ns, out)

    def check_invariants(self) -> None:
        """Asserts what must hold after every block: no crossed book, positions of a market sum to
        zero, nobody below maintenance. O(orders + accounts).
        """
        self.exchange.check_invariants()
        assert self.liquidations.everybody_covered()

    def _genesis(self, out: list[Transition]) -> None:
        out.extend(market.listing() for market in self.config.listed)
        self.exchange.execute(Deposit(VAULT, _VAULT_DEPOSIT))
        for deposit in self.traders.deposits():
            self.exchange.execute(deposit)

    def _trade(self) -> None:
        """The synthetic traders' turn: each looks at the books as the one before left them."""
        execute, traders, height = self.exchange.execute, self.traders, self.height
        for actions in (
            traders.open(height - 2, self.oracle),
            traders.trade(self.config.actions, self.oracle),
            traders.settle(height),
        ):
            for action in actions:
                try:
                    execute(action)
                except ActionRefused:
                    continue  # as anybody's may be; nothing of it was executed

    def _prices(self) -> PricesUpdated:
        prices = []
        exchange = self.exchange
        for market in self.config.listed:
            book = exchange.books[market.id]
            bid, ask = book.best_px(BID), book.best_px(ASK)
            oracle_px = floor_grid(market, self.oracle.px(market.id))
            last_px = exchange.matching.last_px.get(market.id, 0)
            bbo = None if bid is None or ask is None else (bid, ask)
            mark_px = self.marks[market.id].px(oracle_px, bbo, last_px, self.time_ns)
            mark_px = floor_grid(market, mark_px)
            exchange.set_prices(market.id, oracle_px, mark_px)
            prices.append((market.id, oracle_px, mark_px))
        return PricesUpdated(tuple(prices))

    def _note(self, transitions: list[Transition]) -> None:
        """Keeps what a snapshot and the checks need to know of a block."""
        height, time_ns = self.height, self.time_ns
        touched = set()
        for transition in transitions:
            if isinstance(transition, (OrderStatus, BookAdded, BookChanged, BookRemoved)):
                touched.add(transition.market)
            elif isinstance(transition, Fill):
                tally = self.tallies[transition.market]
                tally.trades_height = height
                tally.trades.append(TradeRow(height, time_ns, transition))
                del tally.trades[:-RECENT_TRADES]
        for market in touched:
            self.tallies[market].orders_height = height
        self.unchecked |= touched

    def _check(self, out: list[Transition]) -> None:
        """Says what the touched books hold, and what some of the accounts, each in its turn."""
        books, clearing = self.exchange.books, self.exchange.clearing
        out.extend(book_check(market, books[market]) for market in sorted(self.unchecked))
        self.unchecked.clear()
        accounts = list(clearing.accounts.values())
        first = self.height // CHECK_BLOCKS * _CHECKED_ACCOUNTS
        for number in range(min(_CHECKED_ACCOUNTS, len(accounts))):
            account = accounts[(first + number) % len(accounts)]
            out.append(account_check(account, clearing.account_value(account)))
