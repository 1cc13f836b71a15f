"""One market's book as the chain keeps it: queues of resting orders by price.

    prices (list)                     queues (dict by price)
    bids: 2999.8  2999.9  3000.0  ──▶ 3000.0: oid 11 ─ oid 17 ─ oid 12     best price last,
    asks: 3000.3  3000.2  3000.1  ──▶ 3000.1: oid 14                       oldest order first

Prices are kept as ranks, ascending: the price itself for bids, its negative for asks, so that the
best is the last on both sides and comes and goes without moving the others.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

from sidecar.devnet.execution.orders import Resting
from sidecar.node.transitions import ASK, BID

_SIGNS = (1, -1)  # of a rank, by side
_NO_ORDERS: dict[int, Resting] = {}


class Book:
    """Resting orders of one market in price-time priority. All single steps O(log prices)."""

    __slots__ = ("_queues", "_ranks", "_users", "orders", "totals")

    def __init__(self) -> None:
        self.orders: dict[int, Resting] = {}  # in the order in which they came
        self.totals = [0, 0]  # resting size, by side
        self._ranks: tuple[list[int], list[int]] = ([], [])
        self._queues: tuple[dict[int, dict[int, Resting]], dict[int, dict[int, Resting]]] = ({}, {})
        self._users: dict[bytes, dict[int, Resting]] = {}

    def add(self, order: Resting) -> None:
        """An order joins the end of the queue at its price."""
        side, px, oid = order.side, order.px, order.oid
        queues = self._queues[side]
        queue = queues.get(px)
        if queue is None:
            queue = queues[px] = {}
            insort(self._ranks[side], px * _SIGNS[side])
        queue[oid] = self.orders[oid] = order
        self.totals[side] += order.sz
        self._users.setdefault(order.user, {})[oid] = order

    def resize(self, order: Resting, sz: int) -> None:
        """A resting order has `sz` left; it keeps its place."""
        self.totals[order.side] += sz - order.sz
        order.sz = sz

    def remove(self, order: Resting) -> None:
        """An order leaves the book."""
        side, px, oid = order.side, order.px, order.oid
        queue = self._queues[side][px]
        mine = self._users[order.user]
        del queue[oid], self.orders[oid], mine[oid]
        if not mine:
            del self._users[order.user]
        self.totals[side] -= order.sz
        if not queue:
            del self._queues[side][px]
            ranks = self._ranks[side]
            del ranks[bisect_left(ranks, px * _SIGNS[side])]

    def best_px(self, side: int) -> int | None:
        """The best price of a side, None for an empty one."""
        ranks = self._ranks[side]
        return ranks[-1] * _SIGNS[side] if ranks else None

    def first(self, side: int) -> Resting | None:
        """The order of a side that trades next, None for an empty side."""
        ranks = self._ranks[side]
        if not ranks:
            return None
        return next(iter(self._queues[side][ranks[-1] * _SIGNS[side]].values()))

    def queue(self, side: int) -> Iterator[Resting]:
        """Every order of a side, best price first, in queue order."""
        for px in self.prices(side):
            yield from self._queues[side][px].values()

    def prices(self, side: int) -> Iterator[int]:
        """The prices of a side at which orders rest, best first."""
        sign, queues = _SIGNS[side], self._queues[side]
        for rank in reversed(self._ranks[side]):
            assert rank * sign in queues
            yield rank * sign

    def level(self, side: int, px: int) -> tuple[int, int]:
        """Total size and number of orders at a price. O(orders there)."""
        queue = self._queues[side].get(px, _NO_ORDERS)
        return sum(order.sz for order in queue.values()), len(queue)

    def of_user(self, user: bytes) -> dict[int, Resting]:
        """A user's resting orders by oid, oldest first. To be read only."""
        return self._users.get(user, _NO_ORDERS)

    def check_invariants(self) -> None:
        """Asserts everything that must hold between actions. O(orders)."""
        resting = 0
        for side, sign in ((BID, 1), (ASK, -1)):
            ranks, queues = self._ranks[side], self._queues[side]
            assert ranks == sorted(px * sign for px in queues)
            assert self.totals[side] == sum(order.sz for order in self.queue(side))
            for px, queue in queues.items():
                assert queue
                for oid, order in queue.items():
                    assert self.orders[oid] is order is self._users[order.user][oid]
                    assert (order.oid, order.side, order.px) == (oid, side, px)
                    assert order.sz > 0
                resting += len(queue)
        assert resting == len(self.orders) == sum(map(len, self._users.values()))
        bid, ask = self.best_px(BID), self.best_px(ASK)
        assert bid is None or ask is None or bid < ask, "the book is crossed"
