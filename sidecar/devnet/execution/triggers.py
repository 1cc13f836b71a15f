"""One market's stop and take-profit orders: those that wait for the mark price, by price.

    mark at or above the trigger price: take profit of a long, stop of a short
    mark at or below it:                stop of a long, take profit of a short

Those that wait for a parent's fill first are kept too, but no price wakes them.
"""

from bisect import bisect_left, insort

from sidecar.devnet.execution.orders import Waiting

_NO_ORDERS: dict[int, Waiting] = {}


class Triggers:
    """Waiting orders by oid. Single steps O(log orders) but for the list's shift."""

    __slots__ = ("_above", "_below", "_users", "orders")

    def __init__(self) -> None:
        self.orders: dict[int, Waiting] = {}
        self._above: list[tuple[int, int]] = []  # (price, oid): the next one to trigger is first
        self._below: list[tuple[int, int]] = []  # (-price, oid)
        self._users: dict[bytes, dict[int, Waiting]] = {}

    def add(self, order: Waiting) -> None:
        """An order begins to wait."""
        opened = order.opened
        self.orders[opened.oid] = order
        self._users.setdefault(opened.user, {})[opened.oid] = order
        if order.active:
            self._index(order)

    def activate(self, order: Waiting) -> None:
        """The order's parent is filled: from now on it waits for the price."""
        order.active, order.parent = True, 0
        self._index(order)

    def remove(self, order: Waiting) -> None:
        """An order waits no longer."""
        opened = order.opened
        del self.orders[opened.oid]
        mine = self._users[opened.user]
        del mine[opened.oid]
        if not mine:
            del self._users[opened.user]
        if order.active:
            keys, key = self._keys(order)
            del keys[bisect_left(keys, key)]

    def due(self, mark_px: int) -> list[Waiting]:
        """The orders that a mark price triggers, oldest first."""
        oids = []
        for keys, threshold in ((self._above, mark_px), (self._below, -mark_px)):
            for px, oid in keys:
                if px > threshold:
                    break
                oids.append(oid)
        return [self.orders[oid] for oid in sorted(oids)]

    def of_user(self, user: bytes) -> dict[int, Waiting]:
        """A user's waiting orders by oid, oldest first. To be read only."""
        return self._users.get(user, _NO_ORDERS)

    def check_invariants(self) -> None:
        """Asserts everything that must hold between actions. O(orders)."""
        active = [order for order in self.orders.values() if order.active]
        assert sorted(self._above + self._below) == sorted(self._keys(order)[1] for order in active)
        assert self._above == sorted(self._above)
        assert self._below == sorted(self._below)
        assert all(self._keys(order)[1] in self._keys(order)[0] for order in active)
        assert len(self.orders) == sum(map(len, self._users.values()))
        for oid, order in self.orders.items():
            assert self._users[order.opened.user][oid] is order
            assert order.opened.oid == oid
            assert order.active == (order.parent == 0)

    def _index(self, order: Waiting) -> None:
        keys, key = self._keys(order)
        insort(keys, key)

    def _keys(self, order: Waiting) -> tuple[list[tuple[int, int]], tuple[int, int]]:
        trigger = order.opened.trigger
        assert trigger is not None
        if order.above:
            return self._above, (trigger.px, order.opened.oid)
        return self._below, (-trigger.px, order.opened.oid)
