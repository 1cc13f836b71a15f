"""Comparing books: whatever is different is found, and nothing else."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import ALICE, BOB, PX, ask, bid
from sidecar.errors import StateMismatch
from sidecar.node.hyperliquid import HyperliquidSnapshot
from sidecar.node.snapshot import RestingRow
from sidecar.node.transitions import ASK, BID, BookAdded, BookChanged, BookRemoved
from sidecar.state.book import Book
from sidecar.state.compare import BookCopy, Difference, compare_books

SIDES = (BID, ASK)
Rows = list[RestingRow]


def row(oid: int, side: int = BID, px: int = 100, sz: int = 1, user: bytes = ALICE) -> RestingRow:
    return RestingRow(1, oid, user, side, px * PX, sz * PX, 0)


def copy_of(rows: Rows) -> Book:
    copy = BookCopy()
    for one in rows:
        copy.add(one)
    return copy.book


def compare(here: Book, there: Book) -> Difference | None:
    differences: list[Difference | None] = []
    for _ in _results(compare_books(here, there), differences):
        pass
    (difference,) = differences
    return difference


@st.composite
def books(draw: st.DrawFn, least: int = 0) -> Rows:
    """The rows of a book, as a snapshot has them."""
    places = draw(
        st.lists(
            st.tuples(st.sampled_from(SIDES), st.integers(1, 6), st.integers(0, 3)),
            min_size=least,
            max_size=24,
        )
    )
    rows = [
        row(oid, side, 100 - distance if side == BID else 100 + distance, sz)
        for oid, (side, distance, sz) in enumerate(places, 1)
    ]
    return sorted(rows, key=lambda one: (one.side, -one.px if one.side == BID else one.px))


@pytest.fixture(params=[1, 1000], autouse=True)
def slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.state.compare.VERIFY_SLICE_ORDERS", request.param)


@given(books())
def test_equal_books_never_differ(rows: Rows) -> None:
    assert compare(copy_of(rows), copy_of(rows)) is None


def changed(one: RestingRow, **fields: object) -> RestingRow:
    values = {name: getattr(one, name) for name in one.__struct_fields__}
    return RestingRow(**values | fields)


CHANGES: dict[str, Callable[[RestingRow], RestingRow]] = {
    "oid": lambda one: changed(one, oid=one.oid + 1000),
    "user": lambda one: changed(one, user=BOB),
    "sz": lambda one: changed(one, sz=one.sz + 1),
}


@given(books(1), st.data())
@pytest.mark.parametrize("field", sorted(CHANGES))
def test_a_changed_order_is_found_and_located(field: str, rows: Rows, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))
    true = rows[index]
    wrong = CHANGES[field](true)
    difference = compare(copy_of([*rows[:index], wrong, *rows[index + 1 :]]), copy_of(rows))
    assert difference is not None
    assert (difference.side, difference.px, difference.field) == (true.side, true.px, field)
    assert difference.oid == true.oid
    level = [one.oid for one in rows if (one.side, one.px) == (true.side, true.px)]
    assert difference.position == level.index(true.oid)
    shown = {"user": (f"0x{BOB.hex()}", f"0x{ALICE.hex()}")}
    expected = shown.get(field, (getattr(wrong, field), getattr(true, field)))
    assert (difference.here, difference.there) == expected


@given(books(1), st.data(), st.booleans())
def test_a_missing_or_extra_order_is_found(rows: Rows, data: st.DataObject, extra: bool) -> None:
    """Anywhere: at the head, in the middle, at the tail, a whole level, a whole side."""
    index = data.draw(st.integers(0, len(rows) - 1))
    whole, short = copy_of(rows), copy_of(rows[:index] + rows[index + 1 :])
    gone = rows[index]
    difference = compare(whole, short) if extra else compare(short, whole)
    assert difference is not None
    assert (difference.side, difference.px) == (gone.side, gone.px)
    level = [one.oid for one in rows if (one.side, one.px) == (gone.side, gone.px)]
    assert difference.position == level.index(gone.oid)
    if gone.oid == level[-1]:
        assert difference.field == "order"
        assert difference.oid == gone.oid
        assert (difference.here if extra else difference.there) == gone.oid
        assert (difference.there if extra else difference.here) is None
        assert f"order {gone.oid} is missing {'there' if extra else 'here'}" in str(difference)
    else:
        assert difference.field == "oid"


@given(books(2), st.data())
def test_two_orders_that_changed_places_are_found(rows: Rows, data: st.DataObject) -> None:
    first, second = data.draw(
        st.tuples(st.integers(0, len(rows) - 1), st.integers(0, len(rows) - 1)).filter(
            lambda pair: pair[0] < pair[1]
        )
    )
    a, b = rows[first], rows[second]
    swapped = list(rows)
    swapped[first] = changed(b, side=a.side, px=a.px)
    swapped[second] = changed(a, side=b.side, px=b.px)
    difference = compare(copy_of(swapped), copy_of(rows))
    assert difference is not None
    assert (difference.side, difference.px, difference.field) == (a.side, a.px, "oid")
    assert (difference.here, difference.there) == (b.oid, a.oid)


@given(books(1), st.data(), st.sampled_from(["sz", "n"]))
def test_wrong_totals_are_found(rows: Rows, data: st.DataObject, total: str) -> None:
    one = data.draw(st.sampled_from(rows))
    book = copy_of(rows)
    level = book.side(one.side)[-one.px if one.side == BID else one.px]
    setattr(level, total, getattr(level, total) + 1)
    right = getattr(level, total) - 1
    assert compare(book, copy_of(rows)) == Difference(
        one.side, one.px, len(level.orders), 0, f"total {total}", right + 1, right
    )


@given(books(), st.data())
def test_between_slices_both_may_take_the_same_steps(rows: Rows, data: st.DataObject) -> None:
    mine, theirs = BookCopy(), BookCopy()
    for one in rows:
        mine.add(one)
        theirs.add(one)
    oid = 10_000
    differences: list[Difference | None] = []
    for _ in _results(compare_books(mine.book, theirs.book), differences):
        if oid > 10_040:
            continue
        oid += 1
        for step in data.draw(steps(oid, sorted(mine.book.orders))):
            mine.apply(step)
            theirs.apply(step)
    assert differences == [None]


def _results(
    comparison: Generator[None, None, Difference | None], results: list[Difference | None]
) -> Iterator[None]:
    results.append((yield from comparison))


@st.composite
def steps(
    draw: st.DrawFn, oid: int, resting: list[int]
) -> list[BookAdded | BookChanged | BookRemoved]:
    side, px = draw(st.sampled_from(SIDES)), draw(st.integers(90, 110))
    chosen: list[BookAdded | BookChanged | BookRemoved] = []
    if resting:
        one = draw(st.sampled_from(resting))
        gone, less = BookRemoved(1, one), BookChanged(1, one, 7)
        chosen.append(gone if draw(st.booleans()) else less)
    return [*chosen, bid(oid, px) if side == BID else ask(oid, px)]


def test_what_a_difference_says() -> None:
    here = copy_of([row(1), row(2, sz=3)])
    there = copy_of([row(1), row(2, sz=4)])
    said = "bid 100.0, position 1: sz of order 2 is 300000000 here, 400000000 there"
    assert str(compare(here, there)) == said
    assert str(compare(here, copy_of([]))) == "bid 100.0, position 0: order 1 is missing there"
    swapped = copy_of([row(2, sz=3), row(1)])
    assert str(compare(here, swapped)) == "bid 100.0, position 0: oid is 1 here, 2 there"


def test_of_an_ask_it_says_so() -> None:
    said = "ask 101.0, position 0: order 1 is missing here"
    assert str(compare(copy_of([]), copy_of([row(1, ASK, 101)]))) == said


def test_it_can_be_interrupted_each_time_a_slice_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.state.compare.VERIFY_SLICE_ORDERS", 3)
    book = copy_of([row(oid, BID, 100 - oid) for oid in range(1, 8)])
    assert len(list(compare_books(book, book))) == 3 + 1  # of 3, 3 and 1 bids; of no ask


def test_a_copy_follows_the_steps_of_blocks() -> None:
    copy = BookCopy()
    for one in (row(1), row(2)):
        copy.add(one)
    copy.apply(BookAdded(1, 3, ALICE, BID, 100 * PX, PX, 2))
    assert [one.oid for one in copy.book.queue(BID)] == [1, 3, 2]
    for step in (BookChanged(1, 2, 0, PX), BookRemoved(1, 2), ask(4, 105)):
        copy.apply(step)
    assert compare(copy.book, copy_of([row(1), row(3), row(4, ASK, 105, user=BOB)])) is None


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (bid(1, 100), "order 1 is added but rests already"),
        (BookRemoved(1, 9), "order 9 is changed or removed but does not rest"),
        (BookChanged(1, 1, 0, 5), "order 1 is changed from size 5, here it has 100000000"),
    ],
)
def test_a_step_that_the_copy_makes_impossible(
    step: BookAdded | BookChanged | BookRemoved, message: str
) -> None:
    copy = BookCopy()
    copy.add(row(1))
    with pytest.raises(StateMismatch, match=message):
        copy.apply(step)


@pytest.mark.parametrize("side", SIDES)
def test_rows_behind_worse_prices_are_no_queue(side: int) -> None:
    copy = BookCopy()
    better, worse = (100, 99) if side == BID else (100, 101)
    copy.add(row(1, side, worse))
    with pytest.raises(StateMismatch, match="order 2 stands behind worse prices"):
        copy.add(row(2, side, better))


def test_the_captured_snapshot_is_equal_to_itself_but_for_one_order(captured: Path) -> None:
    (path,) = captured.glob("snapshot_*.json.gz")
    orders = HyperliquidSnapshot(path).orders("BTC")
    rows = [one for one in orders if isinstance(one, RestingRow)]
    here, there = copy_of(rows), copy_of(rows)
    assert compare(here, there) is None
    last = rows[-1]
    there.remove(there.order(last.oid), {})
    difference = compare(here, there)
    assert difference is not None
    assert (difference.side, difference.oid, difference.there) == (ASK, last.oid, None)
