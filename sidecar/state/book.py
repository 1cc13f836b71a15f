"""One market's order book: every resting order in queue order, and its price levels.

    side (SortedDict)          Level         orders (dict: insertion order is queue order)
    rank -8130700000000  ───▶  sz, n  ───▶   oid 11 ─ oid 17 ─ oid 12
    rank -8130600000000  ───▶  ...

A level is found by its *rank*, which puts the best price first on both sides: the price for asks,
its negative for bids. An order whose size has gone to 0 keeps its place until it is removed, but is
not counted: `sz` and `n` of a level, the best prices and L2 never see it.
"""

from collections.abc import Iterator
from itertools import islice

import msgspec
from sortedcontainers import SortedDict

from sidecar.errors import StateMismatch
from sidecar.node.transitions import BID, OrderStatus


class Order(msgspec.Struct, gc=False):
    """A resting order. `status` is its newest status (None for orders that the node writes none
    for).
    """

    oid: int
    user: bytes
    side: int
    px: int
    sz: int
    added_ns: int
    status: OrderStatus | None = None


class Level:
    """What rests at one price: total size and number of the orders that have a size, and all in
    queue order.
    """

    __slots__ = ("n", "orders", "sz")

    def __init__(self) -> None:
        self.sz = 0
        self.n = 0
        self.orders: dict[int, Order] = {}


Quote = tuple[int, int, int]  # px, sz, n
Touched = dict[int, tuple[int, int]]  # rank -> (sz, n) before the first change


class Book:
    """Resting orders of one market. Lookup by oid O(1), a change O(1) at a known price, O(log
    levels) at a new one.
    """

    __slots__ = ("asks", "bids", "orders")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.bids: SortedDict[int, Level] = SortedDict()
        self.asks: SortedDict[int, Level] = SortedDict()

    def add(self, order: Order, before_oid: int, touched: Touched) -> None:
        """Puts an order at the end of its queue, or in front of `before_oid` (O(queue)) where that
        is not 0.

        `touched` learns what the level was before. Raises `StateMismatch`.
        """
        if order.oid in self.orders:
            raise StateMismatch(f"order {order.oid} is added but rests already")
        if order.px <= 0 or order.sz < 0 or order.oid < 0:
            raise StateMismatch(f"order {order.oid} is added at {order.px} with size {order.sz}")
        if order.side == BID:
            rank, levels = -order.px, self.bids
        else:
            rank, levels = order.px, self.asks
        level = levels.get(rank)
        if level is None:
            level = levels[rank] = Level()
        if rank not in touched:
            touched[rank] = (level.sz, level.n)
        if before_oid:
            level.orders = _inserted(level.orders, order, before_oid)
        else:
            level.orders[order.oid] = order
        self.orders[order.oid] = order
        if order.sz:
            level.sz += order.sz
            level.n += 1

    def append(self, order: Order) -> None:
        """As `add` at the end of a queue, where nobody asks what the level was before. O(1), O(log
        levels) for the first one at its price.
        """
        oid, px, sz = order.oid, order.px, order.sz
        if oid in self.orders or px <= 0 or sz < 0 or oid < 0:
            self.add(order, 0, {})  # says what is wrong
            return
        rank, levels = (-px, self.bids) if order.side == BID else (px, self.asks)
        level = levels.get(rank)
        if level is None:
            level = levels[rank] = Level()
        level.orders[oid] = self.orders[oid] = order
        if sz:
            level.sz += sz
            level.n += 1

    def change(self, order: Order, sz: int, touched: Touched) -> None:
        """Gives a resting order a new size; it keeps its place. O(1)."""
        if sz < 0:
            raise StateMismatch(f"order {order.oid} is changed to size {sz}")
        rank, levels = self._place(order)
        level = levels[rank]
        if rank not in touched:
            touched[rank] = (level.sz, level.n)
        level.sz += sz - order.sz
        level.n += (sz > 0) - (order.sz > 0)
        order.sz = sz

    def remove(self, order: Order, touched: Touched) -> None:
        """Takes a resting order out. O(1), O(log levels) for the last one at its price."""
        rank, levels = self._place(order)
        level = levels[rank]
        if rank not in touched:
            touched[rank] = (level.sz, level.n)
        del level.orders[order.oid]
        del self.orders[order.oid]
        if order.sz:
            level.sz -= order.sz
            level.n -= 1
        if not level.orders:
            del levels[rank]

    def order(self, oid: int) -> Order:
        """The resting order of that id. Raises `StateMismatch`. O(1)."""
        order = self.orders.get(oid)
        if order is None:
            raise StateMismatch(f"order {oid} is changed or removed but does not rest")
        return order

    def side(self, side: int) -> "SortedDict[int, Level]":
        """The levels of a side by rank, best first."""
        return self.bids if side == BID else self.asks

    def best(self, side: int) -> Quote | None:
        """Best price with its size and number of orders, None for an empty side. O(1) in all but
        odd moments.
        """
        return next(self.levels(side), None)

    def levels(self, side: int) -> Iterator[Quote]:
        """`(px, sz, n)` of each level from the best price on."""
        for rank, level in self.side(side).items():
            if level.n:
                yield abs(rank), level.sz, level.n

    def depth(self, side: int, depth: int) -> list[Quote]:
        """The best `depth` levels as `(px, sz, n)`. O(depth)."""
        return list(islice(self.levels(side), depth))

    def queue(self, side: int) -> Iterator[Order]:
        """Every order of a side, best price first, in queue order, those of size 0 included."""
        for level in self.side(side).values():
            yield from level.orders.values()

    def check_invariants(self) -> None:
        """Asserts everything that must hold between calls. O(orders)."""
        resting = 0
        for side, sign in ((self.bids, -1), (self.asks, 1)):
            for rank, level in side.items():
                assert level.orders
                sizes = [order.sz for order in level.orders.values()]
                assert all(order.px * sign == rank for order in level.orders.values())
                assert level.sz == sum(sizes)
                assert level.n == sum(1 for sz in sizes if sz)
                assert min(sizes) >= 0
                assert all(self.orders[oid] is order for oid, order in level.orders.items())
                resting += len(sizes)
        assert resting == len(self.orders)

    def _place(self, order: Order) -> "tuple[int, SortedDict[int, Level]]":
        return (-order.px, self.bids) if order.side == BID else (order.px, self.asks)


def _inserted(queue: dict[int, Order], order: Order, before_oid: int) -> dict[int, Order]:
    if before_oid not in queue:
        raise StateMismatch(
            f"order {order.oid} is put in front of {before_oid}, which does not rest at its price"
        )
    inserted: dict[int, Order] = {}
    for oid, resting in queue.items():
        if oid == before_oid:
            inserted[order.oid] = order
        inserted[oid] = resting
    return inserted
