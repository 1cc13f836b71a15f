"""Raw book diffs as a Hyperliquid node writes them, as Book transitions.

    "raw_book_diff": {"new": {"sz": "1.5", "insertBefore": 105338503859}}   joins a queue
                     {"update": {"origSz": "0.18", "newSz": "0.17"}}        has less left
                     {"modified": {"sz": "2"}}                              documented, never seen
                     "remove"                                               leaves

The price and size of a diff are what the book says; those of the order's status may differ (orders
that were clipped to a position, triggered ones).
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from sidecar.fixed import parse
from sidecar.node.hyperliquid.texts import parse_address, parse_side
from sidecar.node.transitions import BookAdded, BookChanged, BookRemoved, OrderStatus


class WireNew(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """`insert_before` is the order at the same price that the new one goes in front of."""

    sz: str
    insert_before: int | None = None


class WireUpdate(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """What an order has left, and what it had."""

    new_sz: str
    orig_sz: str | None = None


class WireModified(msgspec.Struct, gc=False, frozen=True):
    """What an amended order has left."""

    sz: str


class WireChange(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """Exactly one of them. A kind that is not known can't be ignored: the book would be wrong."""

    new: WireNew | None = None
    update: WireUpdate | None = None
    modified: WireModified | None = None


class WireDiff(msgspec.Struct, gc=False, frozen=True):
    """A change of one order in a book."""

    user: str
    oid: int
    coin: str
    raw_book_diff: Literal["remove"] | WireChange
    px: str | None = None
    side: str | None = None  # missing in the first versions of 2025


Placed = Mapping[int, OrderStatus]  # by oid, the block's orders that may rest


def book_transition(
    diff: WireDiff, market: int, placed: Placed
) -> BookAdded | BookChanged | BookRemoved:
    """A diff as a transition. Raises `NumberInvalid`, `ValueError`."""
    change = diff.raw_book_diff
    if not isinstance(change, WireChange):
        return BookRemoved(market, diff.oid)
    if change.new is not None:
        return _added(diff, change.new, market, placed)
    if change.update is not None:
        old = change.update.orig_sz
        new_sz = parse(change.update.new_sz)
        return BookChanged(market, diff.oid, new_sz, None if old is None else parse(old))
    if change.modified is not None:
        return BookChanged(market, diff.oid, parse(change.modified.sz))
    raise ValueError(f"the book diff of order {diff.oid} is of no kind")


def _added(diff: WireDiff, new: WireNew, market: int, placed: Placed) -> BookAdded:
    if diff.px is None:
        raise ValueError(f"the new book diff of order {diff.oid} has no px")
    side = _status_side(diff, placed) if diff.side is None else parse_side(diff.side)
    before = new.insert_before or 0
    user = parse_address(diff.user)
    return BookAdded(market, diff.oid, user, side, parse(diff.px), parse(new.sz), before)


def _status_side(diff: WireDiff, placed: Placed) -> int:
    status = placed.get(diff.oid)
    if status is None:
        raise ValueError(
            f"the new book diff of order {diff.oid} has no side, and no open or triggered status "
            "of the block tells it"
        )
    return status.side
