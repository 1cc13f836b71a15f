"""What a block changed, by market and by user, so that nothing downstream has to look for it."""

from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from sidecar.node.transitions import BID, Fill, OrdersRefused, OrderStatus
from sidecar.state.book import Order, Touched
from sidecar.state.market import Market
from sidecar.state.users import User, Users

if TYPE_CHECKING:
    from sidecar.state.history import LedgerEntry, Payment, UserFill


class DiffKind(IntEnum):
    """What happened to a resting order."""

    NEW = 0
    UPDATE = 1
    REMOVE = 2


class Diff(NamedTuple):
    """One step of a book: `old_sz` and `new_sz` as of this step (the order itself may have moved
    on since).
    """

    kind: DiffKind
    order: Order
    old_sz: int
    new_sz: int
    before_oid: int = 0


class MarketChanges:
    """What one block did to one market.

    `bids` and `asks` hold the touched levels by rank with their size and number of orders before
    the block. `trades_prev`, `orders_prev` and `levels_prev` are the heights of the block before
    this one that had any (see `Market`).
    """

    __slots__ = (
        "asks",
        "bids",
        "diffs",
        "fills",
        "levels_changed",
        "levels_prev",
        "market",
        "orders_prev",
        "refused",
        "statuses",
        "trades_prev",
    )

    def __init__(self, market: Market) -> None:
        self.market = market
        self.bids: Touched = {}
        self.asks: Touched = {}
        self.diffs: list[Diff] = []
        self.statuses: list[OrderStatus] = []
        self.refused: list[OrdersRefused] = []
        self.fills: list[Fill] = []
        self.levels_changed = False  # whether any level ends the block different
        self.levels_prev = market.levels_height
        self.trades_prev = market.trades_height
        self.orders_prev = market.orders_height

    def touched(self, side: int) -> Touched:
        """The touched levels of a side."""
        return self.bids if side == BID else self.asks

    def any_level_changed(self) -> bool:
        """Whether there is any of those below. Stops at the first: nearly always the first one
        touched.
        """
        book = self.market.book
        for touched, levels in ((self.bids, book.bids), (self.asks, book.asks)):
            for rank, (sz, n) in touched.items():
                level = levels.get(rank)
                if n if level is None else level.sz != sz or level.n != n:
                    return True
        return False

    def changed_levels(self, side: int) -> Iterator[tuple[int, int, int]]:
        """`(rank, sz, n)` of each level that the block left different; 0 and 0 where it is gone.
        O(levels touched).
        """
        levels = self.market.book.side(side)
        for rank, before in self.touched(side).items():
            level = levels.get(rank)
            now = (0, 0) if level is None else (level.sz, level.n)
            if now != before:
                yield rank, *now

    @property
    def book_changed(self) -> bool:
        """Whether any level was touched."""
        return bool(self.bids or self.asks)

    @property
    def orders_changed(self) -> bool:
        """Whether there was any order status or book change."""
        return bool(self.diffs or self.statuses or self.refused)


class UserChanges:
    """What one block did to one user.

    `fills` and the others are in the order in which they happened. The `_prev` heights are of the
    block before this one that had any of that kind (see `User`). `account` says whether balance,
    positions, leverages or margins changed (marks alone don't count), `open_orders` whether
    resting or waiting orders did, `events` whether there is anything for `userEvents`.
    """

    __slots__ = (
        "account",
        "events",
        "events_prev",
        "fills",
        "fills_prev",
        "fundings",
        "fundings_prev",
        "ledger",
        "ledger_prev",
        "open_orders",
        "orders_prev",
        "statuses",
        "user",
    )

    def __init__(self, user: User) -> None:
        self.user = user
        self.statuses: list[OrderStatus] = []
        self.fills: list[UserFill] = []
        self.fundings: list[Payment] = []
        self.ledger: list[LedgerEntry] = []
        self.account = False
        self.open_orders = False
        self.events = False
        self.orders_prev = user.orders_height
        self.fills_prev = user.fills_height
        self.fundings_prev = user.fundings_height
        self.ledger_prev = user.ledger_height
        self.events_prev = user.events_height

    def note_height(self, height: int) -> None:
        """The block at `height` is done: what of it concerns the user is the newest now."""
        user = self.user
        if self.statuses:
            user.orders_height = height
        if self.fills:
            user.fills_height = height
        if self.fundings:
            user.fundings_height = height
        if self.ledger:
            user.ledger_height = height
        if self.events:
            user.events_height = height


class Changes:
    """What one block did: `markets` holds those that it names, by market id, `users` likewise by
    address.
    """

    __slots__ = ("_users", "height", "markets", "prices", "time_ns", "transitions", "users")

    def __init__(self, height: int, time_ns: int, transitions: int, users: Users) -> None:
        self.height = height
        self.time_ns = time_ns
        self.transitions = transitions
        self.prices = False  # whether oracle or mark prices were told
        self.markets: dict[int, MarketChanges] = {}
        self.users: dict[bytes, UserChanges] = {}
        self._users = users

    def user(self, address: bytes) -> UserChanges:
        """What the block did to that user, to be added to. O(1)."""
        changed = self.users.get(address)
        if changed is None:
            changed = self.users[address] = UserChanges(self._users.get(address))
        return changed
