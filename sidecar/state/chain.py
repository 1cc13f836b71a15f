"""The exchange as of a height: `apply(block)` moves it on by one block and says what changed.

Pure: no clock, no I/O, no randomness; the same snapshot and blocks give the same state everywhere.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sidecar.errors import StateMismatch
from sidecar.node.snapshot import (
    AccountRow,
    AgentRow,
    MarketRow,
    RestingRow,
    Row,
    TradeRow,
    TriggerRow,
)
from sidecar.node.transitions import (
    BID,
    PLACING,
    AccountCheck,
    AgentApproved,
    Block,
    BookAdded,
    BookChanged,
    BookCheck,
    BookRemoved,
    Fill,
    FundingSettled,
    LedgerChanged,
    LeverageChanged,
    MarketListed,
    OrdersRefused,
    OrderStatus,
    PricesUpdated,
    Trigger,
)
from sidecar.state.accounts import Accounts
from sidecar.state.book import Order
from sidecar.state.changes import Changes, Diff, DiffKind, MarketChanges
from sidecar.state.checks import check_book
from sidecar.state.history import History
from sidecar.state.market import Market, Trade
from sidecar.state.orders import Orders
from sidecar.state.users import Users

_NEW, _UPDATE, _REMOVE = DiffKind.NEW, DiffKind.UPDATE, DiffKind.REMOVE


class ChainState:
    """All markets after block `height`. A failed `apply` leaves it unusable: rebuild it."""

    def __init__(self) -> None:
        self.height = 0
        self.time_ns = 0
        self.markets: dict[int, Market] = {}
        self.by_symbol: dict[str, Market] = {}
        self.users = Users()
        self.accounts = Accounts(self.users, self.markets)
        self.orders = Orders(self.users)
        self.history = History(self.users)
        self._changes = Changes(0, 0, 0, self.users)
        self._placed: dict[int, OrderStatus] = {}  # this block's placed orders that do not rest yet
        self._appliers: dict[type, Callable[[Any], None]] = {
            MarketListed: self._list_market,
            OrderStatus: self._order_status,
            OrdersRefused: self._orders_refused,
            BookAdded: self._book_added,
            BookChanged: self._book_changed,
            BookRemoved: self._book_removed,
            Fill: self._fill,
            PricesUpdated: self._prices_updated,
            FundingSettled: self._funding_settled,
            LedgerChanged: self._ledger_changed,
            LeverageChanged: self._leverage_changed,
            AgentApproved: self._agent_approved,
            BookCheck: self._book_check,
            AccountCheck: self._account_check,
        }

    def restore(self, height: int, time_ns: int, rows: Iterable[Row]) -> None:
        """Fills an empty state from a snapshot's rows. Raises `StateMismatch`. O(rows)."""
        assert not self.markets, "restore() fills a new state"
        self.users.unknown_past = height > 0
        self.users.money_told = height == 0  # or where the rows hold accounts
        row: Any = None
        try:
            for row in rows:
                if isinstance(row, RestingRow):
                    self._restore_order(row)
                elif isinstance(row, MarketRow):
                    self._restore_market(row)
                elif isinstance(row, TradeRow):
                    self._restore_trade(row)
                elif isinstance(row, AccountRow):
                    self.accounts.restore_account(row)
                    self.users.money_told = True
                elif isinstance(row, TriggerRow):
                    self.orders.restore_waiting(row)
                elif isinstance(row, AgentRow):
                    self.accounts.restore_agent(row)
        except StateMismatch as error:
            raise self._located(StateMismatch(f"in the snapshot, {error}"), height, row) from None
        self.height = height
        self.time_ns = time_ns

    def apply(self, block: Block) -> Changes:
        """Moves on by one block. Raises `StateMismatch` with height and market. O(transitions)."""
        if block.height != self.height + 1:
            what = f"block {block.height} can't follow block {self.height}"
            raise StateMismatch(what, height=block.height)
        changes = self._changes = Changes(
            block.height, block.time_ns, len(block.transitions), self.users
        )
        self.time_ns = block.time_ns
        appliers = self._appliers
        transition: Any = None
        try:
            for transition in block.transitions:
                applier = appliers.get(type(transition))
                if applier is not None:
                    applier(transition)
        except StateMismatch as error:
            raise self._located(error, block.height, transition) from None
        self._placed.clear()
        self._note_heights(changes)
        self.height = block.height
        return changes

    def _note_heights(self, changes: Changes) -> None:
        height = changes.height
        for changed in changes.markets.values():
            if changed.fills:
                changed.market.trades_height = height
            if changed.orders_changed:
                changed.market.orders_height = height
        for user_changes in changes.users.values():
            user = user_changes.user
            if user_changes.statuses:
                user.orders_height = height
            if user_changes.fills:
                user.fills_height = height
            if user_changes.fundings:
                user.fundings_height = height
            if user_changes.ledger:
                user.ledger_height = height
            if user_changes.events:
                user.events_height = height

    def _located(self, error: StateMismatch, height: int, transition: Any) -> StateMismatch:
        market = self.markets.get(getattr(transition, "market", -1))
        return StateMismatch(str(error), height=height, market=market.symbol if market else None)

    def _changed(self, market_id: int) -> MarketChanges:
        changed = self._changes.markets.get(market_id)
        if changed is None:
            market = self.markets.get(market_id)
            if market is None:
                raise StateMismatch(f"market {market_id} is used but was never listed")
            changed = self._changes.markets[market_id] = MarketChanges(market)
        return changed

    def _list_market(self, listing: MarketListed) -> None:
        known = self.markets.get(listing.market)
        if known is None:
            self._add_market(listing)
        elif known.symbol == listing.symbol:
            known.listing = listing  # a rule of a listed market changed
        else:
            what = f"market {listing.market} is {known.symbol}; it can't become {listing.symbol}"
            raise StateMismatch(what)

    def _add_market(self, listing: MarketListed) -> Market:
        if listing.symbol in self.by_symbol:
            raise StateMismatch(f"symbol {listing.symbol} is listed twice")
        market = Market(listing)
        self.markets[market.id] = market
        self.by_symbol[market.symbol] = market
        return market

    def _order_status(self, status: OrderStatus) -> None:
        changed = self._changed(status.market)
        changed.statuses.append(status)
        self.orders.status(status, self._changes.user(status.user))
        if status.status in PLACING:
            status = live(status)
            order = changed.market.book.orders.get(status.oid)
            if order is None:
                self._placed[status.oid] = status
            else:
                order.status = status

    def _orders_refused(self, refused: OrdersRefused) -> None:
        self._changed(refused.market).refused.append(refused)
        self.users.refusals_encoded = True

    def _book_added(self, added: BookAdded) -> None:
        changed = self._changed(added.market)
        oid, side, sz, before = added.oid, added.side, added.sz, added.before_oid
        status = self._placed.get(oid)
        order = Order(oid, added.user, side, added.px, sz, self.time_ns, status)
        touched = changed.bids if side == BID else changed.asks
        changed.market.book.add(order, before, touched)
        self.orders.added(added.market, order, self._changes.user(order.user))
        changed.diffs.append(Diff(_NEW, order, 0, sz, before))

    def _book_changed(self, change: BookChanged) -> None:
        changed = self._changed(change.market)
        book = changed.market.book
        order = book.order(change.oid)
        if change.old_sz is not None and change.old_sz != order.sz:
            what = f"order {order.oid} is changed from size {change.old_sz}, here it has {order.sz}"
            raise StateMismatch(what)
        changed.diffs.append(Diff(_UPDATE, order, order.sz, change.sz))
        self._changes.user(order.user).open_orders = True
        book.change(order, change.sz, changed.bids if order.side == BID else changed.asks)

    def _book_removed(self, removed: BookRemoved) -> None:
        changed = self._changed(removed.market)
        book = changed.market.book
        order = book.order(removed.oid)
        changed.diffs.append(Diff(_REMOVE, order, order.sz, 0))
        book.remove(order, changed.bids if order.side == BID else changed.asks)
        self.orders.removed(order, self._changes.user(order.user))

    def _fill(self, fill: Fill) -> None:
        changed = self._changed(fill.market)
        changed.fills.append(fill)
        market, trade = changed.market, Trade(self._changes.height, self.time_ns, fill)
        market.trades.append(trade)
        market.candles.trade(self.time_ns, fill.px, fill.sz)
        market.context.trade(self.time_ns, fill)
        self.accounts.fill(fill)
        self.history.fill(trade, self._changes)

    def _funding_settled(self, settled: FundingSettled) -> None:
        self._changed(settled.market).market.context.funded(self.time_ns, settled)
        self.accounts.funding(settled)
        self.history.funding(settled, self._changes)

    def _ledger_changed(self, changed: LedgerChanged) -> None:
        self.accounts.ledger(changed)
        self.history.ledger(changed, self._changes)

    def _leverage_changed(self, changed: LeverageChanged) -> None:
        self.accounts.leverage(changed)
        self._changes.user(changed.user).account = True

    def _agent_approved(self, approved: AgentApproved) -> None:
        self.accounts.agent(approved)

    def _account_check(self, check: AccountCheck) -> None:
        self.accounts.check(check)

    def _book_check(self, check: BookCheck) -> None:
        # Checks speak of the book after the block, and stand at its end.
        check_book(self._changed(check.market).market.book, check)

    def _prices_updated(self, updated: PricesUpdated) -> None:
        for market_id, oracle_px, mark_px in updated.prices:
            market = self._changed(market_id).market
            market.oracle_px = oracle_px
            market.mark_px = mark_px

    def _restore_market(self, row: MarketRow) -> None:
        market = self._add_market(row.listing)
        market.oracle_px = row.oracle_px
        market.mark_px = row.mark_px
        market.trades_height = row.trades_height
        market.orders_height = row.orders_height

    def _restore_order(self, row: RestingRow) -> None:
        status = None if row.status is None else live(row.status)
        order = Order(row.oid, row.user, row.side, row.px, row.sz, row.added_ns, status)
        self._restored(row.market).book.add(order, 0, {})
        self.orders.restore_resting(row.market, order)

    def _restore_trade(self, row: TradeRow) -> None:
        trade = Trade(row.height, row.time_ns, row.fill)
        self._restored(row.fill.market).trades.append(trade)

    def _restored(self, market_id: int) -> Market:
        market = self.markets.get(market_id)
        if market is None:
            raise StateMismatch(f"the snapshot uses market {market_id} before listing it")
        return market


def live(status: OrderStatus) -> OrderStatus:
    """An order as its status leaves it. One that has triggered is a limit order placed now, but the
    status that says so still describes what waited.
    """
    trigger = status.trigger
    if status.status != "triggered" or trigger is None or not trigger.waiting:
        return status
    return msgspec.structs.replace(
        status,
        tif="Gtc",
        trigger=Trigger(0, "Triggered", trigger.is_position_tpsl, waiting=False),
        placed_ns=status.time_ns,
    )
