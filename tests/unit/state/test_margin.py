"""What margin allows, worked out by hand: each bound holds, and one unit less does not."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import TOYOTA
from sidecar.devnet.execution import clearing
from sidecar.fixed import SCALE
from sidecar.node.transitions import MarketListed
from sidecar.state.accounts import Accounts, Leverage, Position
from sidecar.state.margin import (
    MAKER_FEE,
    TAKER_FEE,
    Standing,
    initial_margin,
    is_liquidatable,
    liquidation_px,
    maintenance_margin,
    margin_lacks,
    max_leverage_at,
    standing,
)
from sidecar.state.market import Market
from sidecar.state.users import User, Users

U = SCALE  # one, of anything
TIERS = ((0, 20), (10_000 * U, 10))
ISOLATED = Leverage(10, is_cross=False)


class Case:
    """A user of two markets, TOYOTA at 100 and SONY at 50."""

    def __init__(self, balance: int, mark: int = 100 * U) -> None:
        self.markets = {
            1: Market(MarketListed(1, "TOYOTA", 2, 20, margin_tiers=TIERS)),
            2: Market(MarketListed(2, "SONY", 2, 20)),
        }
        self.markets[1].mark_px = mark
        self.markets[2].mark_px = 50 * U
        users = Users()
        self.accounts = Accounts(users, self.markets)
        self.user: User = users.get(b"u" * 20)
        self.user.balance = balance

    def holds(self, position: Position, leverage: Leverage | None = None) -> "Case":
        self.user.positions[1] = position
        self.user.leverages = None if leverage is None else {1: leverage}
        return self

    def lacks(self, sz: int) -> bool:
        return margin_lacks(self.accounts, self.markets, self.user, self.markets[1], sz)

    @property
    def liquidatable(self) -> bool:
        return is_liquidatable(self.accounts, self.markets, self.user)


def long(cost: int = 1_000 * U, margin: int = 0) -> Position:
    return Position(10 * U, cost, margin)


@pytest.mark.parametrize("sz", [10 * U, -10 * U])
def test_a_cross_position_takes_its_initial_margin_and_the_fee(sz: int) -> None:
    needed = 50 * U + 45_000_000  # a twentieth of 1,000, and 4.5 basis points
    assert not Case(needed).lacks(sz)
    assert Case(needed - 1).lacks(sz)


def test_of_a_cross_position_that_grows_all_of_it_is_counted_once() -> None:
    needed = 75 * U + 22_500_000  # a twentieth of 1,500; the fee of 500
    assert not Case(needed).holds(long()).lacks(5 * U)
    assert Case(needed - 1).holds(long()).lacks(5 * U)


def test_other_cross_positions_keep_theirs() -> None:
    for short_of_it in (0, 1):
        case = Case(10 * U + 50 * U + 45_000_000 - short_of_it)
        case.user.positions[2] = Position(4 * U, 200 * U)
        assert case.lacks(10 * U) is bool(short_of_it)


@pytest.mark.parametrize("sz", [-4 * U, -10 * U])
@pytest.mark.parametrize("leverage", [None, ISOLATED])
def test_what_makes_a_position_smaller_needs_none(sz: int, leverage: Leverage | None) -> None:
    assert not Case(-5_000 * U).holds(long(), leverage).lacks(sz)


def test_a_cross_position_that_turns_takes_what_the_new_one_does() -> None:
    needed = 50 * U + 90_000_000  # of ten the other way; the fee of twenty
    assert not Case(needed).holds(long()).lacks(-20 * U)
    assert Case(needed - 1).holds(long()).lacks(-20 * U)


def test_an_isolated_position_takes_its_margin_out_of_what_is_free() -> None:
    needed = 100 * U + 45_000_000  # a tenth of 1,000, and the fee
    for short_of_it in (0, 1):
        case = Case(needed + 10 * U - short_of_it)
        case.user.leverages = {1: ISOLATED}
        case.user.positions[2] = Position(4 * U, 200 * U)  # keeps 10
        assert case.lacks(10 * U) is bool(short_of_it)


def test_an_isolated_position_must_not_be_due_for_liquidation_at_once() -> None:
    """At 91 it has lost 90; one more adds 9.1, and a fortieth of 1,001 has to be kept."""
    least = 90 * U + 25 * U + 2_500_000 - 9 * U - 10_000_000
    for short_of_it in (0, 1):
        case = Case(1_000 * U, mark=91 * U).holds(long(margin=least - short_of_it), ISOLATED)
        assert case.lacks(U) is bool(short_of_it)


@pytest.mark.parametrize("lost", [0, 10 * U, 200 * U])
def test_an_isolated_position_that_turns_gives_back_what_is_left_of_its_margin(lost: int) -> None:
    needed = 50 * U - (100 * U - lost) + 67_500_000  # of five the other way; the fee of fifteen
    for short_of_it in (0, 1):
        case = Case(needed - short_of_it).holds(long(1_000 * U + lost, 100 * U), ISOLATED)
        assert case.lacks(-15 * U) is bool(short_of_it)


def test_the_cross_side_is_due_below_its_maintenance_margin() -> None:
    assert not Case(25 * U).holds(long()).liquidatable  # a fortieth of 1,000
    assert Case(25 * U - 1).holds(long()).liquidatable
    assert not Case(35 * U).holds(long(1_010 * U)).liquidatable
    assert Case(35 * U - 1).holds(long(1_010 * U)).liquidatable


def test_without_cross_positions_nothing_of_it_is_due() -> None:
    assert not Case(-U).liquidatable
    assert not Case(-U).holds(long(margin=25 * U), ISOLATED).liquidatable


def test_an_isolated_position_is_due_below_its_own_whatever_the_balance() -> None:
    rich = 10_000 * U
    assert not Case(rich).holds(long(margin=25 * U), ISOLATED).liquidatable
    assert Case(rich).holds(long(margin=25 * U - 1), ISOLATED).liquidatable
    assert not Case(rich).holds(long(1_010 * U, 35 * U), ISOLATED).liquidatable
    assert Case(rich).holds(long(1_010 * U, 35 * U - 1), ISOLATED).liquidatable
    assert not Case(rich).holds(Position(0, 0, -1), ISOLATED).liquidatable  # of size 0


def test_maintenance_goes_up_by_tiers_without_a_step() -> None:
    """Up to 10,000 a fortieth, from there on a twentieth of what is above it."""
    for notional, kept in ((10_000, 250), (12_000, 350)):
        position = Position(notional * U // 100, notional * U)
        assert not Case(kept * U).holds(position).liquidatable
        assert Case(kept * U - 1).holds(position).liquidatable


@pytest.mark.parametrize(
    ("notional", "leverage"),
    [(0, 20), (10_000 * U - 1, 20), (10_000 * U, 10), (10**18, 10)],
)
def test_the_highest_leverage_is_the_tiers(notional: int, leverage: int) -> None:
    assert max_leverage_at(MarketListed(1, "A", 2, 20, margin_tiers=TIERS), notional) == leverage


def test_the_highest_leverage_without_tiers_is_the_markets() -> None:
    assert max_leverage_at(MarketListed(1, "A", 2, 7), 10**18) == 7
    assert max_leverage_at(MarketListed(1, "A"), 1) is None


TIERED = MarketListed(1, "T", 2, 50, False, ((0, 50), (1_000 * U, 20), (5_000 * U, 5)))


def test_maintenance_by_tiers() -> None:
    assert maintenance_margin(TIERED, 1_000 * U) == 10 * U
    assert maintenance_margin(TIERED, 2_000 * U) == (10 + 25) * U
    assert maintenance_margin(TIERED, 6_000 * U) == (10 + 100 + 100) * U
    assert maintenance_margin(TOYOTA, 3) == 1  # rounded up


@given(
    sz=st.integers(-(10**12), 10**12).filter(bool),
    mark=st.integers(10**6, 10**12),
    entry=st.integers(10**6, 10**12),
    money=st.integers(-(10**15), 10**15),
    is_cross=st.booleans(),
)
def test_at_the_liquidation_price_the_margin_is_just_met(
    sz: int, mark: int, entry: int, money: int, is_cross: bool
) -> None:
    market = Market(TIERED)
    market.mark_px = mark
    position = Position(sz, abs(sz) * entry // SCALE, 0 if is_cross else money)
    own = maintenance_margin(TIERED, abs(sz) * mark // SCALE)
    cross = Standing(money + position.upnl(mark), 0, own, 0)
    px = liquidation_px(market, position, cross, is_cross=is_cross)

    def spare(at: Fraction) -> Fraction:
        worth = sz * at / SCALE - (position.cost if sz > 0 else -position.cost)
        return money + worth - maintenance_margin(TIERED, int(abs(sz) * at / SCALE))

    tick = abs(sz) // SCALE + 4  # what one unit of price, and rounding, can make
    if px is not None:
        assert abs(spare(Fraction(px))) <= 2 * tick
    else:  # however low a long's price, however high: never
        assert spare(Fraction(1, 10)) > -tick if sz > 0 else spare(Fraction(1, 10)) < tick


HALF = U // 2  # a price at which 41 units are worth 20 and a half


def test_fees_are_the_chains() -> None:
    assert (MAKER_FEE, TAKER_FEE) == (clearing.MAKER_FEE, clearing.TAKER_FEE)


def test_a_tenth_of_the_notional_stays_or_all_initial_margin() -> None:
    assert Standing(100, 30, 0, 200).withdrawable == 70
    assert Standing(100, 10, 0, 201).withdrawable == 79  # rounded up
    assert Standing(10, 30, 0, 0).withdrawable == 0


def test_initial_margin_is_rounded_up() -> None:
    assert [initial_margin(notional, 2) for notional in (0, 1, 6, 7)] == [0, 1, 3, 4]


def test_a_market_without_rules_needs_nothing_kept() -> None:
    assert maintenance_margin(MarketListed(1, "A"), 10**18) == 0


def test_a_tier_that_begins_anywhere_goes_on_without_a_step() -> None:
    """A hundredth of 1,001, from there on a fortieth."""
    tiered = MarketListed(1, "T", 2, 50, False, ((0, 50), (1_001, 20)))
    assert [maintenance_margin(tiered, notional) for notional in (1_001, 1_040, 1_041)] == [
        11,
        11,
        12,
    ]


def test_a_standing_is_of_all_cross_positions_their_notionals_rounded_down() -> None:
    case = Case(1_000, mark=HALF)
    case.markets[2].mark_px = HALF
    case.user.positions = {1: Position(41, 30), 2: Position(-41, 30)}
    of_all = standing(case.accounts, case.markets, case.user)
    assert of_all == Standing(1_000 - 10 + 9, 1 + 1, 1 + 1, 20 + 20)
    case.user.leverages = {1: ISOLATED}
    assert standing(case.accounts, case.markets, case.user) == Standing(1_009, 1, 1, 20)


def test_what_changes_no_size_needs_no_margin() -> None:
    assert not Case(-5_000 * U).holds(long()).lacks(0)


def test_bounds_are_of_notionals_rounded_down() -> None:
    """Of one unit and a half the half is nobody's: neither in a margin nor in a fee."""
    assert not Case(5, mark=100 * U + HALF).lacks(1)  # a twentieth of 100; the fee is 0.045
    assert not Case(112, mark=HALF).lacks(4_445)  # of 2,222 the fee is 0.99
    for balance in (2, 3):  # of 82 units, worth 41
        assert Case(balance, mark=HALF).holds(Position(41, 20)).lacks(41) is (balance < 3)
    case = Case(2, mark=HALF)
    case.user.leverages = {1: ISOLATED}
    assert not case.lacks(41)  # a tenth of 20
    case = Case(100, mark=HALF).holds(Position(80, 43, 4), ISOLATED)
    assert not case.lacks(1)  # a fortieth of 40
    assert not Case(0, mark=HALF).holds(Position(81, 40, 1), ISOLATED).liquidatable  # likewise


def test_the_margin_of_a_position_that_ended_is_not_free() -> None:
    assert Case(1, mark=HALF).holds(Position(0, 0, 5), ISOLATED).lacks(41)


@pytest.mark.parametrize("others", [0, 5])
def test_a_cross_liquidation_price_leaves_the_others_theirs(others: int) -> None:
    """10 + 81 * (px - 0.5) = others + 81 * px / 40"""
    market = Case(0, mark=HALF).markets[1]
    cross = Standing(10, 0, 1 + others, 0)
    px = liquidation_px(market, Position(81, 40), cross, is_cross=True)
    assert px == round(Fraction(40_500 - 10_000 + others * 1_000, 78_975) * U)


def test_a_liquidation_price_may_be_where_a_tier_begins_or_the_least_there_is() -> None:
    market, cross = Case(0, mark=120 * U).markets[1], Standing(0, 0, 0, 0)
    at_10_000 = Position(100 * U, 10_000 * U, 250 * U)
    assert liquidation_px(market, at_10_000, cross, is_cross=False) == 100 * U
    assert liquidation_px(market, Position(40 * U, 139, 100), cross, is_cross=False) == 1
