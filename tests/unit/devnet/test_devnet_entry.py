"""Every refusal in its words, and how far each rule goes: worked by hand."""

import pytest

from exchange_case import ANN, BEN, Pit, bracket, order, stop
from sidecar.devnet.execution.actions import Cancel, Modify, Place, TriggerSpec, UpdateLeverage
from sidecar.devnet.execution.orders import ALO, IOC, MARKET
from sidecar.devnet.execution.refusals import REFUSED, Refusal, Refused
from sidecar.fixed import parse, to_text
from sidecar.node.transitions import ASK, BID, OrderStatus


@pytest.fixture
def pit() -> Pit:
    """An empty book, oracle and mark at 3000."""
    return Pit()


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
    assert pit.outcome(big) == Refused(
        Refusal.MAX_POSITION,
        "Order would cause position to exceed margin tier limit at current leverage",
    )
    assert pit.said() == ["1 perpMaxPositionRejected 1000000"]
    assert pit.do(order(ANN, BID, "999999", "3000")) is None


def test_so_many_orders_and_no_more(pit: Pit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.devnet.execution.entry.DEVNET_OPEN_ORDERS_MAX", 2)
    pit.trade(ANN, BEN, "1")
    pit.do(order(ANN, BID, "1", "2990"))
    pit.do(stop(ASK, "1", "2900", "2000"))
    refused = pit.outcome(order(ANN, BID, "1", "2990"))
    assert refused == Refused(Refusal.TOO_MANY_ORDERS, "Too many open orders.")
    assert pit.said() == ["5 tooManyOpenOrdersRejected 1"]
    assert pit.do(Modify(ANN, 3, order(ANN, BID, "1", "2980"))) is None
    pit.do(Cancel(ANN, 0, 4))
    assert pit.do(order(ANN, BID, "1", "2990")) is None


def test_an_order_takes_the_room_of_its_take_profit_and_stop(
    pit: Pit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for 2: the parent and one child; for 3 there is none."""
    monkeypatch.setattr("sidecar.devnet.execution.entry.DEVNET_OPEN_ORDERS_MAX", 2)
    pit.outcomes(bracket(order(ANN, BID, "5", "2990")))
    assert pit.exchange.matching.open.count_of(ANN) <= 2


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Cancel(ANN, 0, 7), "Order was never placed, already canceled, or filled."),
        (Modify(ANN, 7, order(ANN, BID, "1", "2990")), "Cannot modify canceled or filled order"),
    ],
)
def test_what_is_not_there(pit: Pit, action: Cancel | Modify, message: str) -> None:
    outcome = pit.outcome(action)
    assert isinstance(outcome, Refused)
    assert outcome.message == message
    assert pit.said() == []


def test_one_of_every_kind() -> None:
    """So that a new one is worked by hand too."""
    assert len(REFUSED) == len(Refusal) == 16


@pytest.mark.parametrize(
    ("place", "refusal"),
    [
        (order(ANN, ASK, "1", "5400"), None),  # 3000 + 80%
        (order(ANN, ASK, "1", "5401"), Refusal.ORACLE),
        (order(ANN, BID, "2", "600"), None),  # 3000 - 80%
        (order(ANN, BID, "2", "599.9"), Refusal.ORACLE),
        (order(ANN, BID, "0.5", "2000"), None),  # 1000 yen
        (order(ANN, BID, "0.33", "3030"), Refusal.MIN_NOTIONAL),  # 999.9 yen
        (order(ANN, BID, "0.34", "3000"), None),  # 1020 yen
    ],
)
def test_how_far_a_price_and_how_small_an_order(
    pit: Pit, place: Place, refusal: Refusal | None
) -> None:
    assert pit.do(place) is refusal


@pytest.mark.parametrize("side", [BID, ASK])
@pytest.mark.parametrize("px", ["2900", "3100"])
def test_margin_and_fee_at_the_mark(pit: Pit, side: int, px: str) -> None:
    """At 20x and a mark of 3000, one takes 150 yen and a fee of 4.5 bp, 1.35 yen:
    10,000,000 / 151.35 = 66,072.0185, whatever the order's own price.
    """
    assert pit.do(order(ANN, side, "66072.02", px)) is Refusal.MARGIN
    assert pit.do(order(ANN, side, "66072.01", px)) is None


def test_a_turn_needs_margin_for_what_is_new(pit: Pit) -> None:
    """From 10 long to 66,071 short: value 10,000,000 - 13.5 paid for the 10, at the mark, less the
    fee, 66,081 * 1.35 = 89,209.35; that leaves 9,910,777.15 for 66,071 * 150 = 9,910,650, and not
    for 150 more with its fee.
    """
    pit.trade(ANN, BEN, "10")
    assert pit.do(order(ANN, ASK, "66082", "3100")) is Refusal.MARGIN
    assert pit.do(order(ANN, ASK, "66081", "3100")) is None


def test_the_size_of_a_side_fits_63_bits(pit: Pit) -> None:
    """2^63 - 1 units are 92,233,720,368.54775807: alone its margin is asked for, behind another
    order there is no room.
    """
    big = order(ANN, BID, "92233720368.54", "2990")
    assert pit.do(big) is Refusal.MARGIN
    pit.do(order(BEN, BID, "1", "2990"))
    assert pit.do(big) is Refusal.SIZE
    assert pit.do(order(ANN, ASK, "92233720368.54", "3010")) is Refusal.MARGIN  # the other side


@pytest.mark.parametrize(
    ("bid", "ask", "bbo"),
    [
        ("2999.5", None, "2999.5@none"),
        (None, "3000", "none@3000"),
        ("2999", "3000.1", "2999@3000.1"),
    ],
)
def test_the_bbo_as_it_is_told(pit: Pit, bid: str | None, ask: str | None, bbo: str) -> None:
    for side, px in ((BID, bid), (ASK, ask)):
        if px is not None:
            pit.place(BEN, side, "1", px)
    crossing = order(ANN, ASK, "1", bid, ALO) if bid else order(ANN, BID, "1", str(ask), ALO)
    outcome = pit.outcome(crossing)
    assert isinstance(outcome, Refused)
    assert outcome.message == (f"Post only order would have immediately matched, bbo was {bbo}.")


def test_a_trigger_may_be_for_the_whole_position_a_plain_order_not(pit: Pit) -> None:
    pit.trade(ANN, BEN, "5")
    assert pit.do(stop(ASK, "0", "2900", "2700")) is None
    assert pit.do(order(ANN, ASK, "0", "3100", reduce_only=True)) is Refusal.SIZE_ZERO
    entry = order(ANN, BID, "0", "3100", trigger=TriggerSpec(parse("3100"), True, "sl"))
    assert pit.do(entry) is Refusal.SIZE_ZERO


def test_what_only_reduces_needs_no_margin(pit: Pit) -> None:
    """Ann, long 60,000 at 3000, has 9,919,000 yen after the fee of 81,000. At a mark of 2850 she
    is at 919,000 with 8,550,000 of initial margin: nothing more to buy, but all to sell.
    """
    pit.trade(ANN, BEN, "60000")
    pit.mark("2850")
    value = pit.exchange.clearing.account_value(pit.exchange.clearing.account(ANN))
    assert to_text(value) == "919000.0"
    assert pit.do(order(ANN, BID, "1", "2840")) is Refusal.MARGIN
    assert pit.do(order(ANN, ASK, "60000", "2860")) is None
    assert pit.do(order(ANN, ASK, "60001", "2860", reduce_only=True)) is None
