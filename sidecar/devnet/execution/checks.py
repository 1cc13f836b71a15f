"""What the chain says of its own books, so that a reader can prove that its copy is right.

The queue hash is portable: for each side, every resting order, best price first and in queue
order, is three unsigned 64-bit little-endian integers

    oid (8 bytes)  px (8 bytes)  sz (8 bytes)      px and sz in units of 1e-8

and the CRC-32C (Castagnoli, RFC 3720 appendix B.4, as of the log's records) of these bytes, all
orders of the side one behind the other, is the side's half of the hash:

    queue_hash = crc32c(bids) << 32 | crc32c(asks)            an empty side is 0

    bids (oid, px, sz)             asks                            queue_hash
    none                           none                            0x0000000000000000
    (1, 100000000, 200000000)      none                            0xefcf89c700000000
    none                           (1, 100000000, 200000000)       0x00000000efcf89c7
    (1, 100000000, 200000000),     none                            0xf94647ce00000000
    (2, 100000000, 300000000)
    (2, 100000000, 300000000),     none                            0x264d89f500000000
    (1, 100000000, 200000000)
    (7, 8130600000000, 61488000),  (9, 8130800000000, 1),          0xf234434f54be1ca4
    (3, 8130500000000, 1000000)    (18446744073709551615, 18446744073709551615, 1)
"""

import struct
from collections.abc import Iterable

from sidecar.devnet.execution.accounts import Account
from sidecar.devnet.execution.book import Book
from sidecar.node.records import crc32c
from sidecar.node.transitions import ASK, BID, AccountCheck, BookCheck

QueuedOrder = tuple[int, int, int]  # oid, px, sz


def queue_hash(bids: Iterable[QueuedOrder], asks: Iterable[QueuedOrder]) -> int:
    """The hash above, of each side's orders in queue order. O(orders)."""
    return _side_hash(bids) << 32 | _side_hash(asks)


def book_check(market: int, book: Book) -> BookCheck:
    """What a book holds: best prices, totals and the hash of both queues. O(orders)."""
    bids = [(order.oid, order.px, order.sz) for order in book.queue(BID)]
    asks = [(order.oid, order.px, order.sz) for order in book.queue(ASK)]
    return BookCheck(
        market,
        *_best(book, BID),
        *_best(book, ASK),
        len(bids) + len(asks),
        book.totals[BID],
        book.totals[ASK],
        queue_hash(bids, asks),
    )


def account_check(account: Account, value: int) -> AccountCheck:
    """What an account is worth and holds, market by market."""
    held = sorted(account.positions.items(), key=lambda position: position[0])
    positions = tuple((market, position.sz) for market, position in held)
    return AccountCheck(account.user, value, positions)


def _best(book: Book, side: int) -> tuple[int, int, int]:
    px = book.best_px(side)
    return (0, 0, 0) if px is None else (px, *book.level(side, px))


def _side_hash(orders: Iterable[QueuedOrder]) -> int:
    numbers = [number for order in orders for number in order]
    return crc32c(struct.pack(f"<{len(numbers)}Q", *numbers))
