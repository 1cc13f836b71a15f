"""The book against a model, and each rule by name."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from model import ModelBook
from sidecar.errors import StateMismatch
from sidecar.node.transitions import ASK, BID
from sidecar.state.aggregation import Aggregation, bucket_rank
from sidecar.state.book import Book, Order, Touched

USER = b"u" * 20
PX = 10**8
SIDES = (BID, ASK)


def order(oid: int, side: int, px: int, sz: int) -> Order:
    return Order(oid, USER, side, px, sz, 0)


class BookMachine(RuleBasedStateMachine):
    """Random adds, changes and removes; an aggregation follows in random strides."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.model = ModelBook()
        self.aggregation = Aggregation(self.book, 2, 1)
        self.touched: tuple[Touched, Touched] = ({}, {})
        self.next_oid = 1

    @rule(
        side=st.sampled_from(SIDES), px=st.integers(95, 125), sz=st.integers(0, 5), data=st.data()
    )
    def add(self, side: int, px: int, sz: int, data: st.DataObject) -> None:
        same = [one.oid for one in self.model.orders if (one.side, one.px) == (side, px)]
        before = data.draw(st.sampled_from([0, *same]))
        self.book.add(order(self.next_oid, side, px, sz), before, self.touched[side])
        self.model.add(self.next_oid, side, px, sz, before)
        self.next_oid += 1

    @rule(side=st.sampled_from(SIDES), px=st.integers(95, 125), sz=st.integers(0, 5))
    def append(self, side: int, px: int, sz: int) -> None:
        """Nobody is told of the level, so whoever follows begins anew."""
        self.end_block()
        self.book.append(order(self.next_oid, side, px, sz))
        self.model.add(self.next_oid, side, px, sz, 0)
        self.next_oid += 1
        self.aggregation = Aggregation(self.book, 2, 1)

    @rule(data=st.data(), sz=st.integers(0, 5))
    def change(self, data: st.DataObject, sz: int) -> None:
        if self.model.orders:
            one = data.draw(st.sampled_from(self.model.orders))
            self.book.change(self.book.order(one.oid), sz, self.touched[one.side])
            self.model.change(one.oid, sz)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model.orders:
            one = data.draw(st.sampled_from(self.model.orders))
            self.book.remove(self.book.order(one.oid), self.touched[one.side])
            self.model.remove(one.oid)

    @rule()
    def end_block(self) -> None:
        for side in SIDES:
            self.aggregation.follow(self.book, side, self.touched[side])
            fresh = Aggregation(self.book, 2, 1)
            assert self.aggregation.levels(side, 100) == fresh.levels(side, 100)
        self.touched = ({}, {})

    @invariant()
    def agrees(self) -> None:
        self.book.check_invariants()
        for side in SIDES:
            levels = self.model.levels(side)
            assert list(self.book.levels(side)) == levels
            assert self.book.best(side) == (levels[0] if levels else None)
            assert [one.oid for one in self.book.queue(side)] == self.model.queue(side)


def test_book_agrees_with_the_model() -> None:
    run_state_machine_as_test(BookMachine)


def test_touched_levels_remember_what_they_were_before_the_first_change() -> None:
    book = Book()
    touched: Touched = {}
    book.add(order(1, BID, 100, 5), 0, {})
    book.change(book.order(1), 3, touched)
    book.add(order(2, BID, 100, 7), 0, touched)
    book.remove(book.order(1), touched)
    assert touched == {-100: (5, 1)}


def test_order_of_size_0_is_in_its_queue_but_not_in_its_level() -> None:
    book = Book()
    book.add(order(1, ASK, 100, 5), 0, {})
    book.add(order(2, ASK, 101, 5), 0, {})
    book.change(book.order(1), 0, {})
    assert book.best(ASK) == (101, 5, 1)
    assert [one.oid for one in book.queue(ASK)] == [1, 2]
    book.remove(book.order(1), {})
    book.check_invariants()


@pytest.mark.parametrize(("side", "pxs"), [(BID, (102, 101, 100)), (ASK, (100, 101, 102))])
def test_a_depth_is_the_best_levels_and_no_more(side: int, pxs: tuple[int, ...]) -> None:
    book = Book()
    for oid, px in enumerate((101, 100, 102), 1):
        book.add(order(oid, side, px * PX, oid), 0, {})
    levels = list(book.levels(side))
    assert [px for px, _, _ in levels] == [px * PX for px in pxs]
    assert (book.depth(side, 2), book.depth(side, 9)) == (levels[:2], levels)
    exact = Aggregation(book, 10, 1)
    assert (exact.levels(side, 2), exact.levels(side, 9)) == (levels[:2], levels)


