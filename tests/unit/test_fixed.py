"""Fixed-point numbers: exact in, shortest out."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import NumberInvalid
from sidecar.fixed import SCALE, Rounding, divide, parse, parse_rounded, to_text

DECIMAL_ROUNDING = {
    Rounding.FLOOR: ROUND_FLOOR,
    Rounding.CEIL: ROUND_CEILING,
    Rounding.TOWARD_ZERO: ROUND_DOWN,
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
}


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("81307.0", 8_130_700_000_000),
        ("90057", 9_005_700_000_000),
        ("0.00017", 17_000),
        ("-1.5", -150_000_000),
        ("0.0", 0),
        ("0.00000001", 1),
        ("1.000000000", 100_000_000),
        ("00.10", 10_000_000),
    ],
)
def test_parse(text: str, units: int) -> None:
    assert parse(text) == units


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".5",
        "+1",
        "1e5",
        " 1",
        "1 ",
        "1_0",
        "0x1",
        "nan",
        "inf",
        "\u0661",
        "1,5",
        "--1",
    ],
)
def test_what_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(NumberInvalid, match="is not a decimal number"):
        parse(text)


def test_a_ninth_decimal_is_refused_unless_rounded() -> None:
    with pytest.raises(NumberInvalid, match="more than 8 decimals"):
        parse("1166.565307356")
    assert parse_rounded("1166.565307356", Rounding.TOWARD_ZERO) == 116_656_530_735
    assert parse_rounded("-1166.565307356", Rounding.TOWARD_ZERO) == -116_656_530_735
    assert parse_rounded("1166.565307356", Rounding.CEIL) == 116_656_530_736


def test_endless_numbers_are_refused() -> None:
    with pytest.raises(NumberInvalid, match="65 characters"):
        parse("1" * 65)


@pytest.mark.parametrize(
    ("units", "text"),
    [(8_130_700_000_000, "81307.0"), (17_000, "0.00017"), (-150_000_000, "-1.5"), (0, "0.0")],
)
def test_to_text_is_shortest_with_one_decimal(units: int, text: str) -> None:
    assert to_text(units) == text


@given(st.integers(-(10**20), 10**20))
def test_what_is_written_is_read(units: int) -> None:
    text = to_text(units)
    assert parse(text) == units
    assert Decimal(text) * SCALE == units


@given(
    st.integers(-(10**12), 10**12),
    st.integers(-(10**6), 10**6).filter(bool),
    st.sampled_from(Rounding),
)
def test_divide_rounds_as_decimal_does(
    numerator: int, denominator: int, rounding: Rounding
) -> None:
    exact = Decimal(numerator) / Decimal(denominator)
    expected = exact.quantize(Decimal(1), rounding=DECIMAL_ROUNDING[rounding])
    assert divide(numerator, denominator, rounding) == int(expected)
