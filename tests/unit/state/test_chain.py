"""Blocks into state: what changes, what the changes say, what is refused."""

import msgspec
import pytest

from sidecar.devnet.execution.checks import queue_hash
from sidecar.errors import StateMismatch
from sidecar.node.snapshot import MarketRow, RestingRow, TradeRow
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    BookChanged,
    BookCheck,
    BookRemoved,
    Fill,
    Leg,
    MarketListed,
    OrderStatus,
    PricesUpdated,
    Transition,
    Trigger,
)
from sidecar.state.chain import ChainState
from sidecar.state.changes import DiffKind

ALICE, BOB = b"a" * 20, b"b" * 20
TOYOTA = MarketListed(1, "TOYOTA", 2, 10)


def block(height: int, *transitions: Transition) -> Block:
    return Block(height, height * 1_000_000, 0, list(transitions))


def opened(oid: int, status: str = "open") -> OrderStatus:
    return OrderStatus(oid, ALICE, 1, BID, 100, 5, 5, "Gtc", False, None, None, status)


def fill(tid: int) -> Fill:
    buyer, seller = Leg(ALICE, 1, None, 0, 0, 0), Leg(BOB, 2, None, 0, 0, 0)
    return Fill(tid, 1, 100, 5, BID, b"h" * 32, buyer, seller)


def listed() -> ChainState:
    state = ChainState()
    state.apply(block(1, TOYOTA))
    return state


def test_changes_name_what_changed() -> None:
    state = listed()
    changes = state.apply(block(2, opened(7), BookAdded(1, 7, ALICE, BID, 100, 5), fill(1)))
    changed = changes.markets[1]
    assert (changes.height, changes.time_ns, changes.transitions) == (2, 2_000_000, 3)
    assert changed.bids == {-100: (0, 0)}
    assert not changed.asks
    assert [(diff.kind, diff.new_sz) for diff in changed.diffs] == [(DiffKind.NEW, 5)]
    assert [status.oid for status in changed.statuses] == [7]
    assert [one.tid for one in changed.fills] == [1]


def test_diffs_hold_the_sizes_of_their_own_step() -> None:
    state = listed()
    state.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5)))
    changes = state.apply(block(3, BookChanged(1, 7, 2), BookChanged(1, 7, 0), BookRemoved(1, 7)))
    steps = [(diff.kind, diff.old_sz, diff.new_sz) for diff in changes.markets[1].diffs]
    assert steps == [(DiffKind.UPDATE, 5, 2), (DiffKind.UPDATE, 2, 0), (DiffKind.REMOVE, 0, 0)]


@pytest.mark.parametrize("status_first", [True, False])
def test_an_order_and_its_status_find_each_other_in_either_order(*, status_first: bool) -> None:
    state = listed()
    pair: list[Transition] = [opened(7), BookAdded(1, 7, ALICE, BID, 100, 5)]
    state.apply(block(2, *(pair if status_first else reversed(pair))))
    assert state.markets[1].book.order(7).status is pair[0]


def test_a_status_of_an_earlier_block_is_not_taken_for_a_later_order() -> None:
    state = listed()
    state.apply(block(2, opened(7)))
    state.apply(block(3, BookAdded(1, 7, ALICE, BID, 100, 5)))
    assert state.markets[1].book.order(7).status is None


def test_a_triggered_order_is_a_limit_order_placed_now() -> None:
    state = listed()
    waited = msgspec.structs.replace(
        opened(7, "triggered"),
        tif=None,
        trigger=Trigger(99, "Price below 99"),
        time_ns=2_000,
        placed_ns=1_000,
    )
    changes = state.apply(block(2, waited, BookAdded(1, 7, ALICE, BID, 100, 5)))
    assert changes.markets[1].statuses == [waited]  # which is told as the node wrote it
    status = state.markets[1].book.order(7).status
    assert status is not None
    assert status.trigger == Trigger(0, "Triggered", waiting=False)
    assert (status.tif, status.placed_ns, status.orig_sz) == ("Gtc", 2_000, waited.orig_sz)


def test_previous_heights_chain_per_market_and_kind() -> None:
    state = listed()
    first = state.apply(block(2, fill(1))).markets[1]
    assert (first.trades_prev, first.orders_prev) == (0, 0)
    second = state.apply(block(3, opened(7))).markets[1]
    assert (second.trades_prev, second.orders_prev) == (2, 0)
    third = state.apply(block(4, opened(8), fill(2))).markets[1]
    assert (third.trades_prev, third.orders_prev) == (2, 3)


