"""Orders by user: what is open, what is found again, what is forgotten."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import ALICE, BOB, PX, SONY, TOYOTA, bid, block, opened, state_of
from sidecar.errors import StateMismatch
from sidecar.node.snapshot import MarketRow, RestingRow, Row, TriggerRow
from sidecar.node.transitions import (
    ASK,
    BID,
    BookAdded,
    BookChanged,
    BookRemoved,
    OrderStatus,
    Trigger,
)
from sidecar.state.book import Order
from sidecar.state.chain import ChainState
from sidecar.state.changes import UserChanges
from sidecar.state.orders import Orders, StatusRow, is_by_system, live
from sidecar.state.users import HeightsRow, SourceRow, User, Users

CLOID = b"\x07" * 16


def status(
    oid: int,
    name: str = "open",
    *,
    cloid: bytes | None = None,
    trigger: Trigger | None = None,
    user: bytes = ALICE,
) -> OrderStatus:
    return msgspec.structs.replace(
        opened(oid), user=user, status=name, cloid=cloid, trigger=trigger
    )


def waiting(oid: int, name: str = "open") -> OrderStatus:
    return status(oid, name, trigger=Trigger(90 * PX, "Price below 90"))


def changes_of(state: ChainState, *transitions: object) -> UserChanges:
    changes = state.apply(block(state.height + 1, *transitions))  # type: ignore[arg-type]
    return changes.users[ALICE]


def test_open_orders_change_with_the_book_and_with_sizes() -> None:
    state = state_of()
    assert changes_of(state, opened(7), bid(7, 100, 5)).open_orders
    assert changes_of(state, BookChanged(1, 7, PX)).open_orders
    assert not changes_of(state, status(8), status(8, "filled")).open_orders
    assert not changes_of(state, status(9, "badAloPxRejected")).open_orders
    assert changes_of(state, BookRemoved(1, 7), status(7, "canceled")).open_orders
    assert state.users.look(ALICE).resting == {}


def test_trigger_orders_wait_from_open_to_any_other_status() -> None:
    for ending in ("canceled", "triggered", "siblingFilledCanceled", "whatever"):
        state = state_of()
        assert changes_of(state, waiting(7)).open_orders
        assert state.users.look(ALICE).waiting == {7: waiting(7)}
        assert changes_of(state, waiting(7, ending)).open_orders
        assert state.users.look(ALICE).waiting == {}
    refused = state_of()
    assert not changes_of(refused, waiting(7, "badTriggerPxRejected")).open_orders
    assert not refused.users.look(ALICE).waiting


def test_children_are_the_parents_until_they_come_to_life() -> None:
    state = ChainState()
    rows: list[Row] = [
        MarketRow(TOYOTA),
        RestingRow(1, 7, ALICE, BID, 100 * PX, PX, 1, opened(7)),
        TriggerRow(waiting(8), 7),
        TriggerRow(waiting(9), 7),
    ]
    state.restore(5, 0, rows)
    assert state.orders.children == {7: {8: waiting(8), 9: waiting(9)}}
    assert list(state.orders.waiting_rows()) == rows[2:]
    state.apply(block(6, BookRemoved(1, 7), status(7, "filled"), waiting(8), waiting(9)))
    assert state.orders.children == {}
    assert state.users.look(ALICE).waiting == {8: waiting(8), 9: waiting(9)}
    assert list(state.orders.waiting_rows()) == [TriggerRow(waiting(8)), TriggerRow(waiting(9))]
    state.orders.check_invariants()


def test_children_that_wait_end_with_their_parent() -> None:
    state = ChainState()
    state.restore(5, 0, [MarketRow(TOYOTA), TriggerRow(waiting(8), 7)])
    state.apply(block(6, status(7, "canceled")))
    assert state.orders.children == {}
    state.orders.check_invariants()


def test_an_order_is_found_by_its_newest_status_and_by_its_owner_only() -> None:
    state = state_of(status(7), status(7, "filled"))
    found = state.orders.find(ALICE, 7)
    assert found is not None
    assert found.status == status(7, "filled")
    assert state.orders.find(BOB, 7) is None
    assert state.orders.find(ALICE, 8) is None
    assert BOB not in state.users.by_address  # asking makes nobody known


def test_of_orders_with_one_cloid_the_newest_live_one_is_found() -> None:
    state = state_of(status(7, cloid=CLOID), bid(7, 100))

    def oid_found() -> int:
        found = state.orders.find_cloid(ALICE, CLOID)
        assert found is not None
        assert found.status is not None
        assert (found.resting is not None) == (found.status.status == "open")
        return found.status.oid

    assert oid_found() == 7
    state.apply(block(3, status(9, cloid=CLOID), bid(9, 99)))
    assert oid_found() == 9
    state.apply(block(4, BookRemoved(1, 9), status(9, "canceled", cloid=CLOID)))
    assert oid_found() == 7
    state.apply(block(5, BookRemoved(1, 7), status(7, "canceled", cloid=CLOID)))
    assert oid_found() == 9
    assert state.orders.find_cloid(BOB, CLOID) is None
    assert state.orders.find_cloid(ALICE, b"\x08" * 16) is None


def test_a_resting_order_is_found_after_its_statuses_are_forgotten() -> None:
    state = state_of()
    state.orders = Orders(state.users, per_user=2, overall=4)
    state.apply(block(3, status(7, cloid=CLOID), bid(7, 100)))
    state.apply(block(4, *(status(oid, "tickRejected") for oid in range(20, 30))))
    state.orders.check_invariants()
    found = state.orders.find_cloid(ALICE, CLOID)
    assert found is not None
    assert found == state.orders.find(ALICE, 7)
    assert found.resting is not None
    state.apply(block(5, BookRemoved(1, 7)))  # without a status, it is gone for good
    assert state.orders.find_cloid(ALICE, CLOID) is None
    assert state.users.look(ALICE).cloids == {}


def test_an_order_without_a_status_rests_too() -> None:
    state = state_of(BookAdded(1, 7, BOB, ASK, 100 * PX, PX))
    found = state.orders.find(BOB, 7)
    assert found is not None
    assert (found.market, found.status) == (1, None)
    state.apply(block(3, BookRemoved(1, 7)))
    assert state.orders.find(BOB, 7) is None


def test_an_order_that_left_the_book_is_found_by_its_cloid_while_its_status_is_kept() -> None:
    state = state_of(status(7, cloid=CLOID), bid(7, 100))
    state.apply(block(3, BookRemoved(1, 7)))
    found = state.orders.find_cloid(ALICE, CLOID)
    assert found is not None
    assert (found.resting, found.status) == (None, status(7, cloid=CLOID))


def test_an_id_that_rests_in_two_markets_of_a_snapshot_makes_no_state() -> None:
    state = ChainState()
    resting = [RestingRow(market, 7, ALICE, BID, 100 * PX, PX, 1, None) for market in (1, 2)]
    with pytest.raises(StateMismatch, match=r"order 7 rests in two markets .*SONY"):
        state.restore(2, 0, [MarketRow(TOYOTA), resting[0], MarketRow(SONY), resting[1]])


steps = st.lists(
    st.tuples(
        st.sampled_from([ALICE, BOB]),
        st.integers(1, 9),
        st.sampled_from(["open", "filled", "canceled", "triggered", "tickRejected"]),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps=steps)
def test_the_indexes_hold_what_is_kept_or_live_and_nothing_else(
    steps: list[tuple[bytes, int, str, bool]],
) -> None:
    users = Users()
    orders = Orders(users, per_user=4, overall=6)
    kept: list[OrderStatus] = []
    for user, number, name, waits in steps:
        oid = number if user == ALICE else 100 + number
        cloid = None if number % 3 == 0 else bytes([number % 2]) * 16
        trigger = Trigger(90 * PX, "Price below 90") if waits else None
        one = status(oid, name, cloid=cloid, trigger=trigger, user=user)
        orders.status(one, UserChanges(users.get(user)))
        orders.check_invariants()
        kept = [row.status for row in orders.rows()]
        assert one in kept
        assert len(kept) <= 6
    for address in (ALICE, BOB):
        for oid in (*range(1, 10), *range(101, 110)):
            of_order = [one for one in kept if (one.user, one.oid) == (address, oid)]
            live = (users.look(address).waiting or {}).get(oid)
            found = orders.find(address, oid)
            expected = of_order[-1] if of_order else live
            assert (None if found is None else found.status) == expected


def test_cancels_by_the_system_are_told_from_those_asked_for() -> None:
    by_system = ("marginCanceled", "liquidatedCanceled", "reduceOnlyCanceled", "scheduledCancel")
    assert all(map(is_by_system, (*by_system, "siblingFilledCanceled", "internalCancel")))
    assert not any(map(is_by_system, ("canceled", "open", "filled", "iocCancelRejected")))


def test_a_cancel_by_the_system_is_an_event_no_other_status_is() -> None:
    state = state_of()
    for name in ("open", "triggered", "filled", "canceled", "tickRejected"):
        changes = changes_of(state, status(7, name))
        assert (changes.statuses, changes.events) == ([status(7, name)], False)
    for name in ("marginCanceled", "scheduledCancel"):
        assert changes_of(state, status(7, name)).events is True


def test_an_order_that_has_triggered_is_a_limit_order_placed_then() -> None:
    trigger = Trigger(90 * PX, "Price below 90", is_position_tpsl=True)
    waited = msgspec.structs.replace(status(7, "triggered", trigger=trigger), tif=None)
    assert live(waited) == msgspec.structs.replace(
        waited,
        tif="Gtc",
        trigger=Trigger(0, "Triggered", is_position_tpsl=True, waiting=False),
        placed_ns=waited.time_ns,
    )
    for one in (status(7), waiting(7), status(7, "triggered"), live(waited)):
        assert live(one) is one


def test_statuses_that_are_kept_come_back() -> None:
    state = state_of(status(7, cloid=CLOID), status(7, "filled", cloid=CLOID), status(8))
    rows = list(state.orders.rows())
    assert [row.status.status for row in rows] == ["open", "filled", "open"]
    users = Users()
    orders = Orders(users)
    for row in rows:
        orders.restore(row)
    orders.check_invariants()
    assert list(orders.rows()) == rows
    for oid in (7, 8):
        assert orders.find(ALICE, oid) == state.orders.find(ALICE, oid)
        found = orders.find(ALICE, oid)
        assert found is not None
        assert found.market == 1
    assert orders.find_cloid(ALICE, CLOID) == orders.find(ALICE, 7)


def resting(oid: int, one: OrderStatus | None = None) -> Order:
    return Order(oid, ALICE, BID, 100 * PX, PX, 0, one)


def test_resting_orders_of_a_market_are_replaced() -> None:
    users = Users()
    orders = Orders(users)
    before = [resting(7), resting(8)]
    for one in before:
        orders.restore_resting(1, one)
    elsewhere = resting(9)
    orders.restore_resting(2, elsewhere)
    now = [resting(8), resting(10, status(10, cloid=CLOID)), resting(11, status(11))]
    orders.replace(1, [*before, resting(12)], now)  # of the last one nobody knew
    assert users.get(ALICE).resting == {9: (2, elsewhere)} | {one.oid: (1, one) for one in now}
    assert users.get(ALICE).cloids == {CLOID: 10}
    assert list(users.by_address) == [ALICE]


def test_waiting_orders_of_a_snapshot_are_found() -> None:
    state = ChainState()
    one = status(7, trigger=Trigger(90 * PX, "Price below 90"), cloid=CLOID)
    state.restore(5, 0, [MarketRow(TOYOTA), TriggerRow(one), TriggerRow(waiting(8))])
    assert state.users.get(ALICE).waiting == {7: one, 8: waiting(8)}
    assert state.users.get(ALICE).cloids == {CLOID: 7}
    found = state.orders.find_cloid(ALICE, CLOID)
    assert found is not None
    assert (found.market, found.status) == (1, one)
    assert list(state.users.by_address) == [ALICE]


def test_children_come_to_life_one_by_one() -> None:
    state = ChainState()
    parents = {8: 7, 9: 7, 11: 10}
    rows = [TriggerRow(waiting(oid), parent) for oid, parent in parents.items()]
    state.restore(5, 0, [MarketRow(TOYOTA), *rows])
    of_10 = {10: {11: waiting(11)}}
    for one, children in (
        (waiting(8), {7: {9: waiting(9)}} | of_10),
        (status(20, "canceled"), {7: {9: waiting(9)}} | of_10),  # has none
        (waiting(9), of_10),
        (status(10), of_10),
        (status(10, "canceled"), {}),
    ):
        state.apply(block(state.height + 1, one))
        assert state.orders.children == children
        state.orders.check_invariants()
    assert state.users.get(ALICE).waiting == {8: waiting(8), 9: waiting(9)}


def test_of_several_orders_with_one_cloid_those_that_are_left_are_found() -> None:
    users = Users()
    orders = Orders(users, per_user=3, overall=9)
    alice = users.get(ALICE)
    for oid, named in ((7, {7}), (8, {7, 8}), (9, {7, 8, 9}), (20, {8, 9}), (21, {9}), (22, set())):
        cloid = CLOID if oid < 10 else None
        orders.status(status(oid, "filled", cloid=cloid), UserChanges(alice))
        known = (alice.cloids or {}).get(CLOID, set())
        assert ({known} if isinstance(known, int) else known) == named
        assert isinstance(known, int) == (len(named) == 1)
        found = orders.find_cloid(ALICE, CLOID)
        assert (None if found is None or found.status is None else found.status.oid) == max(
            named, default=None
        )


def test_rows_of_earlier_checkpoints_are_read() -> None:
    """Their tags are on disk; what was written before a field was there lacks it."""
    encoded = msgspec.msgpack.encode(
        [[40, True, False, True], [41, ALICE, 1, 2, 3, 4, None], [42, waiting(7)]]
    )
    rows = msgspec.msgpack.decode(encoded, type=list[SourceRow | HeightsRow | StatusRow])
    assert rows == [
        SourceRow(True, False, True, None),
        HeightsRow(ALICE, 1, 2, 3, 4, None, "0", "0"),
        StatusRow(waiting(7)),
    ]


def test_users_come_back_with_what_their_source_tells() -> None:
    users = Users()
    users.unknown_past, users.refusals_encoded, users.money_told = True, False, True
    users.since_ns = 7
    alice = users.get(ALICE)
    alice.orders_height, alice.fills_height, alice.fundings_height = 1, 2, 3
    alice.ledger_height, alice.events_height = 4, 5
    alice.volume, alice.deposited = 1 << 70, -(1 << 70)
    rows: list[SourceRow | HeightsRow] = [
        SourceRow(True, False, True, 7),
        HeightsRow(ALICE, 1, 2, 3, 4, 5, str(1 << 70), str(-(1 << 70))),
    ]
    assert list(users.rows()) == rows
    again = Users()
    for row in rows:
        again.restore(row)
    assert list(again.rows()) == rows


def test_a_user_that_is_new_has_had_nothing() -> None:
    users = Users()
    (source,) = users.rows()
    assert source == SourceRow(False, False, True, None)
    user = users.get(ALICE)
    for one in (user, users.look(BOB)):
        empty = dict.fromkeys(User.__slots__) | {"positions": {}, "resting": {}}
        numbers = [name for name in User.__slots__ if name.endswith("_height")]
        empty |= dict.fromkeys([*numbers, "balance", "deposited", "volume"], 0)
        held = {name: getattr(one, name) for name in User.__slots__}
        assert held == empty | {"address": one.address}
    assert users.look(BOB).address == BOB
    assert users.look(ALICE) is users.get(ALICE) is user
    assert list(users.by_address) == [ALICE]


def test_of_a_user_from_before_the_state_began_no_height_is_known() -> None:
    users = Users()
    users.unknown_past = True
    for one in (users.get(ALICE), users.look(BOB)):
        heights = [getattr(one, name) for name in User.__slots__ if name.endswith("_height")]
        assert heights == [None] * 5