def test_insert_before_an_order_that_is_elsewhere_is_a_mismatch() -> None:
    book = Book()
    book.add(order(1, ASK, 100, 5), 0, {})
    with pytest.raises(StateMismatch, match="in front of 1, which does not rest at its price"):
        book.add(order(2, ASK, 101, 5), 1, {})


PUTS: list[Callable[[Book, Order], None]] = [lambda book, one: book.add(one, 0, {}), Book.append]


@pytest.mark.parametrize("put", PUTS)
def test_prices_sizes_and_ids_are_held_to_their_least(put: Callable[[Book, Order], None]) -> None:
    book = Book()
    put(book, order(1, ASK, 100, 5))
    for oid, px, sz, wrong in (
        (1, 100, 5, "order 1 is added but rests already"),
        (2, 0, 5, "order 2 is added at 0 with size 5"),
        (2, 100, -1, "order 2 is added at 100 with size -1"),
        (-1, 100, 5, "order -1 is added at 100 with size 5"),
    ):
        with pytest.raises(StateMismatch, match=wrong):
            put(book, order(oid, ASK, px, sz))
    for oid, px in ((0, 100), (2, 1)):
        put(book, order(oid, ASK, px, 0))
    assert [one.oid for one in book.queue(ASK)] == [2, 1, 0]
    assert all(one.status is None for one in book.queue(ASK))


def test_orphans_and_duplicates_are_mismatches() -> None:
    book = Book()
    book.add(order(1, ASK, 100, 5), 0, {})
    with pytest.raises(StateMismatch, match="order 1 is added but rests already"):
        book.add(order(1, ASK, 100, 5), 0, {})
    with pytest.raises(StateMismatch, match="order 9 is changed or removed but does not rest"):
        book.order(9)


def test_prices_and_sizes_that_cant_be_are_mismatches() -> None:
    book = Book()
    for px, sz in ((0, 1), (-3, 1), (100, -1)):
        with pytest.raises(StateMismatch, match=f"order 1 is added at {px} with size {sz}"):
            book.add(order(1, ASK, px, sz), 0, {})
    book.add(order(1, ASK, 100, 5), 0, {})
    with pytest.raises(StateMismatch, match="order 1 is changed to size -1"):
        book.change(book.order(1), -1, {})


@pytest.mark.parametrize(
    ("px", "n_sig_figs", "mantissa", "bid", "ask"),
    [
        ("81307", 5, 1, "81307", "81307"),
        ("81307", 5, 2, "81306", "81308"),
        ("81307", 5, 5, "81305", "81310"),
        ("81307", 4, 1, "81300", "81310"),
        ("81307", 2, 1, "81000", "82000"),
        ("99999", 2, 1, "99000", "100000"),
        ("106123", 5, 1, "106120", "106130"),
        ("0.00017123", 3, 1, "0.000171", "0.000172"),
        ("0.00017123", 5, 1, "0.00017123", "0.00017123"),
        ("0.00000123", 5, 1, "0.00000123", "0.00000123"),
    ],
)
def test_buckets_round_bids_down_and_asks_up(
    px: str, n_sig_figs: int, mantissa: int, bid: str, ask: str
) -> None:
    units = round(float(px) * PX)
    assert -bucket_rank(-units, n_sig_figs, mantissa) == round(float(bid) * PX)
    assert bucket_rank(units, n_sig_figs, mantissa) == round(float(ask) * PX)


@pytest.mark.parametrize("side", SIDES)
def test_aggregation_adds_up_sizes_and_orders(side: int) -> None:
    book = Book()
    for oid, px in enumerate((10001, 10002, 10003, 10010, 10099), 1):
        book.add(order(oid, side, px * PX, 2 * PX), 0, {})
    buckets = Aggregation(book, 4, 1).levels(side, 10)
    assert sum(sz for _, sz, _ in buckets) == 10 * PX
    expected = [(10090, 1), (10010, 1), (10000, 3)] if side == BID else [(10010, 4), (10100, 1)]
    assert [(px // PX, n) for px, _, n in buckets] == expected
