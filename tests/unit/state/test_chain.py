"""Blocks into state: what changes, what the changes say, what is refused."""

import msgspec
import pytest

from sidecar.devnet.execution.checks import queue_hash
from sidecar.errors import StateMismatch
from sidecar.node.snapshot import (
    AccountRow,
    AgentRow,
    MarketRow,
    NodeRow,
    PositionRow,
    RestingRow,
    TradeRow,
    TriggerRow,
)
from sidecar.node.transitions import (
    ASK,
    BID,
    AccountCheck,
    AgentApproved,
    Block,
    BookAdded,
    BookChanged,
    BookCheck,
    BookRemoved,
    Fill,
    FundingSettled,
    LedgerChanged,
    Leg,
    LeverageChanged,
    MarketListed,
    OrdersRefused,
    OrderStatus,
    PricesUpdated,
    Transition,
    Trigger,
)
from sidecar.state.chain import ChainState
from sidecar.state.changes import Diff, DiffKind
from sidecar.state.context import Rate
from sidecar.state.faults import Fault
from sidecar.state.history import FillRow
from sidecar.state.market import Trade
from sidecar.state.restorer import Restorer

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
    assert list(market.trades) == [Trade(8, 50, fill(3))]
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


def test_refused_orders_are_told_as_they_came() -> None:
    state = listed()
    refused = OrdersRefused(1, 3, list)
    changes = state.apply(block(2, refused))
    assert changes.markets[1].refused == [refused]
    assert state.markets[1].orders_height == 2
    assert state.users.refusals_encoded
    with pytest.raises(StateMismatch, match="market 9 is used but was never listed"):
        state.apply(block(3, OrdersRefused(9, 3, list)))


def test_a_state_is_as_of_its_newest_block() -> None:
    state, newest = listed(), block(2)
    assert state.apply(newest).prices is False
    assert (state.height, state.time_ns, state.way.last) == (2, 2_000_000, newest)
    assert state.apply(block(3, PricesUpdated(((1, 101, 102),)))).prices


def test_a_rule_of_a_listed_market_may_change() -> None:
    state = listed()
    state.apply(block(2, MarketListed(1, "TOYOTA", 2, 5)))
    assert state.markets[1].listing.max_leverage == 5
    assert list(state.listings()) == [MarketRow(MarketListed(1, "TOYOTA", 2, 5))]


@pytest.mark.parametrize(
    ("transition", "told"),
    [
        (fill(1), {ALICE, BOB}),
        (FundingSettled(1, 1, 1, 1, ((ALICE, 1, -3), (BOB, -1, 3))), {ALICE, BOB}),
        (LedgerChanged(ALICE, "deposit", 5), {ALICE}),
        (LeverageChanged(ALICE, 1, 5, is_cross=True), {ALICE}),
        (opened(7), set()),
        (AgentApproved(ALICE, BOB, "bot"), set()),
    ],
)
def test_whose_account_changed_is_told(transition: Transition, told: set[bytes]) -> None:
    changes = listed().apply(block(2, transition))
    assert {user for user, changed in changes.users.items() if changed.account} == told


def test_whose_open_orders_changed_is_told() -> None:
    state = listed()
    steps: tuple[Transition, ...] = (
        BookAdded(1, 7, ALICE, BID, 100, 5),
        BookChanged(1, 7, 2),
        BookRemoved(1, 7),
    )
    for height, step in enumerate(steps, start=2):
        assert state.apply(block(height, step)).users[ALICE].open_orders


def test_a_block_that_leaves_levels_as_they_were_has_not_changed_them() -> None:
    state = listed()
    added, removed = BookAdded(1, 7, ALICE, BID, 100, 5), BookRemoved(1, 7)
    for height, steps, differ in (
        (2, (added,), True),
        (3, (removed, added), False),
        (4, (BookChanged(1, 7, 4),), True),
        (5, (BookChanged(1, 7, 5), BookChanged(1, 7, 4)), False),
        (6, (removed,), True),
        (7, (added, removed), False),
        (8, (BookAdded(1, 7, ALICE, ASK, 100, 5),), True),
    ):
        before = state.markets[1].levels_height
        changed = state.apply(block(height, *steps)).markets[1]
        assert (changed.levels_changed, changed.levels_prev) == (differ, before)
        assert state.markets[1].levels_height == (height if differ else before)
        assert changed.book_changed
        assert changed.any_level_changed() == differ


