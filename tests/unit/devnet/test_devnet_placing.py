"""Reduce-only, triggers, take profit and stop, modification, refusals: worked by hand.

Numbers of orders are their oids: the first one placed is 1.
"""

from typing import Any

import pytest
from test_devnet_matching import ANN, BEN, CAT, DAN, Pit

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
from sidecar.devnet.execution.orders import ALO, GTC, IOC, MARKET
from sidecar.devnet.execution.refusals import ActionRefused, Refusal, Refused
from sidecar.fixed import parse
from sidecar.node.transitions import ASK, BID, OrderStatus, Trigger

MARK = "3000"


@pytest.fixture
def pit() -> Pit:
    """An empty book, oracle and mark at 3000."""
    return Pit()


def order(
    user: bytes,
    side: int,
    sz: str,
    px: str,
    tif: str = GTC,
    *,
    reduce_only: bool = False,
    cloid: bytes | None = None,
    trigger: TriggerSpec | None = None,
) -> Place:
    return Place(user, 0, side, parse(px), parse(sz), tif, cloid, reduce_only, trigger)


def stop(side: int, sz: str, at: str, worst: str, *, user: bytes = ANN, tpsl: str = "sl") -> Place:
    """A market order that waits, and only reduces."""
    spec = TriggerSpec(parse(at), True, tpsl)
    return order(user, side, sz, worst, reduce_only=True, trigger=spec)


def profit(side: int, sz: str, at: str, *, user: bytes = ANN) -> Place:
    """A limit order at its trigger price that waits, and only reduces."""
    return order(user, side, sz, at, reduce_only=True, trigger=TriggerSpec(parse(at), False, "tp"))


def trade(pit: Pit, buyer: bytes, seller: bytes, sz: str, px: str = MARK) -> None:
    """A trade of two resting strangers; two oids."""
    pit.do(order(seller, ASK, sz, px))
    pit.do(order(buyer, BID, sz, px))


def refusal(pit: Pit, action: Any) -> Refusal | None:
    return pit.do(action)


# Reduce-only


def test_reduce_only_is_clipped_to_the_position(pit: Pit) -> None:
    trade(pit, ANN, BEN, "5")
    assert pit.do(order(ANN, ASK, "8", "3010", reduce_only=True)) is None
    assert pit.said() == ["3 open 8", "3 added 5"]


def test_reduce_only_taker_is_clipped(pit: Pit) -> None:
    trade(pit, ANN, BEN, "5")
    pit.do(order(CAT, BID, "9", "2990"))
    outcome = pit.outcome(order(ANN, ASK, "8", "2990", IOC, reduce_only=True))
    assert outcome == Filled(4, None, parse("5"), parse("14950"))  # 5 * 2990
    assert pit.said() == ["4 open 8", "fill 3/4 5@2990", "3 changed 4", "4 filled 0"]
    assert pit.position(ANN) == "0"


@pytest.mark.parametrize(("side", "held"), [(BID, "5"), (ASK, None), (BID, None)])
def test_reduce_only_with_nothing_to_reduce(pit: Pit, side: int, held: str | None) -> None:
    if held is not None:
        trade(pit, ANN, BEN, held)
    assert pit.do(order(ANN, side, "1", "3000", reduce_only=True)) is Refusal.REDUCE_ONLY
    assert pit.said()[-1].endswith("reduceOnlyRejected 1")


def test_resting_reduce_only_orders_follow_the_position(pit: Pit) -> None:
    """Long 5, resting 4 and 3 to reduce. Selling 3 leaves 2: both shrink to 2; selling 3 more
    turns the position: both go.
    """
    trade(pit, ANN, BEN, "5")
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
    trade(pit, ANN, BEN, "5")
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


def test_dust_may_be_closed_whatever_its_worth(pit: Pit) -> None:
    """0.2 at 3000 is 600 yen: too little to open, not too little to close."""
    trade(pit, ANN, BEN, "1")
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


