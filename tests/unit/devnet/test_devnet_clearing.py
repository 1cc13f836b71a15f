"""Positions, closed PnL and fees, worked by hand and as sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.clearing import MAKER_FEE, TAKER_FEE, Clearing
from sidecar.fixed import SCALE, parse
from sidecar.node.transitions import ASK, BID, Leg

USER = b"u" * 20


def trade(clearing: Clearing, side: int, sz: str, px: str, fee_rate: int = TAKER_FEE) -> Leg:
    return clearing.leg(
        USER, 1, None, market=0, side=side, px=parse(px), sz=parse(sz), fee_rate=fee_rate
    )


def test_a_position_through_its_life() -> None:
    clearing = Clearing()
    steps = [
        # side, sz, px -> start, closed PnL, label
        (BID, "10", "3000", "0", "0", "Open Long"),
        (BID, "10", "3100", "10", "0", "Open Long"),  # average 3050
        (ASK, "5", "3070", "20", "100", "Close Long"),  # 5 * 20
        (ASK, "15", "3000", "15", "-750", "Close Long"),  # 15 * -50, flat
        (ASK, "4", "3000", "0", "0", "Open Short"),
        (ASK, "4", "2900", "-4", "0", "Open Short"),  # average 2950
        (BID, "2", "2900", "-8", "100", "Close Short"),  # 2 * 50
        (BID, "10", "2940", "-6", "60", "Short > Long"),  # 6 * 10, then 4 long at 2940
        (ASK, "5", "2950", "4", "40", "Long > Short"),  # 4 * 10, then 1 short at 2950
        (BID, "1", "3000", "-1", "-50", "Close Short"),
    ]
    for side, sz, px, start, closed_pnl, label in steps:
        leg = trade(clearing, side, sz, px)
        assert (leg.start_position, leg.closed_pnl) == (parse(start), parse(closed_pnl))
        assert leg.direction == label
    assert clearing.position(USER, 0) == 0
    assert clearing.positions(0) == {}


@pytest.mark.parametrize(
    ("rate", "sz", "px", "fee"),
    [
        (TAKER_FEE, "10", "3000", "13.5"),  # 30,000 * 0.00045
        (MAKER_FEE, "10", "3000", "4.5"),  # 30,000 * 0.00015
        (TAKER_FEE, "0.1", "159.97", "0.00719865"),
        (MAKER_FEE, "0.00000001", "1", "0"),  # rounded down
    ],
)
def test_fees(rate: int, sz: str, px: str, fee: str) -> None:
    leg = trade(Clearing(), BID, sz, px, rate)
    assert leg.fee == parse(fee)
    assert leg.fee_token == "JPY"


def test_the_average_price_is_not_rounded_on_the_way() -> None:
    """1 at 1.0 and 2 at 1.00000001: the average is 1.00000000666...; what is paid comes back."""
    clearing = Clearing()
    trade(clearing, BID, "1", "1.0")
    trade(clearing, BID, "2", "1.00000001")
    pnls = [trade(clearing, ASK, "1", "2.0").closed_pnl for _ in range(3)]
    assert pnls == [99999999, 99999999, 99999999]  # 0.99999999333..., each rounded toward zero
    assert clearing.position(USER, 0) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from((BID, ASK)), st.integers(1, 10**12), st.integers(1, 10**13)),
        max_size=30,
    ),
    st.integers(1, 10**13),
)
def test_what_is_closed_is_what_was_paid(trades: list[tuple[int, int, int]], last_px: int) -> None:
    """Over a life from flat to flat, closed PnL is money in less money out, but for roundings."""
    clearing, money, pnl, position = Clearing(), 0, 0, 0
    signed_sizes = [(sz if side == BID else -sz, px) for side, sz, px in trades]
    signed_sizes.append((-sum(sz for sz, _ in signed_sizes), last_px))  # close what is open
    for signed, px in signed_sizes:
        if not signed:
            continue
        side, sz = (BID if signed > 0 else ASK), abs(signed)
        leg = clearing.leg(USER, 1, None, market=0, side=side, px=px, sz=sz, fee_rate=TAKER_FEE)
        assert leg.start_position == position
        position += signed
        money -= signed * px
        pnl += leg.closed_pnl
    assert clearing.position(USER, 0) == 0
    assert abs(pnl * SCALE - money) < (len(trades) + 1) * SCALE