def test_what_the_node_checks_is_counted() -> None:
    state = listed()
    added = BookAdded(1, 7, ALICE, BID, 100, 5)
    right = (AccountCheck(ALICE, 0, ()), AccountCheck(BOB, 0, ()))
    state.apply(block(2, added, RIGHT, *right))
    state.apply(block(3, RIGHT))
    assert state.faults.checked == {"book": 2, "account": 2}


def test_of_what_is_known_to_be_wrong_nothing_is_compared() -> None:
    state = ChainState(strict=False)
    state.apply(block(1, TOYOTA, RIGHT, AccountCheck(ALICE, 5, ())))
    state.apply(block(2, RIGHT, AccountCheck(ALICE, 6, ())))
    assert state.faults.checked == state.faults.found == {"book": 1, "account": 1}


def test_a_book_that_somebody_else_found_wrong_is_marked() -> None:
    state = listed()
    state.mark_book(state.markets[1], "it is not the node's")
    assert state.faults.books == {1: Fault(1, "it is not the node's")}
    assert state.markets[1].fault == Fault(1, "it is not the node's")
    state.mark_everything("nor is anything")
    assert state.faults.everything == Fault(1, "nor is anything")


def test_an_account_that_was_rebuilt_takes_the_place_of_the_wrong_one() -> None:
    state, rebuilt = ChainState(strict=False), ChainState()
    deposit = LedgerChanged(ALICE, "deposit", 5)
    state.apply(block(1, TOYOTA, AccountCheck(ALICE, 5, ()), AccountCheck(BOB, 5, ())))
    rebuilt.apply(block(1, TOYOTA, deposit))
    state.adopt_account(rebuilt.users.get(ALICE))
    assert list(state.faults.accounts) == [BOB]
    state.apply(block(2, AccountCheck(ALICE, 5, ())))
    assert list(state.faults.accounts) == [BOB]


def test_a_state_that_was_rebuilt_is_taken_over_whole() -> None:
    state, rebuilt = ChainState(strict=False), ChainState()
    for one in (state, rebuilt):
        one.apply(block(1, TOYOTA, RIGHT) if one is state else block(1, TOYOTA))
        one.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5)))
    rebuilt.apply(block(3, fill(1), LedgerChanged(ALICE, "deposit", 5)))
    state.adopt(rebuilt)
    for name in (
        *("height", "time_ns", "way", "markets", "by_symbol", "users"),
        *("accounts", "orders", "history", "faults"),
    ):
        assert getattr(state, name) is getattr(rebuilt, name)
    assert state.faults.found == {"book": 1}
    changed = state.apply(block(4, BookRemoved(1, 7), fill(2))).markets[1]
    assert (changed.trades_prev, changed.levels_prev) == (3, 2)


def test_a_new_state_knows_all_of_the_past_a_restored_one_what_its_rows_say() -> None:
    state = listed()
    assert (state.users.unknown_past, state.users.since_ns) == (False, None)
    assert (state.accounts.complete, state.users.money_told) == (True, True)
    assert state.markets[1].candles.since_ns == 0
    state = ChainState()
    state.restore(10, 99, [MarketRow(TOYOTA, 101, 102, 8, 9)])
    assert (state.users.unknown_past, state.users.since_ns) == (True, 100)
    assert (state.accounts.complete, state.users.money_told) == (False, False)
    toyota = state.markets[1]
    assert (toyota.trades_height, toyota.orders_height, toyota.levels_height) == (8, 9, None)
    assert (toyota.oracle_px, toyota.mark_px) == (101, 102)
    assert toyota.candles.since_ns == 100
    for height, time_ns in ((0, 99), (10, 0), (1, 0)):
        state = ChainState()
        state.restore(height, time_ns, [])
        assert state.users.since_ns is None
        assert state.users.unknown_past == (height > 0)
        assert state.accounts.complete == (height == 0)


@pytest.mark.parametrize("tells_of_accounts", [False, True])
def test_a_market_that_is_listed_later_is_new_if_the_source_tells_so(
    *, tells_of_accounts: bool
) -> None:
    state = ChainState()
    state.restore(10, 99, [AccountRow(ALICE, 5)] if tells_of_accounts else [])
    state.apply(block(11, TOYOTA))
    toyota, height = state.markets[1], 0 if tells_of_accounts else None
    assert (toyota.trades_height, toyota.orders_height) == (height, height)
    assert toyota.levels_height is None
    assert state.users.money_told == state.accounts.complete == tells_of_accounts


