"""Every user that the chain has named, one object each: account, orders, recent past.

One dict lookup by address finds all of it. Who does what with a `User`:

    accounts.py    balance, positions, leverages, agents
    orders.py      resting, waiting, statuses
    history.py     fills, fundings, ledger
"""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sidecar.node.transitions import Record

if TYPE_CHECKING:
    from sidecar.node.transitions import OrderStatus
    from sidecar.state.accounts import Leverage, Position
    from sidecar.state.book import Order
    from sidecar.state.history import LedgerEntry, Payment, UserFill


class SourceRow(Record, tag=40, frozen=True):
    """What the source of the state tells of users (see `Users`)."""

    unknown_past: bool
    refusals_encoded: bool
    money_told: bool
    since_ns: int | None = None


class HeightsRow(Record, tag=41, frozen=True):
    """A user's heights (see `User`)."""

    user: bytes
    orders: int | None
    fills: int | None
    fundings: int | None
    ledger: int | None
    events: int | None
    volume: str = "0"  # as text: more than 64 bits
    deposited: str = "0"


class User:
    """What the chain says of one user as of the last block.

    `balance` is cross, in 1e-8 of the quote currency. The heights are those of the newest block
    with a message of that kind for the user: 0 for none so far, None where the source could not
    tell. Collections that most users never need are None until they do.
    """

    __slots__ = (
        "address",
        "balance",
        "cloids",
        "deposited",
        "events_height",
        "fills",
        "fills_height",
        "funding_paid",
        "fundings",
        "fundings_height",
        "ledger",
        "ledger_height",
        "leverages",
        "orders_height",
        "positions",
        "resting",
        "statuses",
        "volume",
        "waiting",
    )

    def __init__(self, address: bytes, *, unknown_past: bool) -> None:
        """`unknown_past`: the state did not start with the chain, so its heights can't be known."""
        height = None if unknown_past else 0
        self.address = address
        self.balance = 0
        self.deposited = 0  # into the account less out of it, ever
        self.volume = 0  # traded ever, in the quote currency
        self.positions: dict[int, Position] = {}  # by market, none of size 0
        self.leverages: dict[int, Leverage] | None = None  # by market, where the user set one
        self.funding_paid: dict[int, int] | None = None  # by market, ever; positive: paid
        self.resting: dict[int, tuple[int, Order]] = {}  # oid -> market, order
        self.waiting: dict[int, OrderStatus] | None = None  # trigger orders by oid, oldest first
        self.cloids: dict[bytes, int | set[int]] | None = None  # oids of the orders known by it
        self.statuses: deque[OrderStatus] | None = None  # newest last, bounded
        self.fills: deque[UserFill] | None = None  # likewise
        self.fundings: deque[Payment] | None = None  # likewise
        self.ledger: deque[LedgerEntry] | None = None  # likewise
        self.orders_height: int | None = height
        self.fills_height: int | None = height
        self.fundings_height: int | None = height
        self.ledger_height: int | None = height
        self.events_height: int | None = height


class Users:
    """All users by address, and what the source tells of them:

    `unknown_past`       the state did not start with the chain, nor with the users' heights
    `refusals_encoded`   refused orders came encoded: they are in no height and no history
    `money_told`         fundings and ledger entries are among the transitions
    `since_ns`           from when on everything is told, None for ever
    """

    __slots__ = ("by_address", "money_told", "refusals_encoded", "since_ns", "unknown_past")

    def __init__(self) -> None:
        self.by_address: dict[bytes, User] = {}
        self.unknown_past = False
        self.refusals_encoded = False
        self.money_told = True
        self.since_ns: int | None = None

    def get(self, address: bytes) -> User:
        """The user of that address, made where there is none. O(1)."""
        user = self.by_address.get(address)
        if user is None:
            user = self.by_address[address] = User(address, unknown_past=self.unknown_past)
        return user

    def look(self, address: bytes) -> User:
        """The same, to be read only: one that the chain has not named is not kept. O(1)."""
        user = self.by_address.get(address)
        return User(address, unknown_past=self.unknown_past) if user is None else user

    def rows(self) -> Iterator[SourceRow | HeightsRow]:
        """What `restore` takes, and no snapshot of a node holds. O(users)."""
        yield SourceRow(self.unknown_past, self.refusals_encoded, self.money_told, self.since_ns)
        for user in self.by_address.values():
            yield HeightsRow(
                user.address,
                user.orders_height,
                user.fills_height,
                user.fundings_height,
                user.ledger_height,
                user.events_height,
                str(user.volume),
                str(user.deposited),
            )

    def restore(self, row: SourceRow | HeightsRow) -> None:
        """A row of `rows`. O(1)."""
        if isinstance(row, SourceRow):
            self.unknown_past = row.unknown_past
            self.refusals_encoded = row.refusals_encoded
            self.money_told = row.money_told
            self.since_ns = row.since_ns
            return
        user = self.get(row.user)
        user.orders_height = row.orders
        user.fills_height = row.fills
        user.fundings_height = row.fundings
        user.ledger_height = row.ledger
        user.events_height = row.events
        user.volume = int(row.volume)
        user.deposited = int(row.deposited)
