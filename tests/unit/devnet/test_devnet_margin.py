"""Initial and maintenance margin, worked by hand at and around the bounds of the tiers."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.execution.margin import initial_margin, maintenance_margin
from sidecar.devnet.execution.markets import MARKETS, Market
from sidecar.fixed import SCALE, parse

# Rates 1/100, 1/40 and 1/20; deductions 0, 1000 * (1/40 - 1/100) = 15 and
# 15 + 5000 * (1/20 - 1/40) = 140.
THREE = Market(0, "THREE", 100 * SCALE, 2, ((0, 50), (1_000 * SCALE, 20), (5_000 * SCALE, 10)))
THIRDS = Market(1, "THIRDS", 100 * SCALE, 2, ((0, 7), (1_000, 3)))  # rates 1/14 and 1/6


@pytest.mark.parametrize(
    ("notional", "leverage", "margin"),
    [
        ("1000", 20, "50"),
        ("1000", 3, "333.33333334"),  # 333.333..., up
        ("0.00000001", 50, "0.00000001"),
        ("0.0000005", 50, "0.00000001"),  # exactly one unit
        ("0.00000051", 50, "0.00000002"),
        ("0", 50, "0"),
    ],
)
def test_initial_margin(notional: str, leverage: int, margin: str) -> None:
    assert initial_margin(parse(notional), leverage) == parse(margin)


@pytest.mark.parametrize(
    ("notional", "margin"),
    [
        ("0", "0"),
        ("0.00000001", "0.00000001"),  # a hundredth of a unit, up
        ("500", "5"),
        ("999.99999999", "10"),  # 9.9999999999, up
        ("1000", "10"),
        ("1000.00000001", "10.00000001"),  # 10 and a 40th of a unit, up
        ("1000.0000004", "10.00000001"),  # 10 and exactly one unit
        ("2000", "35"),  # 1000/100 + 1000/40 = 2000/40 - 15
        ("4999.99999999", "110"),
        ("5000", "110"),  # 10 + 4000/40 = 5000/40 - 15 = 5000/20 - 140
        ("5000.0000002", "110.00000001"),  # 110 and exactly one unit
        ("7000", "210"),  # 110 + 2000/20 = 7000/20 - 140
    ],
)
def test_maintenance_of_three_tiers(notional: str, margin: str) -> None:
    assert maintenance_margin(THREE, parse(notional)) == parse(margin)


def test_maintenance_of_one_tier_is_half_the_initial_margin_at_max_leverage() -> None:
    one = MARKETS[3]  # NTT, 10x
    assert one.tiers == ((0, 10),)
    assert maintenance_margin(one, parse("1000")) == parse("50")
    assert maintenance_margin(one, 1) == 1


def test_what_two_tiers_round_is_rounded_once() -> None:
    """1001 units: 1000/14 + 1/6 = 71.43 + 0.17 = 71.6, so 72; each for itself were 72 + 1."""
    assert maintenance_margin(THIRDS, 1_001) == 72


def by_tiers(market: Market, notional: int) -> int:
    """The documented sum: of each tier the part of the notional that lies in it, times its rate."""
    bounds = [lower for lower, _ in market.tiers] + [max(notional, market.tiers[-1][0])]
    total = Fraction()
    for (lower, leverage), upper in zip(market.tiers, bounds[1:], strict=True):
        total += Fraction(max(min(notional, upper) - lower, 0), 2 * leverage)
    return ceil(total)


tiered = st.builds(
    lambda bounds, leverages: Market(
        0,
        "ANY",
        SCALE,
        2,
        tuple(zip([0, *sorted(bounds)], sorted(leverages, reverse=True), strict=False)),
    ),
    st.lists(st.integers(1, 10**6), min_size=3, max_size=3, unique=True),
    st.lists(st.integers(1, 60), min_size=1, max_size=4, unique=True),
)
any_market = st.sampled_from((THREE, THIRDS, *MARKETS)) | tiered


@given(any_market, st.integers(0, 10**19) | st.integers(0, 2 * 10**6))
def test_both_formulas_say_the_same(market: Market, notional: int) -> None:
    assert maintenance_margin(market, notional) == by_tiers(market, notional)


@given(any_market, st.integers(0, 10**19) | st.integers(0, 2 * 10**6), st.integers(0, 10**6))
def test_margin_is_monotone_and_grows_by_no_more_than_the_last_rate(
    market: Market, notional: int, more: int
) -> None:
    grown = maintenance_margin(market, notional + more) - maintenance_margin(market, notional)
    steepest = 2 * market.tiers[-1][1]
    assert 0 <= grown <= -(-more // steepest) + 1


@given(any_market)
def test_margin_is_continuous_at_every_bound(market: Market) -> None:
    for lower, _ in market.tiers[1:]:
        below, at, above = (maintenance_margin(market, lower + step) for step in (-1, 0, 1))
        assert at - 1 <= below <= at <= above <= at + 1
