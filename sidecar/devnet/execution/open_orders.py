"""Every order that rests or waits, and how it is found: by id, by its owner's id, by owner.

What becomes of them is the business of `matching.py`.
"""

from collections.abc import Iterable, Iterator

from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.links import Links
from sidecar.devnet.execution.orders import Resting, Waiting
from sidecar.devnet.execution.triggers import Triggers


class OpenOrders:
    """The books and waiting orders of all markets. Single steps O(log orders)."""

    def __init__(self, markets: Iterable[int]) -> None:
        self.books = {market: Book() for market in markets}
        self.triggers = {market: Triggers() for market in self.books}
        self.links = Links()
        self.newest_oid = 0
        self._reducing: dict[int, dict[bytes, dict[int, Resting]]] = {
            market: {} for market in self.books
        }
        self.cloids: dict[tuple[bytes, bytes], tuple[int, int]] = {}  # market and oid

    def next_oid(self) -> int:
        """The id of a new order."""
        self.newest_oid += 1
        return self.newest_oid

    def add(self, order: Resting | Waiting) -> None:
        """An order begins to rest, or to wait."""
        opened = order.opened
        if isinstance(order, Resting):
            self.books[opened.market].add(order)
            if opened.reduce_only:
                users = self._reducing[opened.market]
                users.setdefault(order.user, {})[order.oid] = order
        else:
            self.triggers[opened.market].add(order)
        if opened.cloid is not None:
            self.cloids[opened.user, opened.cloid] = (opened.market, opened.oid)

    def remove(self, order: Resting | Waiting) -> None:
        """An order rests or waits no longer."""
        opened = order.opened
        if isinstance(order, Resting):
            self.books[opened.market].remove(order)
            if opened.reduce_only:
                users = self._reducing[opened.market]
                del users[order.user][order.oid]
                if not users[order.user]:
                    del users[order.user]
        else:
            self.triggers[opened.market].remove(order)
        if opened.cloid is not None:
            key = (opened.user, opened.cloid)
            if self.cloids.get(key) == (opened.market, opened.oid):
                del self.cloids[key]

    def find(self, user: bytes, market: int, oid: int) -> Resting | Waiting | None:
        """A user's order that rests or waits, None if there is none. O(1)."""
        resting = self.books[market].orders.get(oid)
        if resting is not None:
            return resting if resting.user == user else None
        waiting = self.triggers[market].orders.get(oid)
        return waiting if waiting is not None and waiting.opened.user == user else None

    def find_cloid(self, user: bytes, cloid: bytes) -> Resting | Waiting | None:
        """Likewise by the owner's id; of several with the same one, the newest. O(1)."""
        found = self.cloids.get((user, cloid))
        return None if found is None else self.find(user, *found)

    def of_user(self, user: bytes, market: int) -> Iterator[Resting | Waiting]:
        """A user's orders of a market, resting ones first. Cancelling while reading is fine."""
        yield from list(self.books[market].of_user(user).values())
        yield from list(self.triggers[market].of_user(user).values())

    def count_of(self, user: bytes) -> int:
        """How many orders of the user rest or wait. O(markets)."""
        count = 0
        for market, book in self.books.items():
            count += len(book.of_user(user)) + len(self.triggers[market].of_user(user))
        return count

    def reducing(self, user: bytes, market: int) -> list[Resting]:
        """A user's resting reduce-only orders of a market, oldest first."""
        mine = self._reducing[market].get(user)
        return list(mine.values()) if mine else []

    def restore(self, orders: Iterable[Resting | Waiting]) -> None:
        """Takes orders back that were saved, in the order in which they came."""
        for order in orders:
            self.add(order)

    def check_invariants(self) -> None:
        """Asserts everything that must hold between actions. O(orders)."""
        alive: set[int] = set()
        for market, book in self.books.items():
            book.check_invariants()
            self.triggers[market].check_invariants()
            reducing = {oid for mine in self._reducing[market].values() for oid in mine}
            only = {oid for oid, order in book.orders.items() if order.opened.reduce_only}
            assert reducing == only
            alive |= set(book.orders) | set(self.triggers[market].orders)
        assert set(self.links.children) <= alive
        assert set(self.links.siblings) <= alive
        for triggers in self.triggers.values():
            for oid, order in triggers.orders.items():
                assert not order.parent or oid in self.links.children[order.parent]
        assert {oid for _, oid in self.cloids.values()} <= alive
