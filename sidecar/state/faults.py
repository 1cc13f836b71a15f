"""What is known to be wrong: a book or an account that contradicts what the node says."""

from collections import Counter

import msgspec

from sidecar.node.transitions import BookAdded, BookChanged, BookCheck, BookRemoved, Transition

BOOK, ACCOUNT, EVERYTHING = "book", "account", "everything"  # what is wrong, and is rebuilt
BOOK_KINDS = (BookAdded, BookChanged, BookRemoved, BookCheck)  # what needs a right book


class Fault(msgspec.Struct, frozen=True):
    """The first contradiction: the height of the block that showed it, and what it is."""

    height: int
    what: str


class Faults:
    """All that is wrong now, by what is to be rebuilt: books by market, accounts by user, or, where
    neither is to blame alone, everything. `checked` and `found` count by part: what was compared
    with what the node says, and contradictions, ever.
    """

    __slots__ = ("accounts", "books", "checked", "everything", "found")

    def __init__(self) -> None:
        self.books: dict[int, Fault] = {}
        self.accounts: dict[bytes, Fault] = {}
        self.everything: Fault | None = None
        self.checked: Counter[str] = Counter()
        self.found: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self.books or self.accounts or self.everything)

    def of_book(self, market: int | None) -> Fault | None:
        """Why the book of that market (None: of none) is known to be wrong, if it is. O(1)."""
        wrong = None if market is None else self.books.get(market)
        return wrong or self.everything

    def of_account(self, address: bytes) -> Fault | None:
        """Likewise for an account."""
        return self.accounts.get(address) or self.everything

    def note(self, fault: Fault, transition: Transition, *, listed: bool) -> None:
        """A transition contradicts the state; `listed`: its market is known."""
        user = getattr(transition, "user", None)
        if listed and isinstance(transition, BOOK_KINDS):
            self.mark_book(transition.market, fault)
        elif isinstance(user, bytes) and not hasattr(transition, "market"):
            self.found[ACCOUNT] += 1
            self.accounts.setdefault(user, fault)
        else:
            self.mark_everything(fault)

    def mark_book(self, market: int, fault: Fault) -> Fault:
        """That book is wrong; the first fault of it that is known."""
        self.found[BOOK] += 1
        return self.books.setdefault(market, fault)

    def mark_everything(self, fault: Fault) -> None:
        """No part is to blame alone."""
        self.found[EVERYTHING] += 1
        if self.everything is None:
            self.everything = fault

    def count_on(self, before: "Faults") -> None:
        """What was counted before these took the place of those."""
        self.checked += before.checked
        self.found += before.found
