"""The exchange as of a height: `apply(block)` moves it on by one block and says what changed.

Pure: no clock, no I/O, no randomness; the same snapshot and blocks give the same state everywhere.

A block that contradicts a book marks that book, and what it says of it is passed over from there
on, until a book that was rebuilt elsewhere is adopted; likewise an account. All others go on.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sidecar.errors import StateMismatch
from sidecar.node.snapshot import MarketRow
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
    Leg,
    LeverageChanged,
    MarketListed,
    OrdersRefused,
    OrderStatus,
    PricesUpdated,
    Transition,
)
from sidecar.state.accounts import Accounts
from sidecar.state.book import Order
from sidecar.state.changes import Changes, Diff, DiffKind, MarketChanges
from sidecar.state.checks import check_book
from sidecar.state.faults import ACCOUNT, BOOK, Fault, Faults
from sidecar.state.history import History
from sidecar.state.market import Market, Trade
from sidecar.state.orders import Orders, live
from sidecar.state.restorer import Restorer
from sidecar.state.users import User, Users
from sidecar.state.way import Way

if TYPE_CHECKING:
    from sidecar.state.health import Health

_NEW, _UPDATE, _REMOVE = DiffKind.NEW, DiffKind.UPDATE, DiffKind.REMOVE

_ADOPTED = (
    *("height", "time_ns", "way", "markets", "by_symbol", "users"),
    *("accounts", "orders", "history"),
)


class ChainState:
    """The exchange after block `height`."""

    def __init__(self, *, strict: bool = True) -> None:
        """`strict`: a contradiction raises `StateMismatch` and leaves the state unusable; else it
        is noted in `faults`.
        """
        self.strict = strict
        self.faults = Faults()
        self.health: Health | None = None  # set by who serves the state and has clocks
        self.allowance: Callable[[bytes], tuple[int, int]] | None = None  # by who takes orders
        self.height = 0
        self.time_ns = 0
        self.way = Way()  # to that height; empty where its block was not read
        self.doubted = 0  # up to which height what was told of it may be wrong, or of another way
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

    def restore(self, height: int, time_ns: int, rows: Iterable[Any]) -> None:
        """Fills an empty state from a snapshot's rows (see `Restorer`). Raises `StateMismatch`.
        O(rows).
        """
        Restorer(self, height, time_ns).rows(rows)

    def add_market(self, listing: MarketListed) -> Market:
        """Lists a market that is not known. Raises `StateMismatch` for a symbol that is."""
        if listing.symbol in self.by_symbol:
            raise StateMismatch(f"symbol {listing.symbol} is listed twice")
        market = Market(listing)
        if self.users.unknown_past:  # rows of a checkpoint may know more
            market.levels_height = None
            if not self.accounts.complete:  # nor does the source say that a market is new
                market.trades_height = market.orders_height = None
            market.candles.since_ns = self.users.since_ns
        market.fault = self.faults.everything
        self.markets[market.id] = market
        self.by_symbol[market.symbol] = market
        return market

    def listings(self) -> Iterator[MarketRow]:
        """The markets without anything that happened in them."""
        for market in self.markets.values():
            yield MarketRow(market.listing)

    def apply(self, block: Block) -> Changes:
        """Moves on by one block. Raises `StateMismatch` for a height that does not follow, and for
        contradictions if strict. O(transitions).
        """
        if block.height != self.height + 1:
            what = f"block {block.height} can't follow block {self.height}"
            raise StateMismatch(what, height=block.height)
        changes = self._changes = Changes(
            block.height, block.time_ns, len(block.transitions), self.users
        )
        self.time_ns = block.time_ns
        remaining = iter(block.transitions)
        while not self._apply(remaining):
            pass
        self._placed.clear()
        self._note_heights(changes)
        self.height = block.height
        self.way.add(block)
        return changes

    def _apply(self, transitions: Iterator[Transition]) -> bool:
        """True once none is left, False behind one that contradicts the state."""
        appliers = self._appliers
        transition: Any = None
        try:
            for transition in transitions:
                applier = appliers.get(type(transition))
                if applier is not None:
                    applier(transition)
        except StateMismatch as error:
            height = self._changes.height
            if self.strict:
                raise self.located(error, height, transition) from None
            market = self.markets.get(getattr(transition, "market", -1))
            self.faults.note(Fault(height, str(error)), transition, listed=market is not None)
            if market is not None:
                market.fault = self.faults.of_book(market.id)
            self._doubt_all_books()
            return False
        return True

    def located(self, error: StateMismatch, height: int, transition: Any) -> StateMismatch:
        """The same error, of a height and of the market that a transition or row is of."""
        market = self.markets.get(getattr(transition, "market", -1))
        return StateMismatch(str(error), height=height, market=market.symbol if market else None)

    def mark_book(self, market: Market, what: str) -> None:
        """Somebody who compared the book found it wrong; it is to be rebuilt."""
        market.fault = self.faults.mark_book(market.id, Fault(self.height, what))

    def mark_everything(self, what: str) -> None:
        """Likewise where no part is to blame alone. O(markets)."""
        self.faults.mark_everything(Fault(self.height, what))
        self._doubt_all_books()

    def _doubt_all_books(self) -> None:
        if self.faults.everything is not None:
            for market in self.markets.values():
                market.fault = self.faults.of_book(market.id)

    def adopt(self, rebuilt: "ChainState", *, doubted: bool = True) -> None:
        """Takes over everything of a state that was rebuilt elsewhere. A market that is not in it
        stays listed, empty. `doubted`: this one may have been wrong, or of another way. O(markets).
        """
        for market in self.markets.values():
            if market.id not in rebuilt.markets:
                rebuilt.add_market(market.listing)
        if doubted:
            self.doubted = max(self.doubted, self.height)
        for name in _ADOPTED:
            setattr(self, name, getattr(rebuilt, name))
        rebuilt.faults.count_on(self.faults)
        self.faults = rebuilt.faults

    def adopt_book(self, rebuilt: Market) -> None:
        """Takes over a book that was rebuilt as of `height`, in place of the marked one, and when
        it changed last, as far as that is known: of the marked one not all was. O(orders of both).
        """
        market = self.markets[rebuilt.id]
        market.orders_height = rebuilt.orders_height
        market.levels_height = rebuilt.levels_height
        self.orders.replace(market.id, market.book.orders.values(), rebuilt.book.orders.values())
        market.book = rebuilt.book
        market.fault = None
        self.faults.books.pop(market.id, None)

    def adopt_account(self, rebuilt: User) -> None:
        """Likewise for an account. O(1)."""
        self.accounts.adopt(rebuilt)
        self.faults.accounts.pop(rebuilt.address, None)

    def _note_heights(self, changes: Changes) -> None:
        height = changes.height
        for changed in changes.markets.values():
            market = changed.market
            if changed.fills:
                market.trades_height = height
            if changed.orders_changed:
                market.orders_height = height
            if market.fault is None and changed.any_level_changed():
                changed.levels_changed = True
                market.levels_height = height
        for user_changes in changes.users.values():
            user_changes.note_height(height)

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
            self.add_market(listing)
        elif known.symbol == listing.symbol:
            known.listing = listing  # a rule of a listed market changed
        else:
            what = f"market {listing.market} is {known.symbol}; it can't become {listing.symbol}"
            raise StateMismatch(what)

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
        if changed.market.fault is not None:
            return
        oid, side, sz, before = added.oid, added.side, added.sz, added.before_oid
        status = self._placed.get(oid)
        order = Order(oid, added.user, side, added.px, sz, self.time_ns, status)
        touched = changed.bids if side == BID else changed.asks
        changed.market.book.add(order, before, touched)
        self.orders.added(added.market, order, self._changes.user(order.user))
        changed.diffs.append(Diff(_NEW, order, 0, sz, before))

    def _book_changed(self, change: BookChanged) -> None:
        changed = self._changed(change.market)
        if changed.market.fault is not None:
            return
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
        if changed.market.fault is not None:
            return
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
        self.history.fill(trade, self._changes)
        if fill.buyer is not None:
            self._leg(fill.buyer, fill, fill.sz)
        if fill.seller is not None:
            self._leg(fill.seller, fill, -fill.sz)

    def _leg(self, leg: Leg, fill: Fill, sz: int) -> None:
        changed = self._changes.user(leg.user)
        changed.account = True
        self.accounts.fill(changed.user, fill.market, sz, fill.px, leg)

    def _funding_settled(self, settled: FundingSettled) -> None:
        self._changed(settled.market).market.context.funded(self.time_ns, settled)
        self.accounts.funding(settled)
        for address, _, _ in settled.payments:
            self._changes.user(address).account = True
        self.history.funding(settled, self._changes)

    def _ledger_changed(self, changed: LedgerChanged) -> None:
        self.accounts.ledger(changed)
        self._changes.user(changed.user).account = True
        self.history.ledger(changed, self._changes)

    def _leverage_changed(self, changed: LeverageChanged) -> None:
        self.accounts.leverage(changed)
        self._changes.user(changed.user).account = True

    def _agent_approved(self, approved: AgentApproved) -> None:
        self.accounts.agent(approved, self.time_ns)

    def _account_check(self, check: AccountCheck) -> None:
        if check.user not in self.faults.accounts:
            self.faults.checked[ACCOUNT] += 1
            self.accounts.check(check)

    def _book_check(self, check: BookCheck) -> None:
        # Checks speak of the book after the block, and stand at its end.
        market = self._changed(check.market).market
        if market.fault is None:
            self.faults.checked[BOOK] += 1
            check_book(market.book, check)

    def _prices_updated(self, updated: PricesUpdated) -> None:
        self._changes.prices = True
        for market_id, oracle_px, mark_px in updated.prices:
            market = self._changed(market_id).market
            market.oracle_px = oracle_px
            market.mark_px = mark_px
