"""What is said of the feed and of what is wrong, by given clocks."""

import pytest

from blocks import ALICE, PX, SONY, TOYOTA, bid, block
from sidecar.node.transitions import (
    AccountCheck,
    BookChanged,
    BookCheck,
    BookRemoved,
    OrderStatus,
    Transition,
)
from sidecar.state.chain import ChainState
from sidecar.state.faults import Fault, Faults
from sidecar.state.health import BEHIND, GAP, LIVE, RESYNCING, STALE, Bounds, Condition, Health

S = 1_000_000_000
WRONG = BookCheck(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def made() -> tuple[ChainState, Health]:
    state = ChainState(strict=False)
    state.apply(block(1, TOYOTA, SONY))
    state.time_ns = 100 * S
    return state, Health(state, Bounds(stale_ns=3 * S, behind_ns=10 * S))


def test_it_starts_untrusted() -> None:
    _, health = made()
    assert health.feed == Condition(RESYNCING, "starting", 1)
    assert not health.live


def test_the_words_are_those_of_the_protocol() -> None:
    words = ["live", "stale", "behind", "gap", "resyncing"]
    assert words == [LIVE, STALE, BEHIND, GAP, RESYNCING]
    assert Condition(LIVE) == Condition(LIVE, "", 0)  # of a feed that nobody judges


@pytest.mark.parametrize(
    ("silence", "age", "state"),
    [
        (0, 0, LIVE),
        (3, 10, LIVE),
        (3.1, 0, STALE),
        (1, 10.1, BEHIND),
        (4, 99, STALE),
        (0, -5, LIVE),
    ],
)
def test_silence_and_age(silence: float, age: float, state: str) -> None:
    _, health = made()
    health.observe(1_000 * S, 100 * S)
    health.observe(int((1_000 + silence) * S), int((100 + age) * S))
    assert health.feed.state == state
    assert health.label(1) == (None if state == LIVE else state)


def test_a_state_without_any_block_has_no_age() -> None:
    health = Health(ChainState(), Bounds(stale_ns=3 * S, behind_ns=10 * S))
    health.observe(0, 1_767_000_000 * S)
    health.observe(3 * S, 1_767_000_003 * S)
    assert (health.age_ns, health.feed.state) == (0, LIVE)
    health.observe(3 * S + 1, 1_767_000_003 * S)
    assert health.feed == Condition(STALE, "the node has written no block for 3 s", 0)


def test_the_next_block_ends_silence_at_once() -> None:
    _, health = made()
    health.observe(0, 100 * S)
    health.observe(9 * S, 100 * S)
    assert health.feed.state == STALE
    stale = health.feed
    health.observe(10 * S, 100 * S)
    assert health.feed is stale  # said once
    health.note_block(11 * S, 101 * S, 101 * S)
    assert health.feed == Condition(LIVE, "", 1)
    assert health.live
    assert health.age_ns == 0


def test_silence_begins_with_the_newest_block() -> None:
    _, health = made()
    health.note_block(5 * S, 100 * S, 100 * S)
    health.observe(8 * S, 100 * S)
    assert health.feed.state == LIVE
    health.observe(8 * S + 1, 100 * S)
    assert health.feed == Condition(STALE, "the node has written no block for 3 s", 1)


def test_with_a_block_comes_no_silence_but_its_age() -> None:
    state, _ = made()
    health = Health(state, Bounds(stale_ns=0, behind_ns=10 * S))
    health.note_block(0, 110 * S, 100 * S)
    assert health.feed.state == LIVE
    health.note_block(0, 111 * S, 100 * S)
    assert health.feed == Condition(BEHIND, "the newest block is older than 10 s", 1)


def test_a_broken_feed_stays_so_until_it_is_mended() -> None:
    state, health = made()
    health.break_feed(GAP, "no block 2")
    health.note_block(0, 100 * S, 100 * S)
    assert (health.feed.state, health.feed.reason, health.feed.height) == (GAP, "no block 2", 1)
    health.mend_feed()
    health.note_block(0, 100 * S, 100 * S)
    assert health.feed.state == LIVE
    assert state.height == 1


def test_one_wrong_book_is_one_coins() -> None:
    state, health = made()
    state.apply(block(2, bid(5, 100)))
    state.apply(block(3, WRONG))
    health.note_block(0, 0, 0)
    ((coin, condition),) = health.coins()
    assert (coin, condition.state, condition.height) == ("TOYOTA", RESYNCING, 2)
    assert condition.reason.startswith("the node checks its book: ")
    assert (health.label(1), health.label(2), health.label(None)) == (RESYNCING, None, None)
    assert health.feed.state == LIVE
    assert not health.live


def test_what_a_wrong_book_is_told_is_passed_over_and_the_rest_goes_on() -> None:
    state, _ = made()
    state.apply(block(2, bid(5, 100), bid(6, 100, market=2)))
    opened = OrderStatus(9, ALICE, 1, 0, PX, PX, PX, "Gtc", False, None, None, "open")
    changes = state.apply(block(3, BookRemoved(1, 77), bid(7, 99), BookRemoved(2, 6), opened))
    assert list(state.faults.books) == [1]
    assert state.markets[1].book.orders.keys() == {5}
    assert not state.markets[2].book.orders
    assert state.markets[1].mid_px() is None
    assert changes.markets[1].statuses == [opened]
    assert not changes.markets[1].levels_changed
    changes = state.apply(block(4, BookChanged(1, 5, 0), BookRemoved(1, 5)))
    assert (changes.markets[1].diffs, state.markets[1].book.orders[5].sz) == ([], PX)
    rebuilt = ChainState()
    rebuilt.apply(block(1, TOYOTA, SONY))
    rebuilt.apply(block(2, bid(7, 99)))
    state.adopt_book(rebuilt.markets[1])
    assert not state.faults
    assert state.users.get(ALICE).resting.keys() == {7}


def test_a_rebuilt_book_knows_when_it_changed_while_it_was_wrong() -> None:
    """Else `prev` of the next message would leave out those that other sidecars sent."""
    state, _ = made()
    lines = [block(2, bid(5, 100)), block(3, BookRemoved(1, 77)), block(4, bid(6, 99)), block(5)]
    for line in lines:
        state.apply(line)
    assert state.markets[1].levels_height == 2
    rebuilt = ChainState()
    for line in (block(1, TOYOTA, SONY), lines[0], block(3), *lines[2:]):
        rebuilt.apply(line)
    state.adopt_book(rebuilt.markets[1])
    assert (state.markets[1].levels_height, state.markets[1].orders_height) == (4, 4)


def test_what_no_book_is_to_blame_for_is_everythings() -> None:
    state, health = made()
    state.apply(block(2, bid(5, 100, market=9)))
    assert state.faults.everything is not None
    assert "market 9 is used but was never listed" in state.faults.everything.what
    state, health = made()
    state.apply(block(2, AccountCheck(ALICE, 5, ())))
    ((address, condition),) = health.accounts()
    assert (address, condition.state) == (ALICE, RESYNCING)


def test_a_whole_rebuilt_state_is_adopted_and_what_is_gone_stays_listed() -> None:
    state, health = made()
    state.apply(block(2, bid(5, 100), bid(6, 100, market=2), bid(8, 1, market=9)))
    rebuilt = ChainState()
    rebuilt.restore(40, 7, [])
    rebuilt.apply(block(41, TOYOTA, bid(7, 90)))
    state.adopt(rebuilt)
    assert (state.height, set(state.by_symbol)) == (41, {"TOYOTA", "SONY"})
    assert not state.by_symbol["SONY"].book.orders
    assert not state.faults
    assert not list(health.coins())
    state.apply(block(42, bid(8, 89)))
    assert state.users.get(ALICE).resting.keys() == {7, 8}


PARTS = [
    ("book", BookRemoved(1, 77), True),
    ("account", AccountCheck(ALICE, 5, ()), False),
    ("everything", BookRemoved(9, 77), False),  # of a market that nobody listed
]


@pytest.mark.parametrize(("part", "transition", "listed"), PARTS)
def test_of_each_part_the_first_fault_is_kept_and_all_are_counted(
    part: str, transition: Transition, *, listed: bool
) -> None:
    faults = Faults()
    assert not faults
    for height in (5, 6, 7):
        faults.note(Fault(height, "wrong"), transition, listed=listed)
    assert faults
    first = Fault(5, "wrong")
    assert faults.books == ({1: first} if part == "book" else {})
    assert faults.accounts == ({ALICE: first} if part == "account" else {})
    assert faults.everything == (first if part == "everything" else None)
    assert faults.found == {part: 3}


def test_counts_go_on_over_a_rebuild() -> None:
    before, after = Faults(), Faults()
    for faults in (before, after, after):
        faults.note(Fault(5, "wrong"), AccountCheck(ALICE, 5, ()), listed=False)
        faults.checked["account"] += 10
    after.count_on(before)
    assert (after.found, after.checked) == ({"account": 3}, {"account": 30})