def test_accounts_of_a_snapshot_are_the_markets_open_interest_too() -> None:
    state = ChainState()
    rows = [
        MarketRow(TOYOTA),
        AccountRow(ALICE, 5, (PositionRow(1, 7, 70),), ((1, 5, False),)),
        AccountRow(BOB, 6, (PositionRow(1, -7, 70),)),
        AccountRow(b"c" * 20, 6, (PositionRow(1, 2, 20),)),
        AgentRow(ALICE, BOB, "bot"),
        NodeRow("of no concern here", b""),
    ]
    state.restore(10, 99, rows)
    assert state.markets[1].context.open_interest == 9
    assert state.accounts.agents == {BOB: rows[4]}
    assert {user: one.balance for user, one in state.users.by_address.items()} == {
        ALICE: 5,
        BOB: 6,
        b"c" * 20: 6,
    }


def test_an_order_that_had_triggered_before_the_snapshot_is_a_limit_order() -> None:
    waited = msgspec.structs.replace(
        opened(7, "triggered"), tif=None, trigger=Trigger(99, "Price below 99"), cloid=b"c" * 16
    )
    state = ChainState()
    state.restore(10, 99, [MarketRow(TOYOTA), RestingRow(1, 7, ALICE, BID, 100, 5, 1, waited)])
    order = state.markets[1].book.order(7)
    assert order.status is not None
    assert order.status.trigger == Trigger(0, "Triggered", waiting=False)
    assert (order.user, order.px, order.sz, order.added_ns) == (ALICE, 100, 5, 1)
    found = state.orders.find_cloid(ALICE, b"c" * 16)
    assert found is not None
    assert (found.market, found.resting) == (1, order)


@pytest.mark.parametrize(
    "row",
    [
        RestingRow(9, 7, ALICE, BID, 100, 5, 1),
        TradeRow(8, 50, msgspec.structs.replace(fill(3), market=9)),
        TriggerRow(msgspec.structs.replace(opened(7), market=9)),
        AccountRow(ALICE, 5, (PositionRow(9, 7, 70),)),
        AccountRow(ALICE, 5, (), ((9, 5, False),)),
    ],
    ids=lambda row: type(row).__name__,
)
def test_a_snapshot_lists_a_market_before_it_uses_it(row: object) -> None:
    said = r"^in the snapshot, the snapshot uses market 9 before listing it \(height 10\)$"
    with pytest.raises(StateMismatch, match=said):
        ChainState().restore(10, 0, [MarketRow(TOYOTA), row])
    restorer = Restorer(ChainState(), 10, 0)
    restorer.row(MarketRow(TOYOTA))
    restorer.row(NodeRow("of no concern here", b""))
    with pytest.raises(StateMismatch, match=said):
        restorer.row(row)


def test_a_market_that_a_row_is_of_is_named() -> None:
    restorer = Restorer(ChainState(), 10, 0)
    restorer.row(MarketRow(TOYOTA))
    row = RestingRow(1, 7, ALICE, BID, 100, 5, 1)
    restorer.row(row)
    with pytest.raises(StateMismatch, match=r"rests already \(market TOYOTA, height 10\)$"):
        restorer.row(row)


def test_a_state_begins_with_nothing() -> None:
    state = ChainState()
    assert (state.height, state.time_ns, state.way.last) == (0, 0, None)
    assert (state.health, state.allowance) == (None, None)
    assert not state.faults


def test_diffs_name_the_order_and_its_place() -> None:
    state = listed()
    book = state.markets[1].book
    state.apply(block(2, BookAdded(1, 7, ALICE, ASK, 100, 5)))
    changed = state.apply(block(3, BookAdded(1, 8, BOB, ASK, 100, 4, 7))).markets[1]
    first, second = book.order(7), book.order(8)
    assert changed.diffs == [Diff(DiffKind.NEW, second, 0, 4, 7)]
    assert [one.oid for one in book.queue(ASK)] == [8, 7]
    assert (first.added_ns, second.added_ns) == (2_000_000, 3_000_000)
    found = state.orders.find(BOB, 8)
    assert found is not None
    assert (found.market, found.resting) == (1, second)
    changed = state.apply(block(4, BookChanged(1, 7, 2), BookRemoved(1, 8))).markets[1]
    updated, removed = Diff(DiffKind.UPDATE, first, 5, 2, 0), Diff(DiffKind.REMOVE, second, 4, 0, 0)
    assert changed.diffs == [updated, removed]
    assert len(DiffKind) == 3  # each is told from the others


