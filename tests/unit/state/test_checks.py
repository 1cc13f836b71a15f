"""A book against what the node says its own is: each field that differs is named."""

import struct

import google_crc32c
import msgspec
import pytest

from sidecar.errors import StateMismatch
from sidecar.node.transitions import ASK, BID, BookCheck
from sidecar.state.book import Book, Order
from sidecar.state.checks import check_book, queue_hash

USER = b"u" * 20
BIDS = ((1, 100, 5), (2, 100, 0), (3, 99, 7))  # oid, px, sz; in queue order
ASKS = ((4, 103, 2), (5, 103, 4))


def book_of(bids: tuple[tuple[int, int, int], ...], asks: tuple[tuple[int, int, int], ...]) -> Book:
    book = Book()
    for side, orders in ((BID, bids), (ASK, asks)):
        for oid, px, sz in orders:
            book.append(Order(oid, USER, side, px, sz, 0))
    return book


def crc(orders: tuple[tuple[int, int, int], ...]) -> int:
    return int(google_crc32c.value(b"".join(struct.pack("<QQQ", *one) for one in orders)))


CHECK = BookCheck(1, 100, 5, 1, 103, 6, 2, 5, 12, 6, crc(BIDS) << 32 | crc(ASKS))


def test_the_hash_is_the_bids_then_the_asks_in_queue_order() -> None:
    assert queue_hash(book_of(BIDS, ASKS)) == crc(BIDS) << 32 | crc(ASKS)
    assert queue_hash(Book()) == 0
    other = (BIDS[1], BIDS[0], BIDS[2])
    assert queue_hash(book_of(other, ASKS)) == crc(other) << 32 | crc(ASKS) != CHECK.queue_hash


def test_what_is_the_nodes_passes() -> None:
    check_book(book_of(BIDS, ASKS), CHECK)
    check_book(Book(), BookCheck(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("bid_px", r"best bid is \(101, 5, 1\), here \(100, 5, 1\)"),
        ("bid_sz", r"best bid is \(100, 6, 1\), here \(100, 5, 1\)"),
        ("bid_n", r"best bid is \(100, 5, 2\), here \(100, 5, 1\)"),
        ("ask_px", r"best ask is \(104, 6, 2\), here \(103, 6, 2\)"),
        ("ask_sz", r"best ask is \(103, 7, 2\), here \(103, 6, 2\)"),
        ("ask_n", r"best ask is \(103, 6, 3\), here \(103, 6, 2\)"),
        ("orders", r"orders is 6, here 5"),
        ("total_bid_sz", r"total bid sz is 13, here 12"),
        ("total_ask_sz", r"total ask sz is 7, here 6"),
        ("queue_hash", r"queue hash is \d+, here \d+"),
    ],
)
def test_one_more_of_anything_is_named(field: str, said: str) -> None:
    other = msgspec.structs.replace(CHECK, **{field: getattr(CHECK, field) + 1})
    with pytest.raises(StateMismatch, match=f"^the node checks its book: {said}$"):
        check_book(book_of(BIDS, ASKS), other)


def test_numbers_have_64_bits() -> None:
    largest = (((1 << 64) - 1, 1, (1 << 64) - 1),)
    assert queue_hash(book_of(largest, ())) == crc(largest) << 32


def test_a_number_beyond_64_bits_is_a_mismatch_and_no_bug() -> None:
    with pytest.raises(StateMismatch, match="an id, price or size beyond 64 bits"):
        queue_hash(book_of(((1, 1 << 64, 1),), ()))