def test_a_taker_without_margin_stops(pit: Pit) -> None:
    """At 1x, with 40,000 yen and the mark at 3000: buying 10 at 3000 leaves 40,000 - 13.5; 3 more
    at 4000 would leave 39,986.5 - 3 * 1000 - 5.4 = 36,981.1, less than 13 * 3000 = 39,000.
    """
    pit.do(order(BEN, ASK, "10", "3000"))
    pit.do(order(BEN, ASK, "3", "4000"))
    pit.do(UpdateLeverage(DAN, 0, 1, True))
    pit.do(Withdraw(DAN, parse("9960000")))
    outcome = pit.outcome(order(DAN, BID, "13", "4000"))
    assert outcome == Filled(3, None, parse("10"), parse("30000"))
    assert pit.said()[-2:] == ["1 filled 0", "3 marginCanceled 3"]


# Refusals


@pytest.mark.parametrize(
    ("place", "status", "message"),
    [
        (order(ANN, BID, "1", "3000.05"), "tickRejected", "Price must be divisible by tick size."),
        (order(ANN, BID, "1", "0"), "rejected", "Order has invalid price."),
        (order(ANN, BID, "0", "3000"), "rejected", "Order has zero size."),
        (order(ANN, BID, "0.001", "3000"), "rejected", "Order has invalid size."),
        (
            order(ANN, BID, "0.33", "3000"),
            "minTradeNtlRejected",
            "Order must have minimum value of 1000 JPY.",
        ),
        (
            order(ANN, ASK, "1", "2990", ALO),
            "badAloPxRejected",
            "Post only order would have immediately matched, bbo was 2990@none.",
        ),
        (
            order(ANN, BID, "1", "2990", IOC),
            "iocCancelRejected",
            "Order could not immediately match against any resting orders.",
        ),
        (
            order(ANN, BID, "1", "2990", MARKET),
            "marketOrderNoLiquidityRejected",
            "No liquidity available for market order.",
        ),
        (order(ANN, ASK, "1", "5400.1"), "oracleRejected", "Order price too far from oracle"),
        (order(ANN, BID, "2", "599"), "oracleRejected", "Order price too far from oracle"),
        (
            order(ANN, BID, "1000000", "3000"),
            "perpMarginRejected",
            "Insufficient margin to place order.",
        ),
        (
            stop(ASK, "1", "2990", "2000"),
            "reduceOnlyRejected",
            "Reduce only order would increase position.",
        ),
        (
            order(ANN, ASK, "1", "2000", trigger=TriggerSpec(parse("3000"), True, "sl")),
            "badTriggerPxRejected",
            "Invalid TP/SL price.",
        ),
        (
            order(ANN, ASK, "1", "3000", trigger=TriggerSpec(parse("3000"), True, "tp")),
            "badTriggerPxRejected",
            "Invalid TP/SL price.",
        ),
        (
            order(ANN, ASK, "1", "2000", trigger=TriggerSpec(parse("2990.05"), True, "sl")),
            "badTriggerPxRejected",
            "Invalid TP/SL price.",
        ),
    ],
)
def test_every_refusal_in_its_words(pit: Pit, place: Place, status: str, message: str) -> None:
    pit.do(order(BEN, BID, "1", "2990"))
    outcome = pit.outcome(place)
    assert isinstance(outcome, Refused)
    assert outcome.message == message
    (said,) = pit.out
    assert isinstance(said, OrderStatus)
    assert (said.status, said.hash) == (status, None)


def test_both_sides_of_the_bbo_are_told(pit: Pit) -> None:
    pit.do(order(BEN, BID, "1", "2999.5"))
    pit.do(order(BEN, ASK, "1", "3000"))
    outcome = pit.outcome(order(ANN, BID, "1", "3000", ALO))
    assert isinstance(outcome, Refused)
    assert outcome.message.endswith("bbo was 2999.5@3000.")


