"""Reduce-only, take profit and stop of an order and of a position, modification: worked by hand.

Numbers of orders are their oids: the first one placed is 1.
"""

import pytest

from exchange_case import ANN, BEN, CAT, DAN, Pit, bracket, order, profit, stop
from sidecar.devnet.execution.actions import (
    DONE,
    NORMAL_TPSL,
    POSITION_TPSL,
    Attached,
    Cancel,
    CancelByCloid,
    Filled,
    Modify,
    Place,
    PlaceGroup,
    Rested,
    ScheduleCancel,
    TriggerSpec,
    UpdateLeverage,
    Withdraw,
)
from sidecar.devnet.execution.orders import ALO, IOC, MARKET
from sidecar.devnet.execution.refusals import REFUSED, ActionRefused, Refusal, Refused
from sidecar.fixed import parse
from sidecar.node.transitions import ASK, BID


@pytest.fixture
def pit() -> Pit:
    """An empty book, oracle and mark at 3000."""
    return Pit()


# Reduce-only


def test_reduce_only_is_clipped_to_the_position(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    assert pit.do(order(ANN, ASK, "8", "3010", reduce_only=True)) is None
    assert pit.said() == ["3 open 8", "3 added 5"]


def test_reduce_only_taker_is_clipped(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(order(CAT, BID, "9", "2990"))
    outcome = pit.outcome(order(ANN, ASK, "8", "2990", IOC, reduce_only=True))
    assert outcome == Filled(4, None, parse("5"), parse("14950"))  # 5 * 2990
    assert pit.said() == ["4 open 8", "fill 3/4 5@2990", "3 changed 4", "4 filled 0"]
    assert pit.position(ANN) == "0"


@pytest.mark.parametrize(("side", "held"), [(BID, "5"), (ASK, None), (BID, None)])
def test_reduce_only_with_nothing_to_reduce(pit: Pit, side: int, held: str | None) -> None:
    if held is not None:
        pit.trade(ANN, BEN, held)
    assert pit.do(order(ANN, side, "1", "3000", reduce_only=True)) is Refusal.REDUCE_ONLY
    assert pit.said()[-1].endswith("reduceOnlyRejected 1")


def test_resting_reduce_only_orders_follow_the_position(pit: Pit) -> None:
    """Long 5, resting 4 and 3 to reduce. Selling 3 leaves 2: both shrink to 2; selling 3 more
    turns the position: both go.
    """
    pit.trade(ANN, BEN, "5")
    pit.do(order(ANN, ASK, "4", "3010", reduce_only=True))
    pit.do(order(ANN, ASK, "3", "3020", reduce_only=True))
    pit.do(order(CAT, BID, "9", "2990"))
    pit.do(order(ANN, ASK, "3", "2990", IOC))
    assert pit.said() == [
        "6 open 3",
        "fill 5/6 3@2990",
        "5 changed 6",
        "3 changed 2",
        "4 changed 2",
        "6 filled 0",
    ]
    pit.do(order(ANN, ASK, "3", "2990", IOC))
    assert pit.said()[3:] == [
        "3 removed",
        "3 reduceOnlyCanceled 2",
        "4 removed",
        "4 reduceOnlyCanceled 2",
        "7 filled 0",
    ]
    assert pit.position(ANN) == "-1"


def test_one_fill_of_a_reduce_only_maker_shrinks_the_others(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(order(ANN, ASK, "5", "3010", reduce_only=True))
    pit.do(order(ANN, ASK, "5", "3020", reduce_only=True))
    pit.do(order(CAT, BID, "7", "3020", IOC))
    assert pit.said() == [
        "5 open 7",
        "fill 5/3 5@3010",
        "3 changed 0",
        "3 removed",
        "3 filled 0",
        "4 removed",
        "4 reduceOnlyCanceled 5",  # before it could open a short
        "5 canceled 2",
    ]


def test_several_bids_that_reduce_a_short_go_with_it(pit: Pit) -> None:
    pit.trade(BEN, ANN, "5")
    pit.do(order(ANN, BID, "4", "2990", reduce_only=True))
    pit.do(order(ANN, BID, "9", "2980", reduce_only=True))
    assert pit.said() == ["4 open 9", "4 added 5"]
    pit.do(order(CAT, ASK, "9", "3010"))
    pit.do(order(ANN, BID, "2", "3010", IOC))
    assert pit.said()[3:] == ["3 changed 3", "4 changed 3", "6 filled 0"]
    pit.do(order(ANN, BID, "3", "3010", IOC))
    assert pit.said()[3:] == [
        "3 removed",
        "3 reduceOnlyCanceled 3",
        "4 removed",
        "4 reduceOnlyCanceled 3",
        "7 filled 0",
    ]


def test_a_part_of_a_reduce_only_maker_shrinks_the_others(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(order(ANN, ASK, "5", "3010", reduce_only=True))
    pit.do(order(ANN, ASK, "5", "3020", reduce_only=True))
    pit.do(order(CAT, BID, "2", "3010"))
    assert pit.said()[2:] == ["3 changed 3", "4 changed 3", "5 filled 0"]
    pit.trade(ANN, DAN, "2", "3005")
    assert pit.resting(ASK) == [(3, parse("3")), (4, parse("3"))]  # they never grow


def test_dust_may_be_closed_whatever_its_worth(pit: Pit) -> None:
    """0.2 at 3000 is 600 yen: too little to open, not too little to close."""
    pit.trade(ANN, BEN, "1")
    pit.do(order(CAT, BID, "9", "2990"))
    pit.do(order(ANN, ASK, "0.8", "2990", IOC))
    assert pit.do(order(ANN, ASK, "0.2", "2990", IOC)) is Refusal.MIN_NOTIONAL
    assert pit.do(order(ANN, ASK, "0.1", "2990", IOC, reduce_only=True)) is Refusal.MIN_NOTIONAL
    assert pit.do(order(ANN, ASK, "0.2", "2990", IOC, reduce_only=True)) is None


# Margin at the match


def test_a_maker_without_margin_gives_way(pit: Pit) -> None:
    """Dan rests with 10 million, then takes all but 1 yen away."""
    pit.do(order(DAN, ASK, "100", "3000"))
    pit.do(order(BEN, ASK, "100", "3000"))
    pit.do(Withdraw(DAN, parse("9999999")))
    pit.do(order(CAT, BID, "50", "3000"))
    assert pit.said() == [
        "3 open 50",
        "1 removed",
        "1 marginCanceled 100",
        "fill 3/2 50@3000",
        "2 changed 50",
        "3 filled 0",
    ]


@pytest.mark.parametrize("tif", ["Gtc", IOC, MARKET])
def test_a_taker_without_margin_stops(pit: Pit, tif: str) -> None:
    """At 1x, with 40,000 yen and the mark at 3000: buying 10 at 3000 leaves 40,000 - 13.5; 3 more
    at 4000 would leave 39,986.5 - 3 * 1000 - 5.4 = 36,981.1, less than 13 * 3000 = 39,000.
    """
    pit.do(order(BEN, ASK, "10", "3000"))
    pit.do(order(BEN, ASK, "3", "4000"))
    pit.do(UpdateLeverage(DAN, 0, 1, True))
    pit.do(Withdraw(DAN, parse("9960000")))
    outcome = pit.outcome(order(DAN, BID, "13", "4000", tif))
    assert outcome == Filled(3, None, parse("10"), parse("30000"))
    assert pit.said()[-2:] == ["1 filled 0", "3 marginCanceled 3"]


# An order with its take profit and stop


def test_children_wait_for_the_fill_then_for_their_price(pit: Pit) -> None:
    outcomes = pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    assert outcomes == [
        Rested(1, None),
        Attached(2, for_fill=True),
        Attached(3, for_fill=True),
    ]
    assert pit.said() == ["1 open 5", "1 added 5"]
    pit.mark("2900")  # a waiting child is not woken
    assert pit.said() == []
    pit.mark("3000")
    pit.do(order(CAT, ASK, "2", "2990"))
    assert pit.said() == ["4 open 2", "fill 1/4 2@2990", "1 changed 3", "4 filled 0"]
    pit.do(order(CAT, ASK, "3", "2990"))
    assert pit.said() == [
        "5 open 3",
        "fill 1/5 3@2990",
        "1 changed 0",
        "1 removed",
        "1 filled 0",
        "2 open 5",
        "3 open 5",
        "5 filled 0",
    ]


def test_children_of_an_order_that_fills_at_once(pit: Pit) -> None:
    pit.do(order(BEN, ASK, "5", "3000"))
    outcomes = pit.outcomes(bracket(order(ANN, BID, "5", "3000", IOC)))
    assert outcomes == [
        Filled(2, None, parse("5"), parse("15000")),
        Attached(3, for_fill=False),
        Attached(4, for_fill=False),
    ]
    assert pit.said()[-3:] == ["2 filled 0", "3 open 5", "4 open 5"]


def test_the_stop_is_filled_and_the_take_profit_goes(pit: Pit) -> None:
    pit.do(order(BEN, ASK, "5", "3000"))
    pit.outcomes(bracket(order(ANN, BID, "5", "3000", IOC)))
    pit.do(order(CAT, BID, "9", "2890"))
    pit.mark("2900")
    assert pit.said() == [
        "4 triggered 5",
        "fill 5/4 5@2890",
        "5 changed 4",
        "4 filled 0",
        "3 siblingFilledCanceled 5",
    ]


def test_the_take_profit_rests_then_fills_and_the_stop_goes(pit: Pit) -> None:
    pit.do(order(BEN, ASK, "5", "3000"))
    pit.outcomes(bracket(order(ANN, BID, "5", "3000", IOC)))
    pit.mark("3100")
    assert pit.said() == ["3 triggered 5", "3 added 5"]
    pit.do(order(CAT, BID, "2", "3100"))
    assert pit.said()[-1] == "5 filled 0"  # a part of it: the stop stays
    pit.do(order(CAT, BID, "3", "3100"))
    assert pit.said() == [
        "6 open 3",
        "fill 6/3 3@3100",
        "3 changed 0",
        "3 removed",
        "3 filled 0",
        "4 siblingFilledCanceled 5",
        "6 filled 0",
    ]


def test_children_are_cancelled_with_their_parent(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.do(order(CAT, ASK, "2", "2990"))
    pit.do(Cancel(ANN, 0, 1))
    assert pit.said() == ["1 removed", "1 canceled 3"]  # the children were never open
    assert not pit.exchange.matching.triggers[0].orders


def test_children_of_a_parent_that_lost_its_margin_halfway_live(pit: Pit) -> None:
    """At 1x, 5 at 3000 take 15,000: with 12,000 there is margin for a fill of 2, not of 3 more."""
    pit.do(UpdateLeverage(ANN, 0, 1, True))
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.do(Withdraw(ANN, parse("9988000")))
    pit.do(order(CAT, ASK, "2", "2990"))
    pit.do(order(CAT, ASK, "3", "2990"))
    assert pit.said() == [
        "5 open 3",
        "1 removed",
        "1 marginCanceled 3",
        "2 open 5",
        "3 open 5",
        "5 added 3",
    ]


def test_a_short_and_its_stop(pit: Pit) -> None:
    pit.do(order(BEN, BID, "5", "3000"))
    pit.outcomes(bracket(order(ANN, ASK, "5", "3000", MARKET)))
    assert pit.said()[-3:] == ["2 filled 0", "3 open 5", "4 open 5"]
    pit.do(order(CAT, ASK, "5", "3110"))
    pit.mark("3100")
    assert pit.said() == [
        "4 triggered 5",
        "fill 4/5 5@3110",
        "5 changed 0",
        "5 removed",
        "5 filled 0",
        "4 filled 0",
        "3 siblingFilledCanceled 5",
    ]


@pytest.mark.parametrize("tif", [IOC, MARKET])
def test_a_parent_that_fills_in_part_and_never_rests_has_no_children(pit: Pit, tif: str) -> None:
    pit.do(order(BEN, ASK, "2", "3000"))
    pit.outcomes(bracket(order(ANN, BID, "5", "3000", tif)))
    assert pit.said()[-2:] == ["1 filled 0", "2 canceled 3"]
    assert pit.waiting() == []


def test_children_of_a_parent_that_met_its_owner_go(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.do(order(BEN, BID, "1", "2980"))
    pit.do(order(ANN, ASK, "1", "2980", IOC))
    assert pit.said()[:3] == ["5 open 1", "1 removed", "1 selfTradeCanceled 5"]
    assert pit.waiting() == []


def test_children_of_a_parent_that_never_had_its_margin_go(pit: Pit) -> None:
    """At 1x, with 5,000 yen: 3 at a mark of 3000 take 9,000."""
    pit.do(UpdateLeverage(ANN, 0, 1, True))
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.do(Withdraw(ANN, parse("9995000")))
    pit.do(order(CAT, ASK, "3", "2990"))
    assert pit.said() == ["4 open 3", "1 removed", "1 marginCanceled 5", "4 added 3"]
    assert pit.waiting() == []


def test_one_child_is_refused_and_the_other_lives(pit: Pit) -> None:
    orders = (
        order(ANN, BID, "5", "2990"),
        profit(ASK, "5", "3100.05"),
        stop(ASK, "5", "2900", "1"),
    )
    assert pit.outcomes(PlaceGroup(ANN, orders, NORMAL_TPSL)) == [
        Rested(1, None),
        REFUSED[Refusal.TICK],
        Attached(3, for_fill=True),
    ]
    assert pit.said() == ["2 tickRejected 5", "1 open 5", "1 added 5"]
    pit.do(order(CAT, ASK, "5", "2990"))
    assert pit.said()[-2:] == ["3 open 5", "4 filled 0"]


def test_a_child_that_is_taken_back_never_was_open(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    assert pit.outcome(Cancel(ANN, 0, 2)) is DONE
    assert pit.said() == []
    pit.do(order(CAT, ASK, "5", "2990"))
    assert pit.said()[-2:] == ["3 open 5", "4 filled 0"]


def test_a_child_whose_price_went_by_triggers_at_the_next_marks(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.mark("2900")
    pit.do(order(CAT, ASK, "5", "2990"))
    assert pit.waiting() == [2, 3]
    pit.do(order(CAT, BID, "5", "2890"))
    pit.mark("2899")
    assert pit.said()[0] == "3 triggered 5"
    assert pit.said()[-1] == "2 siblingFilledCanceled 5"


def test_a_refused_parent_has_no_children(pit: Pit) -> None:
    outcomes = pit.outcomes(bracket(order(ANN, BID, "5", "2990.05")))
    assert isinstance(outcomes, list)
    assert [one.refusal for one in outcomes if isinstance(one, Refused)] == [Refusal.TICK] * 3
    assert pit.said() == ["1 tickRejected 5"]


@pytest.mark.parametrize(
    ("orders", "grouping"),
    [
        ((order(ANN, BID, "5", "2990"),), NORMAL_TPSL),
        ((stop(ASK, "5", "2900", "2800"), stop(ASK, "5", "2900", "2800")), NORMAL_TPSL),
        ((order(ANN, BID, "5", "2990"), stop(BID, "5", "2900", "2800")), NORMAL_TPSL),
        ((order(ANN, BID, "5", "2990"), order(ANN, ASK, "5", "3100")), NORMAL_TPSL),
        ((order(ANN, BID, "5", "2990"), *[stop(ASK, "5", "2900", "2800")] * 3), NORMAL_TPSL),
        ((order(ANN, BID, "5", "2990"),), POSITION_TPSL),
        ((stop(ASK, "5", "2900", "2800"), stop(BID, "5", "3900", "3950")), POSITION_TPSL),
        ((stop(ASK, "5", "2900", "2800"),) * 3, POSITION_TPSL),
    ],
)
def test_groups_that_make_no_sense_change_nothing(
    pit: Pit, orders: tuple[Place, ...], grouping: str
) -> None:
    with pytest.raises(ActionRefused):
        pit.outcomes(PlaceGroup(ANN, orders, grouping))
    assert pit.said() == []
    assert pit.exchange.matching.open.newest_oid == 0


# Take profit and stop of a position


def cover(pit: Pit) -> None:
    """Ann's long of 5 (oids 1, 2) gets 3 and 4: take profit at 3100, stop at 2900."""
    pit.trade(ANN, BEN, "5")
    orders = (
        stop(ASK, "0", "3100", "2700", tpsl="tp"),
        stop(ASK, "0", "2900", "2700"),
    )
    outcomes = pit.outcomes(PlaceGroup(ANN, orders, POSITION_TPSL))
    assert outcomes == [Attached(3, for_fill=False), Attached(4, for_fill=False)]


def test_the_whole_position_whatever_it_is_by_then(pit: Pit) -> None:
    cover(pit)
    assert pit.said() == ["3 open 0", "4 open 0"]
    pit.trade(ANN, BEN, "2")
    pit.do(order(CAT, BID, "9", "2890"))
    pit.mark("2900")
    assert pit.said() == [
        "4 triggered 0",
        "fill 7/4 7@2890",
        "7 changed 2",
        "3 siblingFilledCanceled 0",
        "4 filled 0",
    ]


def test_they_go_with_the_position(pit: Pit) -> None:
    cover(pit)
    pit.trade(BEN, ANN, "4")
    assert pit.position(ANN) == "1"
    assert len(pit.exchange.matching.triggers[0].orders) == 2
    pit.trade(BEN, ANN, "2")  # turns it
    assert [said for said in pit.said() if "reduceOnly" in said] == [
        "3 reduceOnlyCanceled 0",
        "4 reduceOnlyCanceled 0",
    ]


def limited(pit: Pit) -> None:
    """Likewise, but the take profit is a limit order; it triggered, and rests."""
    pit.trade(ANN, BEN, "5")
    orders = (profit(ASK, "0", "3100"), stop(ASK, "0", "2900", "2700"))
    pit.outcomes(PlaceGroup(ANN, orders, POSITION_TPSL))
    pit.mark("3100")
    assert pit.said() == ["3 triggered 0", "3 added 5"]


def test_the_stop_stays_until_the_take_profit_is_filled_whole(pit: Pit) -> None:
    limited(pit)
    pit.do(order(CAT, BID, "2", "3100"))
    assert pit.said() == ["5 open 2", "fill 5/3 2@3100", "3 changed 3", "5 filled 0"]
    pit.do(order(CAT, BID, "3", "3100"))
    assert pit.said()[2:] == [
        "3 changed 0",
        "3 removed",
        "3 filled 0",
        "4 siblingFilledCanceled 0",
        "6 filled 0",
    ]


def test_both_go_where_the_position_is_closed_by_hand(pit: Pit) -> None:
    limited(pit)
    pit.do(order(CAT, BID, "5", "3090"))
    pit.do(order(ANN, ASK, "5", "3090", IOC))
    assert [said for said in pit.said() if "reduceOnly" in said] == [
        "3 reduceOnlyCanceled 5",
        "4 reduceOnlyCanceled 0",
    ]


def test_one_of_a_positions_two_is_refused(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    orders = (stop(ASK, "0", "3000", "2700", tpsl="tp"), stop(ASK, "0", "2900", "2700"))
    outcomes = pit.outcomes(PlaceGroup(ANN, orders, POSITION_TPSL))
    assert outcomes == [REFUSED[Refusal.TRIGGER_PX], Attached(4, for_fill=False)]
    assert pit.said() == ["3 badTriggerPxRejected 0", "4 open 0"]


def test_no_position_nothing_to_cover(pit: Pit) -> None:
    orders = (stop(ASK, "0", "3100", "2700", tpsl="tp"), stop(ASK, "0", "2900", "2700"))
    outcomes = pit.outcomes(PlaceGroup(ANN, orders, POSITION_TPSL))
    assert outcomes == [REFUSED[Refusal.REDUCE_ONLY]] * 2
    assert pit.waiting() == []


# Modification, cancels


def test_a_modified_order_has_a_new_id_and_joins_the_end(pit: Pit) -> None:
    pit.do(order(ANN, BID, "1", "2990"))
    pit.do(order(BEN, BID, "1", "2990"))
    assert pit.outcome(Modify(ANN, 1, order(ANN, BID, "1", "2990"))) == Rested(3, None)
    assert pit.said() == ["1 removed", "1 canceled 1", "3 open 1", "3 added 1"]
    assert [oid for oid, _ in pit.resting(BID)] == [2, 3]


def test_a_refused_modification_leaves_the_order(pit: Pit) -> None:
    pit.do(order(ANN, BID, "1", "2990"))
    pit.do(order(BEN, ASK, "1", "3010"))
    assert pit.do(Modify(ANN, 1, order(ANN, BID, "1", "3010", ALO))) is Refusal.POST_ONLY
    assert pit.said() == ["3 badAloPxRejected 1"]
    assert pit.resting(BID) == [(1, parse("1"))]
    assert pit.do(Modify(BEN, 1, order(BEN, BID, "1", "2990"))) is Refusal.NOT_MODIFIABLE
    assert pit.do(Modify(ANN, 9, order(ANN, BID, "1", "2990"))) is Refusal.NOT_MODIFIABLE


def test_modification_by_cloid(pit: Pit) -> None:
    pit.do(order(ANN, BID, "1", "2990", cloid=b"x" * 16))
    place = order(ANN, BID, "2", "2980", cloid=b"x" * 16)
    assert pit.outcome(Modify(ANN, b"x" * 16, place)) == Rested(2, b"x" * 16)
    assert pit.outcome(CancelByCloid(ANN, 0, b"x" * 16)) is DONE
    assert pit.do(CancelByCloid(ANN, 0, b"x" * 16)) is Refusal.NO_ORDER


def test_of_two_with_one_cloid_the_newer_is_meant(pit: Pit) -> None:
    for px in ("2990", "2980"):
        pit.do(order(ANN, BID, "1", px, cloid=b"x" * 16))
    pit.do(CancelByCloid(ANN, 0, b"x" * 16))
    assert pit.resting(BID) == [(1, parse("1"))]
    assert pit.do(CancelByCloid(BEN, 0, b"x" * 16)) is Refusal.NO_ORDER  # hers, not his


def test_a_modified_parent_keeps_its_children(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    assert pit.outcome(Modify(ANN, 1, order(ANN, BID, "5", "2995"))) == Rested(4, None)
    assert pit.said() == ["1 removed", "1 canceled 5", "4 open 5", "4 added 5"]
    pit.do(order(CAT, ASK, "5", "2995"))
    assert pit.said()[-3:] == ["2 open 5", "3 open 5", "5 filled 0"]


def test_a_modified_child_keeps_its_place(pit: Pit) -> None:
    """The stop moves up while the parent rests; filled, it is the new one that lives."""
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    assert pit.outcome(Modify(ANN, 3, stop(ASK, "5", "2950", "2700"))) == Rested(4, None)
    assert pit.said() == []  # neither was open
    pit.do(order(CAT, ASK, "5", "2990"))
    assert pit.said()[-3:] == ["2 open 5", "4 open 5", "5 filled 0"]
    pit.do(order(CAT, BID, "5", "2940"))
    pit.mark("2950")
    assert pit.said()[-2:] == ["4 filled 0", "2 siblingFilledCanceled 5"]


def test_a_modified_stop_and_a_modified_take_profit_give_way_to_each_other(pit: Pit) -> None:
    """The stop is modified while it waits, the take profit while it rests; then that is filled."""
    pit.do(order(BEN, ASK, "5", "3000"))
    pit.outcomes(bracket(order(ANN, BID, "5", "3000", IOC)))
    assert pit.outcome(Modify(ANN, 4, stop(ASK, "5", "2950", "2700"))) == Rested(5, None)
    assert pit.said() == ["4 canceled 5", "5 open 5"]
    pit.mark("3100")
    pit.do(Modify(ANN, 3, order(ANN, ASK, "5", "3090", reduce_only=True)))
    assert pit.said() == ["3 removed", "3 canceled 5", "6 open 5", "6 added 5"]
    pit.do(order(CAT, BID, "5", "3090"))
    assert pit.said()[-2:] == ["5 siblingFilledCanceled 5", "7 filled 0"]


def test_a_refused_modification_leaves_a_stop_and_its_sibling(pit: Pit) -> None:
    pit.do(order(BEN, ASK, "5", "3000"))
    pit.outcomes(bracket(order(ANN, BID, "5", "3000", IOC)))
    assert pit.do(Modify(ANN, 4, stop(ASK, "5", "3000", "2700"))) is Refusal.TRIGGER_PX
    assert pit.said() == ["5 badTriggerPxRejected 5"]
    pit.do(order(CAT, BID, "5", "2890"))
    pit.mark("2900")
    assert pit.said()[-2:] == ["4 filled 0", "3 siblingFilledCanceled 5"]


def test_a_child_stays_a_stop_or_take_profit(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    wanted = order(ANN, ASK, "5", "3100")
    assert pit.do(Modify(ANN, 2, wanted)) is Refusal.TRIGGER_PX
    assert pit.waiting() == [2, 3]


def test_a_modified_parent_that_fills_at_once_wakes_its_children(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.do(order(BEN, ASK, "5", "3000"))
    outcome = pit.outcome(Modify(ANN, 1, order(ANN, BID, "5", "3000")))
    assert outcome == Filled(5, None, parse("5"), parse("15000"))
    assert pit.said()[-3:] == ["5 filled 0", "2 open 5", "3 open 5"]


def test_a_modified_order_that_only_reduces_is_clipped_again(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    pit.do(order(ANN, ASK, "2", "3010", reduce_only=True))
    pit.do(Modify(ANN, 3, order(ANN, ASK, "8", "3005", reduce_only=True)))
    assert pit.said() == ["3 removed", "3 canceled 2", "4 open 8", "4 added 5"]


def test_a_waiting_order_is_cancelled_by_cloid(pit: Pit) -> None:
    spec = TriggerSpec(parse("3100"), False, "sl")
    pit.do(order(ANN, BID, "1", "3100", cloid=b"x" * 16, trigger=spec))
    assert pit.do(CancelByCloid(BEN, 0, b"x" * 16)) is Refusal.NO_ORDER
    assert pit.outcome(CancelByCloid(ANN, 0, b"x" * 16)) is DONE
    assert pit.said() == ["1 canceled 1"]


def test_a_cloid_may_be_used_again(pit: Pit) -> None:
    for oid in (1, 2):
        assert pit.outcome(order(ANN, BID, "1", "2990", cloid=b"x" * 16)) == Rested(oid, b"x" * 16)
        assert pit.outcome(CancelByCloid(ANN, 0, b"x" * 16)) is DONE


def test_scheduled_cancel(pit: Pit) -> None:
    pit.trade(ANN, BEN, "1")
    pit.do(order(ANN, BID, "1", "2990"))
    pit.do(stop(ASK, "1", "2900", "2800"))
    now = pit.exchange.tape.time_ns
    with pytest.raises(ActionRefused, match="at least 5 seconds"):
        pit.outcomes(ScheduleCancel(ANN, now + 5 * 10**9 - 1))
    pit.do(ScheduleCancel(ANN, now + 7 * 10**9))
    pit.do(ScheduleCancel(ANN, now + 6 * 10**9))  # takes the place of the first
    pit.do(ScheduleCancel(BEN, now + 6 * 10**9))
    pit.do(ScheduleCancel(BEN, None))
    for later, said in ((6 * 10**9 - 1, 0), (6 * 10**9, 3), (8 * 10**9, 0)):
        pit.out = pit.exchange.begin_block(2, now + later)
        pit.exchange.cancel_scheduled()
        assert len(pit.out) == said
        if said:
            assert pit.said() == ["3 removed", "3 scheduledCancel 1", "4 scheduledCancel 1"]


# What goes by the links while they change


def test_a_parent_is_modified_after_one_of_its_children_was_taken_back(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    pit.do(Cancel(ANN, 0, 2))
    assert pit.outcome(Modify(ANN, 1, order(ANN, BID, "5", "2995"))) == Rested(4, None)
    pit.do(order(CAT, ASK, "5", "2995"))
    assert pit.said()[-2:] == ["3 open 5", "5 filled 0"]


def test_a_child_is_modified_after_its_parent_became_a_stop_twice(pit: Pit) -> None:
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    entry = order(ANN, BID, "5", "3060", trigger=TriggerSpec(parse("3050"), False, "sl"))
    assert pit.outcome(Modify(ANN, 1, entry)) == Rested(4, None)
    assert pit.outcome(Modify(ANN, 4, entry)) == Rested(5, None)
    assert pit.outcome(Modify(ANN, 3, stop(ASK, "5", "2950", "2700"))) == Rested(6, None)
    pit.do(order(BEN, ASK, "5", "3055"))
    pit.mark("3050")
    assert pit.said()[-3:] == ["5 filled 0", "2 open 5", "6 open 5"]


def test_a_take_profit_that_lost_its_margin_untraded_leaves_the_stop(pit: Pit) -> None:
    """Long 2 of the 5 that the take profit is for: it rests with 2. At a mark of 3500 Ann takes
    out all but 10% of the notional, 700 yen; selling 2 at 3100 would cost 2 * 400.
    """
    pit.do(order(BEN, ASK, "5", "3000"))
    pit.outcomes(bracket(order(ANN, BID, "5", "3000", IOC)))
    pit.trade(BEN, ANN, "3")
    pit.mark("3100")
    assert pit.said() == ["3 triggered 5", "3 added 2"]
    pit.mark("3500")
    account = pit.exchange.clearing.account(ANN)
    pit.do(Withdraw(ANN, pit.exchange.clearing.account_value(account) - parse("700")))
    pit.do(order(CAT, BID, "2", "3100"))
    assert pit.said() == ["7 open 2", "3 removed", "3 marginCanceled 2", "7 added 2"]
    assert pit.waiting() == [4]


def test_a_positions_stop_stays_one_whatever_it_is_modified_to(pit: Pit) -> None:
    """On the other side and not only reducing, it would double the position."""
    cover(pit)
    more = order(ANN, BID, "1", "3300", trigger=TriggerSpec(parse("3100"), True, "sl"))
    pit.do(Modify(ANN, 3, more))
    pit.do(order(CAT, ASK, "9", "3100"))
    pit.mark("3100")
    assert pit.position(ANN) in ("5", "6")  # it was refused, or buys the 1 that it says
