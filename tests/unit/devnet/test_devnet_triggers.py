"""Stop and take-profit orders: what wakes them, in which order, and what they are then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_case import ANN, BEN, CAT, Pit, order, profit, stop
from sidecar.devnet.execution.actions import (
    DONE,
    NA,
    POSITION_TPSL,
    Cancel,
    PlaceGroup,
    Rested,
    TriggerSpec,
    Withdraw,
)
from sidecar.devnet.execution.orders import IOC, Waiting
from sidecar.devnet.execution.triggers import Triggers
from sidecar.fixed import parse
from sidecar.node.transitions import ASK, BID, OrderStatus, Trigger


@pytest.fixture
def pit() -> Pit:
    """An empty book, oracle and mark at 3000."""
    return Pit()


def test_a_stop_waits_for_the_mark_alone(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    assert pit.outcome(stop(ASK, "5", "2950", "2800")) == Rested(3, None)
    (opened,) = pit.out
    assert isinstance(opened, OrderStatus)
    assert opened.trigger == Trigger(parse("2950"), "Price below 2950")
    assert (opened.order_type, opened.tif, opened.status) == ("Stop Market", None, "open")
    pit.do(order(CAT, BID, "9", "2940"))
    pit.do(order(BEN, ASK, "1", "2940", IOC))  # trades go through the price, the mark does not
    pit.mark("2950.1")
    assert pit.said() == []
    pit.mark("2950")
    assert pit.said() == ["3 triggered 5", "fill 4/3 5@2940", "4 changed 3", "3 filled 0"]
    waited, *_, filled = pit.out
    assert isinstance(waited, OrderStatus)
    assert isinstance(filled, OrderStatus)
    assert waited.trigger == opened.trigger
    assert filled.trigger == Trigger(0, "Triggered", waiting=False)


@pytest.mark.parametrize(
    ("position", "tpsl", "side", "at", "worst", "before", "reached", "condition"),
    [
        (BID, "sl", ASK, "2950", "2800", "2950.1", "2950", "Price below 2950"),
        (BID, "tp", ASK, "3050", "2800", "3049.9", "3050", "Price above 3050"),
        (ASK, "sl", BID, "3050", "3200", "3049.9", "3050", "Price above 3050"),
        (ASK, "tp", BID, "2950", "3200", "2950.1", "2950", "Price below 2950"),
    ],
)
def test_which_way_each_of_them_waits(
    pit: Pit,
    position: int,
    tpsl: str,
    side: int,
    at: str,
    worst: str,
    before: str,
    reached: str,
    condition: str,
) -> None:
    pit.trade(*((ANN, BEN) if position == BID else (BEN, ANN)), "5")
    pit.do(order(CAT, 1 - side, "5", "3000"))
    pit.do(stop(side, "5", at, worst, tpsl=tpsl))
    (opened,) = pit.out
    assert isinstance(opened, OrderStatus)
    assert opened.trigger is not None
    assert opened.trigger.condition == condition
    pit.mark(before)
    assert pit.said() == []
    pit.mark(reached)
    assert pit.said()[0] == "4 triggered 5"
    assert pit.position(ANN) == "0"


def test_a_limit_that_triggers_rests_under_its_id(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(profit(ASK, "5", "3100"))
    pit.mark("3100")
    assert pit.said() == ["3 triggered 5", "3 added 5"]
    resting = pit.exchange.books[0].orders[3].opened
    assert (resting.tif, resting.trigger) == ("Gtc", Trigger(0, "Triggered", waiting=False))
    assert pit.outcome(Cancel(ANN, 0, 3)) is DONE


def test_the_oldest_triggers_first(pit: Pit) -> None:
    pit.trade(ANN, BEN, "4")
    pit.do(order(CAT, BID, "9", "2900"))
    for at in ("2930", "2950", "2940"):
        pit.do(stop(ASK, "1", at, "2800"))
    pit.mark("2935")
    assert [said for said in pit.said() if "triggered" in said] == [
        "5 triggered 1",
        "6 triggered 1",
    ]
    pit.mark("2930")
    assert pit.said()[0] == "4 triggered 1"


@pytest.mark.parametrize(
    ("liquidity", "position", "status"),
    [
        (None, "5", "marketOrderNoLiquidityRejected 5"),
        ("2790", "5", "marketOrderNoLiquidityRejected 5"),  # under its worst price
        ("2900", None, "reduceOnlyRejected 5"),
    ],
)
def test_a_trigger_that_comes_to_nothing(
    pit: Pit, liquidity: str | None, position: str | None, status: str
) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(stop(ASK, "5", "2950", "2800"))
    if position is None:
        pit.trade(BEN, ANN, "5")
    if liquidity is not None:
        pit.do(order(CAT, BID, "9", liquidity))
    pit.mark("2900")
    assert pit.said() == ["3 triggered 5", f"3 {status}"]


def test_a_stop_may_open_a_position(pit: Pit) -> None:
    pit.do(order(ANN, BID, "2", "3200", trigger=TriggerSpec(parse("3100"), True, "sl")))
    pit.do(order(BEN, ASK, "5", "3110"))
    pit.mark("3100")
    assert pit.said() == ["1 triggered 2", "fill 1/2 2@3110", "2 changed 3", "1 filled 0"]
    assert pit.position(ANN) == "2"


def test_a_stop_that_opens_needs_its_margin_when_it_triggers(pit: Pit) -> None:
    """2 at 3100 and 20x take 310 yen; 100 are left."""
    pit.do(order(ANN, BID, "2", "3200", trigger=TriggerSpec(parse("3100"), True, "sl")))
    pit.do(Withdraw(ANN, parse("9999900")))
    pit.do(order(BEN, ASK, "5", "3110"))
    pit.mark("3100")
    assert pit.said() == ["1 triggered 2", "1 perpMarginRejected 2"]


def test_a_stop_takes_what_there_is(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(stop(ASK, "5", "2950", "2800"))
    pit.do(order(CAT, BID, "2", "2940"))
    pit.mark("2950")
    assert pit.said() == [
        "3 triggered 5",
        "fill 4/3 2@2940",
        "4 changed 0",
        "4 removed",
        "4 filled 0",
        "3 canceled 3",
    ]


def test_a_limit_that_triggers_trades_with_what_it_crosses(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(profit(ASK, "5", "3100"))
    pit.do(order(CAT, BID, "2", "3120"))
    pit.mark("3100")
    assert pit.said()[:2] == ["3 triggered 5", "fill 4/3 2@3120"]
    assert pit.said()[-1] == "3 added 3"


def test_a_stop_is_clipped_to_the_position_when_it_triggers(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(stop(ASK, "5", "2950", "2800"))
    pit.trade(BEN, ANN, "3")
    pit.do(order(CAT, BID, "9", "2940"))
    pit.mark("2950")
    assert pit.said() == ["3 triggered 5", "fill 6/3 2@2940", "6 changed 7", "3 filled 0"]


@pytest.mark.parametrize(
    ("sz", "then"),
    [
        ("5", ["3 filled 0", "4 triggered 5", "4 reduceOnlyRejected 5"]),
        ("0", ["4 siblingFilledCanceled 0", "3 filled 0"]),  # of the position, as a pair
    ],
)
def test_two_that_are_due_and_one_position(pit: Pit, sz: str, then: list[str]) -> None:
    pit.trade(ANN, BEN, "5")
    stops = (stop(ASK, sz, "2950", "2800"), stop(ASK, sz, "2960", "2800"))
    pit.outcomes(PlaceGroup(ANN, stops, NA if sz == "5" else POSITION_TPSL))
    pit.do(order(CAT, BID, "9", "2940"))
    pit.mark("2940")
    assert pit.said() == [f"3 triggered {sz}", "fill 5/3 5@2940", "5 changed 4", *then]


def test_a_waiting_order_is_taken_back(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(stop(ASK, "5", "2950", "2800"))
    assert pit.outcome(Cancel(ANN, 0, 3)) is DONE
    assert pit.said() == ["3 canceled 5"]
    pit.mark("2900")
    assert pit.said() == []


def test_a_triggered_order_was_placed_when_it_triggered(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(stop(ASK, "5", "2950", "2800"))
    pit.do(order(CAT, BID, "9", "2940"))
    pit.out = pit.exchange.begin_block(2, 2_000)
    pit.mark("2950")
    times = [(one.placed_ns, one.time_ns) for one in pit.out if isinstance(one, OrderStatus)]
    assert times == [(1_000, 2_000), (2_000, 2_000)]  # triggered, filled


kinds = st.tuples(st.integers(1, 9), st.booleans(), st.booleans())  # price, above, active
steps = st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 40)), max_size=30)


@given(steps, st.integers(0, 10))
def test_what_is_due_as_the_rule_says(
    story: list[tuple[tuple[int, bool, bool], int, int]], mark: int
) -> None:
    """Each step adds an order, then one is activated (1), or goes (2)."""
    triggers, alive = Triggers(), list[Waiting]()
    for oid, ((px, above, active), what, which) in enumerate(story, 1):
        status = OrderStatus(oid, ANN, 0, ASK, 1, 1, 1, None, True, Trigger(px, ""), None, "open")
        alive.append(Waiting(status, above, True, active, 0 if active else 99))
        triggers.add(alive[-1])
        one = alive[which % len(alive)]
        if what == 1 and not one.active:
            triggers.activate(one)
        elif what == 2:
            triggers.remove(one)
            alive.remove(one)
        triggers.check_invariants()
    due = []
    for one in alive:
        assert one.opened.trigger is not None
        px = one.opened.trigger.px
        if one.active and (mark >= px if one.above else mark <= px):
            due.append(one)
    assert triggers.due(mark) == due
    assert list(triggers.of_user(ANN).values()) == alive
    assert triggers.of_user(BEN) == {}
