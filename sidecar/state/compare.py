"""Compares a book with another one that should be the same, order by order, queues included.

    here   ask 81308.0   oid 11 ─ oid 17 ─ oid 12        level after level from the best price, both
    there  ask 81308.0   oid 11 ─ oid 12                 to their ends: what one lacks is different

It can be interrupted between two levels, and both books moved on by the same steps: a level that
was equal stays equal, so at the end everything is as of the newest step. What is compared is what
makes a book: order ids, users, prices, sizes, places, and the totals that levels keep. Details of
orders are left out: nodes write those of clipped and triggered orders in more than one way.
"""

import heapq
from collections.abc import Generator, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

import msgspec

from sidecar.errors import StateMismatch
from sidecar.fixed import to_text
from sidecar.limits import VERIFY_SLICE_ORDERS
from sidecar.node.snapshot import RestingRow
from sidecar.node.transitions import ASK, BID, BookAdded, BookChanged, BookRemoved
from sidecar.state.book import Book, Level, Order

if TYPE_CHECKING:
    from sortedcontainers import SortedDict

_SIDE_NAMES = {BID: "bid", ASK: "ask"}


class Difference(msgspec.Struct, frozen=True):
    """The first thing in which two books differ.

    `position` counts from 0 at the front of the queue at `px`; a total has the queue's length.
    `oid` is the order's there, or, where there is none, its here; 0 for totals. `here` and `there`
    are the values of `field` ("oid", "user", "sz", ...), None for an order that is missing.
    """

    side: int
    px: int
    position: int
    oid: int
    field: str
    here: object
    there: object

    def __str__(self) -> str:
        place = f"{_SIDE_NAMES[self.side]} {to_text(self.px)}, position {self.position}"
        if self.here is None or self.there is None:
            where = "here" if self.here is None else "there"
            return f"{place}: order {self.oid} is missing {where}"
        of = f" of order {self.oid}" if self.oid and self.field != "oid" else ""
        return f"{place}: {self.field}{of} is {self.here} here, {self.there} there"


class BookCopy:
    """A book made of a snapshot's rows, then moved on by the steps of blocks."""

    def __init__(self) -> None:
        self.book = Book()
        self._last: dict[int, int] = {}  # by side, the rank of the last row

    def add(self, row: RestingRow) -> None:
        """The next row, in queue order. Raises `StateMismatch`. O(log levels)."""
        order = Order(row.oid, row.user, row.side, row.px, row.sz, row.added_ns)
        rank = -row.px if row.side == BID else row.px
        if rank < self._last.get(row.side, rank):
            raise StateMismatch(f"order {row.oid} stands behind worse prices")
        self._last[row.side] = rank
        self.book.add(order, 0, {})

    def apply(self, step: BookAdded | BookChanged | BookRemoved) -> None:
        """What a block did. Raises `StateMismatch`. O(1), in front of another order O(queue)."""
        if isinstance(step, BookAdded):
            order = Order(step.oid, step.user, step.side, step.px, step.sz, 0)
            self.book.add(order, step.before_oid, {})
            return
        order = self.book.order(step.oid)
        if isinstance(step, BookRemoved):
            self.book.remove(order, {})
            return
        if step.old_sz is not None and step.old_sz != order.sz:
            what = f"order {order.oid} is changed from size {step.old_sz}, here it has {order.sz}"
            raise StateMismatch(what)
        self.book.change(order, step.sz, {})


def compare_books(here: Book, there: Book) -> Generator[None, None, Difference | None]:
    """Returns the first difference, or None. Yields about every VERIFY_SLICE_ORDERS orders: until
    it is resumed, both books may take the same steps, or neither. O(orders).
    """
    for side in (BID, ASK):
        mine, theirs = here.side(side), there.side(side)
        after: int | None = None
        done = False
        while not done:
            orders = 0
            for rank in _ranks(mine, theirs, after):
                level, other = mine.get(rank, _NO_LEVEL), theirs.get(rank, _NO_LEVEL)
                difference = _compare_levels(side, abs(rank), level, other)
                if difference is not None:
                    return difference
                after = rank
                orders += len(level.orders)
                if orders >= VERIFY_SLICE_ORDERS:
                    break
            else:
                done = True
            yield
    return None


def _ranks(
    mine: "SortedDict[int, Level]", theirs: "SortedDict[int, Level]", after: int | None
) -> Iterator[int]:
    """The prices that either side has behind `after`, best first."""
    last: int | None = None
    for rank in heapq.merge(
        mine.irange(after, None, (False, True)), theirs.irange(after, None, (False, True))
    ):
        if rank != last:
            last = rank
            yield rank


def _compare_levels(side: int, px: int, mine: Level, theirs: Level) -> Difference | None:
    queues = zip_longest(mine.orders.values(), theirs.orders.values())
    for position, (order, other) in enumerate(queues):
        if order is None:
            return Difference(side, px, position, other.oid, "order", None, other.oid)
        if other is None:
            return Difference(side, px, position, order.oid, "order", order.oid, None)
        if _identity(order) != _identity(other):
            return _compare_orders(side, px, position, order, other)
    for field in ("sz", "n"):
        here, there = getattr(mine, field), getattr(theirs, field)
        if here != there:
            return Difference(side, px, len(mine.orders), 0, f"total {field}", here, there)
    return None


def _identity(order: Order) -> tuple[int, int, bytes, int, int]:
    return order.oid, order.sz, order.user, order.px, order.side


def _compare_orders(
    side: int, px: int, position: int, order: Order, other: Order
) -> Difference | None:
    for field in ("oid", "side", "px", "sz", "user"):
        here, there = getattr(order, field), getattr(other, field)
        if here != there:
            if field == "user":
                here, there = f"0x{here.hex()}", f"0x{there.hex()}"
            return Difference(side, px, position, other.oid, field, here, there)
    return None


_NO_LEVEL = Level()