def test_leverage_that_no_tier_allows_for_so_much(pit: Pit) -> None:
    """At 50x up to 3 billion: 1,000,000 at 3000 is just that, and takes 60 million of margin."""
    pit.exchange.clearing.account(ANN).balance = parse("100000000")
    pit.do(UpdateLeverage(ANN, 0, 50, True))
    big = order(ANN, BID, "1000000", "3000")
    assert pit.do(big) is Refusal.MAX_POSITION
    assert pit.do(order(ANN, BID, "999999", "3000")) is None


def test_so_many_orders_and_no_more(pit: Pit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.devnet.execution.entry.DEVNET_OPEN_ORDERS_MAX", 2)
    trade(pit, ANN, BEN, "1")
    pit.do(order(ANN, BID, "1", "2990"))
    pit.do(stop(ASK, "1", "2900", "2000"))
    assert pit.do(order(ANN, BID, "1", "2990")) is Refusal.TOO_MANY_ORDERS
    assert pit.do(Modify(ANN, 3, order(ANN, BID, "1", "2980"))) is None
    pit.do(Cancel(ANN, 0, 4))
    assert pit.do(order(ANN, BID, "1", "2990")) is None


# Stops and take profits


def test_a_stop_waits_for_the_mark_alone(pit: Pit) -> None:
    trade(pit, ANN, BEN, "5")
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
    trade(pit, *((ANN, BEN) if position == BID else (BEN, ANN)), "5")
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
    trade(pit, ANN, BEN, "5")
    pit.do(profit(ASK, "5", "3100"))
    pit.mark("3100")
    assert pit.said() == ["3 triggered 5", "3 added 5"]
    resting = pit.exchange.books[0].orders[3].opened
    assert (resting.tif, resting.trigger) == ("Gtc", Trigger(0, "Triggered", waiting=False))
    assert pit.outcome(Cancel(ANN, 0, 3)) is DONE


def test_the_oldest_triggers_first(pit: Pit) -> None:
    trade(pit, ANN, BEN, "4")
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
    trade(pit, ANN, BEN, "5")
    pit.do(stop(ASK, "5", "2950", "2800"))
    if position is None:
        trade(pit, BEN, ANN, "5")
    if liquidity is not None:
        pit.do(order(CAT, BID, "9", liquidity))
    pit.mark("2900")
    assert pit.said() == ["3 triggered 5", f"3 {status}"]


# An order with its take profit and stop


def bracket(parent: Place) -> PlaceGroup:
    side = 1 - parent.side
    at = ("3100", "2900") if side == ASK else ("2900", "3100")
    worst = "2700" if side == ASK else "3300"
    return PlaceGroup(
        ANN, (parent, profit(side, "5", at[0]), stop(side, "5", at[1], worst)), NORMAL_TPSL
    )


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
    trade(pit, ANN, BEN, "5")
    orders = (
        stop(ASK, "0", "3100", "2700", tpsl="tp"),
        stop(ASK, "0", "2900", "2700"),
    )
    outcomes = pit.outcomes(PlaceGroup(ANN, orders, POSITION_TPSL))
    assert outcomes == [Attached(3, for_fill=False), Attached(4, for_fill=False)]


def test_the_whole_position_whatever_it_is_by_then(pit: Pit) -> None:
    cover(pit)
    assert pit.said() == ["3 open 0", "4 open 0"]
    trade(pit, ANN, BEN, "2")
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
    trade(pit, BEN, ANN, "4")
    assert pit.position(ANN) == "1"
    assert len(pit.exchange.matching.triggers[0].orders) == 2
    trade(pit, BEN, ANN, "2")  # turns it
    assert [said for said in pit.said() if "reduceOnly" in said] == [
        "3 reduceOnlyCanceled 0",
        "4 reduceOnlyCanceled 0",
    ]


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


def test_scheduled_cancel(pit: Pit) -> None:
    trade(pit, ANN, BEN, "1")
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
