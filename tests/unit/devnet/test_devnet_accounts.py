"""Positions worked by hand, and what no series of trades can change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.execution.accounts import Account, Position
from sidecar.devnet.execution.clearing import FEES, NO_FEE, TAKER_FEE, Clearing
from sidecar.devnet.execution.markets import Market
from sidecar.devnet.execution.tape import Tape
from sidecar.fixed import SCALE, parse

ANN, BEN = b"a" * 20, b"b" * 20
# Sizes are multiples of 0.01 and prices of 0.0001: size times price is a whole number of 1e-8.
CROSS = Market(0, "CROSS", 3_000 * SCALE, 2, ((0, 50),))
ISOLATED = Market(1, "ISOLATED", 3_000 * SCALE, 2, ((0, 10),), only_isolated=True)


def trade(position: Position, sz: str, px: str) -> int:
    return position.trade(parse(sz), parse(px))


def test_a_position_through_its_life() -> None:
    position = Position()
    steps = [
        # signed sz, px -> closed PnL, cost
        ("10", "3000", "0", "30000"),
        ("10", "3100", "0", "61000"),  # average 3050
        ("-5", "3070", "100", "45750"),  # 5 * 20; 15 * 3050 stay
        ("-20", "3000", "-750", "15000"),  # 15 * -50, then 5 short at 3000
        ("-5", "2900", "0", "29500"),  # average 2950
        ("4", "2900", "200", "17700"),  # 4 * 50; 6 * 2950 stay
        ("10", "2960", "-60", "11840"),  # 6 * -10, then 4 long at 2960
        ("-4", "2961.5", "6", "0"),  # 4 * 1.5, flat
    ]
    sz = 0
    for signed, px, pnl, cost in steps:
        assert trade(position, signed, px) == parse(pnl)
        sz += parse(signed)
        assert (position.sz, position.cost) == (sz, parse(cost))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_partial_close_rounds_the_cost_down_and_leaves_the_rest(sign: int) -> None:
    """0.03 for 100 units of cost: a third of it is 33 1/3 units. The rest is closed for 67."""
    position = Position(sz=sign * parse("0.03"), cost=100)
    px = 50 * 100  # 0.01 is sold for 50 units
    pnls = [position.trade(-sign * parse("0.01"), px) for _ in range(3)]
    # 100 // 3 = 33 of 100; 67 // 2 = 33 of 67; 34 of 34.
    assert pnls == [sign * (50 - 33), sign * (50 - 33), sign * (50 - 34)]
    assert position == Position()
    assert sum(pnls) == sign * (150 - 100)


def test_unrealised_pnl_of_both_sides() -> None:
    long, short = Position(), Position()
    trade(long, "2", "100")
    trade(short, "-2", "100")
    assert (long.upnl(parse("101.5")), short.upnl(parse("101.5"))) == (parse("3"), parse("-3"))
    assert (long.upnl(parse("99")), short.upnl(parse("99"))) == (parse("-2"), parse("2"))
    assert Position().upnl(parse("99")) == 0


def test_accounts_share_nothing() -> None:
    one, other = Account(ANN), Account(BEN)
    one.positions[0] = Position(sz=5)
    assert other.positions == {}
    assert (one.sz(0), other.sz(0)) == (5, 0)


trades = st.lists(
    st.tuples(
        st.sampled_from((CROSS, ISOLATED)),
        st.integers(-1_000, 1_000).filter(bool).map(lambda lots: lots * CROSS.lot),
        st.integers(1, 10**8).map(lambda px: px * CROSS.grid),
    ),
    max_size=30,
)


@given(trades, st.sampled_from((NO_FEE, TAKER_FEE)))
def test_trades_between_two_accounts_conserve_what_they_own(
    series: list[tuple[Market, int, int]], fee: int
) -> None:
    clearing = Clearing(Tape("test"), (CROSS, ISOLATED))
    for market, sz, px in series:
        clearing.leg(ANN, 1, None, market.id, sz, px, fee)
        clearing.leg(BEN, 2, None, market.id, -sz, px, fee)
        owned = 0
        for user in (ANN, BEN, FEES):
            account = clearing.account(user)
            owned += account.balance
            for position in account.positions.values():
                assert position.sz
                assert position.cost >= 0
                assert position.margin >= 0
                owned += position.margin
                owned -= position.cost if position.sz > 0 else -position.cost
        assert owned == 0
        assert clearing.position(ANN, market.id) == -clearing.position(BEN, market.id)


@given(trades, st.integers(1, 10**8))
def test_a_life_from_flat_to_flat_pays_money_in_less_money_out(
    series: list[tuple[Market, int, int]], last_px: int
) -> None:
    """Exactly: what one close rounded, a later one has."""
    position, pnl, money = Position(), 0, 0
    signed = [(sz, px) for _, sz, px in series]
    signed.append((-sum(sz for sz, _ in signed), last_px * CROSS.grid))
    for sz, px in signed:
        if sz:
            pnl += position.trade(sz, px)
            money -= sz * px
    assert position == Position()
    assert pnl * SCALE == money