def test_prices_are_kept() -> None:
    state = listed()
    state.apply(block(2, PricesUpdated(((1, 101, 102),))))
    market = state.markets[1]
    assert (market.oracle_px, market.mark_px) == (101, 102)


def test_restore_gives_the_state_that_the_rows_describe() -> None:
    state = ChainState()
    state.restore(
        10,
        99,
        [
            MarketRow(TOYOTA, 101, 102, 8, None),
            RestingRow(1, 7, ALICE, BID, 100, 5, 1, opened(7)),
            RestingRow(1, 9, BOB, ASK, 103, 4, 1),
            TradeRow(8, 50, fill(3)),
        ],
    )
    market = state.by_symbol["TOYOTA"]
    assert (state.height, state.time_ns) == (10, 99)
    assert (market.book.best(BID), market.book.best(ASK)) == ((100, 5, 1), (103, 4, 1))
    assert market.mid_px() == 101
    assert [trade.height for trade in market.trades] == [8]
    changed = state.apply(block(11, fill(4), opened(8))).markets[1]
    assert (changed.trades_prev, changed.orders_prev) == (8, None)


def test_a_market_without_a_side_has_no_mid() -> None:
    state = listed()
    state.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5)))
    assert state.markets[1].mid_px() is None


@pytest.mark.parametrize(
    ("transition", "message"),
    [
        (BookRemoved(1, 7), r"order 7 is changed or removed .*market TOYOTA, height 2"),
        (BookChanged(1, 7, 1), r"order 7 is changed or removed .*market TOYOTA, height 2"),
        (BookAdded(5, 7, ALICE, BID, 1, 1), r"market 5 is used but was never listed .*height 2"),
        (MarketListed(2, "TOYOTA"), r"symbol TOYOTA is listed twice"),
        (MarketListed(1, "SONY"), r"market 1 is TOYOTA; it can't become SONY"),
    ],
)
def test_impossible_transitions_name_height_and_market(
    transition: Transition, message: str
) -> None:
    with pytest.raises(StateMismatch, match=message):
        listed().apply(block(2, transition))


@pytest.mark.parametrize("height", [1, 3])
def test_blocks_follow_each_other(height: int) -> None:
    with pytest.raises(StateMismatch, match=f"block {height} can't follow block 1"):
        listed().apply(block(height))


RIGHT = BookCheck(1, 100, 5, 1, 0, 0, 0, 1, 5, 0, queue_hash([(7, 100, 5)], []))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (RIGHT, None),
        (msgspec.structs.replace(RIGHT, bid_px=99), "best bid is .99, 5, 1., here .100, 5, 1."),
        (msgspec.structs.replace(RIGHT, ask_n=1), "best ask is"),
        (msgspec.structs.replace(RIGHT, orders=2), "orders is 2, here 1"),
        (msgspec.structs.replace(RIGHT, total_bid_sz=4), "total bid sz is 4, here 5"),
        (msgspec.structs.replace(RIGHT, queue_hash=1), "queue hash is 1, here"),
    ],
)
def test_the_nodes_checks_are_compared(check: BookCheck, message: str | None) -> None:
    state = listed()
    if message is None:
        state.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5), check))
        return
    with pytest.raises(StateMismatch, match=message + r".*market TOYOTA, height 2"):
        state.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5), check))


def test_a_snapshot_that_says_an_order_twice_is_a_mismatch_with_its_place() -> None:
    row = RestingRow(1, 7, ALICE, BID, 100, 5, 1)
    with pytest.raises(StateMismatch, match=r"in the snapshot, order 7 .*market TOYOTA, height 10"):
        ChainState().restore(10, 0, [MarketRow(TOYOTA), row, row])


def test_a_size_that_was_not_what_the_node_says_is_a_mismatch() -> None:
    state = listed()
    state.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5)))
    state.apply(block(3, BookChanged(1, 7, 4, old_sz=5)))
    with pytest.raises(StateMismatch, match="order 7 is changed from size 5, here it has 4"):
        state.apply(block(4, BookChanged(1, 7, 3, old_sz=5)))
