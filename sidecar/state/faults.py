"""What is known to be wrong: a book or an account that contradicts what the node says."""

import msgspec

from sidecar.node.transitions import BookAdded, BookChanged, BookCheck, BookRemoved, Transition

BOOK_KINDS = (BookAdded, BookChanged, BookRemoved, BookCheck)  # what needs a right book


class Fault(msgspec.Struct, frozen=True):
    """The first contradiction: the height of the block that showed it, and what it is."""

    height: int
    what: str


class Faults:
    """All that is wrong now, by what is to be rebuilt: books by market, accounts by user, or, where
    neither is to blame alone, everything.
    """

    __slots__ = ("accounts", "books", "everything", "found")

    def __init__(self) -> None:
        self.books: dict[int, Fault] = {}
        self.accounts: dict[bytes, Fault] = {}
        self.everything: Fault | None = None
        self.found = 0  # contradictions ever

    def __bool__(self) -> bool:
        return bool(self.books or self.accounts or self.everything)

    def note(self, fault: Fault, transition: Transition, *, listed: bool) -> None:
        """A transition contradicts the state; `listed`: its market is known."""
        self.found += 1
        user = getattr(transition, "user", None)
        if listed and isinstance(transition, BOOK_KINDS):
            self.books.setdefault(transition.market, fault)
        elif isinstance(user, bytes) and not hasattr(transition, "market"):
            self.accounts.setdefault(user, fault)
        elif self.everything is None:
            self.everything = fault
