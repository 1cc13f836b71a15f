"""Compares a book with what the node says its own is: best prices, totals, and the order of
queues.
"""

import struct
from collections.abc import Iterable

from sidecar.errors import StateMismatch
from sidecar.node.records import crc32c
from sidecar.node.transitions import ASK, BID, BookCheck
from sidecar.state.book import Book, Order

_FIELDS = struct.Struct("<QQQ")


def queue_hash(book: Book) -> int:
    """The hash of docs/node-log.md over both queues. O(orders)."""
    return _side_hash(book.queue(BID)) << 32 | _side_hash(book.queue(ASK))


def check_book(book: Book, check: BookCheck) -> None:
    """Raises `StateMismatch` that names the first thing in which the book is not the node's.
    O(orders).
    """
    ours = (
        ("best bid", book.best(BID) or (0, 0, 0)),
        ("best ask", book.best(ASK) or (0, 0, 0)),
        ("orders", len(book.orders)),
        ("total bid sz", sum(order.sz for order in book.queue(BID))),
        ("total ask sz", sum(order.sz for order in book.queue(ASK))),
        ("queue hash", queue_hash(book)),
    )
    theirs = (
        (check.bid_px, check.bid_sz, check.bid_n),
        (check.ask_px, check.ask_sz, check.ask_n),
        check.orders,
        check.total_bid_sz,
        check.total_ask_sz,
        check.queue_hash,
    )
    for (name, mine), node in zip(ours, theirs, strict=True):
        if mine != node:
            raise StateMismatch(f"the node checks its book: {name} is {node}, here {mine}")


def _side_hash(orders: Iterable[Order]) -> int:
    pack = _FIELDS.pack
    try:
        return crc32c(b"".join([pack(order.oid, order.px, order.sz) for order in orders]))
    except struct.error:
        raise StateMismatch("an order has an id, price or size beyond 64 bits") from None