def test_levels_that_a_block_left_different_are_told() -> None:
    state = listed()
    state.apply(block(2, BookAdded(1, 7, ALICE, ASK, 100, 5), BookAdded(1, 8, BOB, ASK, 100, 4)))
    changed = state.apply(block(3, BookChanged(1, 7, 2), BookRemoved(1, 8))).markets[1]
    assert (changed.touched(BID), changed.touched(ASK)) == ({}, {100: (9, 2)})
    assert (list(changed.changed_levels(BID)), list(changed.changed_levels(ASK))) == (
        [],
        [(100, 2, 1)],
    )
    come, gone = BookAdded(1, 10, BOB, BID, 89, 3), BookRemoved(1, 10)
    steps = (BookRemoved(1, 7), BookAdded(1, 9, ALICE, BID, 90, 3), come, gone)
    changed = state.apply(block(4, *steps)).markets[1]
    assert list(changed.changed_levels(ASK)) == [(100, 0, 0)]
    assert list(changed.changed_levels(BID)) == [(-90, 3, 1)]


def test_an_order_that_goes_from_the_asks_has_touched_the_asks() -> None:
    state = listed()
    state.apply(block(2, BookAdded(1, 7, ALICE, ASK, 100, 5)))
    changed = state.apply(block(3, BookRemoved(1, 7))).markets[1]
    assert (changed.bids, changed.asks) == ({}, {100: (5, 1)})


def test_a_trade_moves_both_sides_and_is_the_markets_newest() -> None:
    state = listed()
    state.apply(block(2, fill(1), AccountCheck(ALICE, 0, ((1, 5),))))
    assert list(state.markets[1].trades) == [Trade(2, 2_000_000, fill(1))]
    held = {
        address: {market: position.sz for market, position in user.positions.items()}
        for address, user in state.users.by_address.items()
    }
    assert held == {ALICE: {1: 5}, BOB: {1: -5}}
    state.apply(block(3, FundingSettled(1, 12, 34, 56, ())))
    assert list(state.markets[1].context.rates) == [Rate(3_000_000, 12, 34)]


def test_the_past_and_the_agents_are_of_the_states_own_users() -> None:
    state = listed()
    state.history.restore(FillRow(2, 7, fill(1), BID))
    assert len(state.users.get(ALICE).fills or ()) == 1
    state.apply(block(2, AgentApproved(ALICE, b"1" * 20, "old", 3_000_000)))
    state.apply(block(3, AgentApproved(ALICE, b"2" * 20, "new")))
    assert set(state.accounts.agents) == {b"2" * 20}


def test_of_an_account_that_is_wrong_the_height_is_named() -> None:
    with pytest.raises(StateMismatch, match=r"account value is 5, here 0 \(height 2\)$"):
        listed().apply(block(2, AccountCheck(ALICE, 5, ())))


def test_what_nobody_marked_may_be_replaced_too() -> None:
    state, rebuilt = listed(), listed()
    state.apply(block(2))
    rebuilt.apply(block(2, BookAdded(1, 7, ALICE, BID, 100, 5)))
    state.adopt_book(rebuilt.markets[1])
    state.adopt_account(rebuilt.users.get(ALICE))
    assert state.markets[1].book is rebuilt.markets[1].book
    assert state.markets[1].fault is None
    found = state.orders.find(ALICE, 7)
    assert found is not None
    assert found.market == 1


TOLD: dict[str, Transition] = {
    "orders": opened(7),
    "fills": fill(1),
    "fundings": FundingSettled(1, 1, 1, 1, ((ALICE, 1, -3),)),
    "ledger": LedgerChanged(ALICE, "deposit", 5),
}


@pytest.mark.parametrize("kind", TOLD)
def test_previous_heights_chain_per_user_and_kind(kind: str) -> None:
    state, is_event = listed(), kind in ("fills", "fundings")
    moved = {kind, "events"} if is_event else {kind}
    for height, before in ((2, 0), (3, 2)):
        changed = state.apply(block(height, TOLD[kind])).users[ALICE]
        for name in (*TOLD, "events"):
            prev, newest = getattr(changed, f"{name}_prev"), getattr(changed.user, f"{name}_height")
            assert (prev, newest) == ((before, height) if name in moved else (0, 0))
        assert changed.account is (kind != "orders")
        assert changed.events is is_event
        assert changed.open_orders is False


def test_waiting_orders_of_a_snapshot_wait() -> None:
    state, waiting = ChainState(), msgspec.structs.replace(opened(7), trigger=Trigger(99, ""))
    state.restore(10, 0, [MarketRow(TOYOTA), TriggerRow(waiting)])
    assert state.users.get(ALICE).waiting == {7: waiting}
