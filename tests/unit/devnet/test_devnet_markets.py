"""Ticks, lots, and the words of a refusal."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.execution.markets import (
    MARKETS,
    Market,
    ceil_px,
    floor_grid,
    floor_px,
    validate_px,
    validate_sz,
)
from sidecar.devnet.execution.refusals import Refusal
from sidecar.fixed import SCALE, parse, to_text
from sidecar.node.transitions import MarketListed

TOYOTA, _, _, NTT, NINTENDO = MARKETS


def market(sz_decimals: int) -> Market:
    return Market(0, "X", 1, sz_decimals, ((0, 10),))


def test_the_markets() -> None:
    assert [m.symbol for m in MARKETS] == ["TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO"]
    assert [m.id for m in MARKETS] == list(range(5))
    for m in MARKETS:
        assert validate_px(m, m.start_px) is None
    assert TOYOTA.listing() == MarketListed(0, "TOYOTA", 2, 50, False, TOYOTA.tiers)


@pytest.mark.parametrize(
    ("sz_decimals", "px", "good"),
    [
        # the examples of Hyperliquid's page on tick and lot size, for perpetuals
        (1, "1234.5", True),
        (1, "1234.56", False),  # six significant figures
        (0, "0.001234", True),
        (0, "0.0012345", False),  # seven decimals
        (1, "0.01234", True),
        (1, "0.012345", False),  # over 6 - sz_decimals decimals
        (0, "123456.0", True),  # a whole number may be longer
        (0, "123456.5", False),
        (6, "123456.0", True),
        (6, "0.5", False),
    ],
)
def test_price_examples(sz_decimals: int, px: str, good: bool) -> None:
    refusal = validate_px(market(sz_decimals), parse(px))
    assert refusal is (None if good else Refusal.TICK)


@given(st.integers(0, 6), st.integers(1, 10**15))
def test_the_tick_is_the_rule(sz_decimals: int, px: int) -> None:
    digits = to_text(px).rstrip("0").rstrip(".")
    figures = len(digits.replace(".", "").strip("0") if "." in digits else digits.rstrip("0"))
    exponent = Decimal(digits).as_tuple().exponent
    assert isinstance(exponent, int)
    whole = "." not in digits
    good = whole or (figures <= 5 and -exponent <= 6 - sz_decimals)
    assert (validate_px(market(sz_decimals), px) is None) == good


@given(st.integers(0, 6), st.integers(1, 10**15))
def test_floor_px_is_the_next_good_price_below(sz_decimals: int, px: int) -> None:
    m = market(sz_decimals)
    floored = floor_px(m, px)
    assert validate_px(m, floored) is None
    assert floored <= px < floored + m.tick(px) or floored == m.tick(px)


def test_ticks_by_price() -> None:
    assert TOYOTA.tick(parse("3000")) == parse("0.1")
    assert NTT.tick(parse("160")) == parse("0.01")
    assert NINTENDO.tick(parse("13000")) == parse("1")
    assert NINTENDO.tick(parse("1300000")) == parse("1")


@given(st.integers(0, 6), st.integers(-5, 10**15))
def test_ceil_px_is_the_next_good_price_above(sz_decimals: int, px: int) -> None:
    m = market(sz_decimals)
    raised = ceil_px(m, px)
    assert validate_px(m, raised) is None
    assert raised >= px
    assert raised - px < m.tick(raised) or raised == m.grid


@given(st.integers(0, 6), st.integers(1, 10**15))
def test_prices_times_sizes_are_whole_units(sz_decimals: int, px: int) -> None:
    """So that nothing is rounded when a position is paid for."""
    m = market(sz_decimals)
    for good in (floor_px(m, px), floor_grid(m, px)):
        assert good * m.lot % SCALE == 0


def test_leverage_by_tier() -> None:
    million = parse("1000000")
    for notional, leverage in ((0, 50), (2_999, 50), (3_000, 20), (14_999, 20), (15_000, 10)):
        assert TOYOTA.tier_leverage(notional * million) == leverage


@pytest.mark.parametrize("px", [0, -1, 1 << 63])
def test_impossible_prices(px: int) -> None:
    assert validate_px(TOYOTA, px) is Refusal.PRICE


def test_sizes() -> None:
    assert TOYOTA.lot == parse("0.01")
    assert validate_sz(TOYOTA, parse("0.01")) is None
    assert validate_sz(TOYOTA, parse("12.34")) is None
    assert validate_sz(TOYOTA, 0) is Refusal.SIZE_ZERO
    assert validate_sz(TOYOTA, parse("0.001")) is Refusal.SIZE
    assert validate_sz(TOYOTA, -parse("1")) is Refusal.SIZE
    assert validate_sz(TOYOTA, TOYOTA.lot << 63) is Refusal.SIZE
