"""The queue hash: the table of test vectors, and what it has to notice."""

import re

import pytest

from sidecar.devnet.execution import checks
from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.checks import QueuedOrder, book_check, queue_hash
from sidecar.devnet.execution.orders import Resting
from sidecar.node.transitions import ASK, BID, BookCheck, OrderStatus

A = (1, 100000000, 200000000)
B = (2, 100000000, 300000000)
MOST = (1 << 64) - 1

VECTORS: list[tuple[list[QueuedOrder], list[QueuedOrder], int]] = [
    ([], [], 0x0000000000000000),
    ([A], [], 0xEFCF89C700000000),
    ([], [A], 0x00000000EFCF89C7),
    ([A, B], [], 0xF94647CE00000000),
    ([B, A], [], 0x264D89F500000000),
    (
        [(7, 8130600000000, 61488000), (3, 8130500000000, 1000000)],
        [(9, 8130800000000, 1), (MOST, MOST, 1)],
        0xF234434F54BE1CA4,
    ),
]


@pytest.mark.parametrize(("bids", "asks", "expected"), VECTORS)
def test_vectors(bids: list[QueuedOrder], asks: list[QueuedOrder], expected: int) -> None:
    assert queue_hash(bids, asks) == expected


def test_the_docstring_holds_the_vectors() -> None:
    written = re.findall(r"0x([0-9a-f]{16})", checks.__doc__ or "")
    assert [int(text, 16) for text in written] == [expected for _, _, expected in VECTORS]


def test_a_side_is_crc32c_of_little_endian_triples() -> None:
    """Bit by bit, without a library: the reflected polynomial 0x82F63B78."""
    content = b"".join(number.to_bytes(8, "little") for order in (A, B) for number in order)
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert queue_hash([A, B], []) >> 32 == crc ^ 0xFFFFFFFF


def test_book_check() -> None:
    book = Book()
    for oid, side, px, sz in ((1, BID, 99, 5), (2, BID, 98, 7), (3, BID, 99, 6), (4, ASK, 101, 2)):
        user = bytes(20)
        status = OrderStatus(oid, user, 3, side, px, sz, sz, "Gtc", False, None, None, "open")
        book.add(Resting(oid, user, side, px, sz, status))
    expected = queue_hash([(1, 99, 5), (3, 99, 6), (2, 98, 7)], [(4, 101, 2)])
    assert book_check(3, book) == BookCheck(3, 99, 11, 2, 101, 2, 1, 4, 18, 2, expected)


def test_book_check_of_an_empty_book() -> None:
    assert book_check(3, Book()) == BookCheck(3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
