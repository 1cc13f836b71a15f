"""The mark price: medians, moving averages and decay, worked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.execution.marks import Average, Mark, decay, median
from sidecar.fixed import SCALE

SECOND = 10**9
ONE = 1 << 40


def fresh() -> Mark:
    return Mark(Average(), Average())


@pytest.mark.parametrize("prices", [(1, 2, 3), (2, 1, 3), (1, 3, 2), (3, 2, 1), (2, 2, 5)])
def test_the_median_is_the_one_in_the_middle(prices: tuple[int, int, int]) -> None:
    assert median(*prices) == 2


def test_the_first_mark_is_that_of_the_book() -> None:
    """Mid 101, so the basis is 1 and oracle + basis the mid; no trade, so the mid stands in."""
    assert fresh().px(100, (100, 102), 0, SECOND) == 101


def test_the_last_trade_counts_within_the_spread_only() -> None:
    # Oracle + basis is the mid, 105; the book's median and its average are 103, 110, 100.
    assert fresh().px(100, (100, 110), 103, SECOND) == 103
    assert fresh().px(100, (100, 110), 200, SECOND) == 110
    assert fresh().px(100, (100, 110), 1, SECOND) == 100


@pytest.mark.parametrize(
    ("oracle", "book", "middle"),
    [
        # The averages stand at 1100 (book) and 100 (basis), and a millisecond moves them little.
        (1_050, 1_120, 1_120),  # oracle + basis 1150, book 1120, its average 1100
        (1_010, 1_120, 1_110),  # oracle + basis 1110, book 1120, its average 1100
        (950, 1_120, 1_100),  # oracle + basis 1050, book 1120, its average 1100
    ],
)
def test_each_of_the_three_can_be_in_the_middle(oracle: int, book: int, middle: int) -> None:
    mark = Mark(Average(), Average(), time_ns=SECOND)
    first = mark.px(1_000 * SCALE, (1_100 * SCALE, 1_100 * SCALE), 0, 301 * SECOND)
    assert first == 1_100 * SCALE
    bbo = (book * SCALE, book * SCALE)
    px = mark.px(oracle * SCALE, bbo, 0, 301 * SECOND + 10**6)
    assert px == pytest.approx(middle * SCALE, abs=SCALE // 10)


def test_an_empty_side_gives_the_oracle_and_the_averages_stand_still() -> None:
    mark = fresh()
    mark.px(1_000, (1_009, 1_011), 1_010, SECOND)
    before = (mark.basis.value, mark.book.value)
    assert mark.px(2_000, None, 1_010, 2 * SECOND) == 2_000
    assert before == (mark.basis.value, mark.book.value)
    assert mark.time_ns == 2 * SECOND


def test_a_moving_average_of_two_samples() -> None:
    """100 for 10 s, then 200 for 10 s, over a period of 10 s: e^-1 = 0.367879, and
    (100 * 0.367879 + 200) / (0.367879 + 1) = 236.7879 / 1.367879 = 173.1059.
    """
    for sign in (1, -1):
        average = Average()
        first = average.add(sign * 100 * SCALE, 10 * SECOND, 10 * SECOND)
        assert first == sign * 100 * SCALE
        second = average.add(sign * 200 * SCALE, 10 * SECOND, 10 * SECOND)
        assert second == pytest.approx(sign * 173.1059 * SCALE, rel=1e-4)


def test_a_sample_weighs_the_time_for_which_it_stands() -> None:
    """100 for 30 s, then 200 for 10 s, over 10 s: weights 30 e^-1 = 11.03638 and 10, so
    (1103.638 + 2000) / 21.03638 = 147.5367.
    """
    average = Average()
    average.add(100 * SCALE, 30 * SECOND, 10 * SECOND)
    second = average.add(200 * SCALE, 10 * SECOND, 10 * SECOND)
    assert second == pytest.approx(147.5367 * SCALE, rel=1e-4)


@pytest.mark.parametrize("elapsed_ms", [20, 100, 500])
def test_the_average_of_what_never_moves_is_that(elapsed_ms: int) -> None:
    """However often it is asked: rounding must not add up."""
    average = Average()
    for _ in range(3_000):
        px = average.add(3_000 * SCALE, elapsed_ms * 10**6, 30 * SECOND)
    assert px == pytest.approx(3_000 * SCALE, rel=1e-6)


def test_decay_of_no_time_and_of_a_long_time() -> None:
    assert decay(0, 30 * SECOND) == ONE
    assert decay(64 * 30 * SECOND + 1, 30 * SECOND) == 0
    assert decay(10**18, 30 * SECOND) == 0


@given(st.integers(0, 65 * 150 * SECOND), st.sampled_from((30 * SECOND, 150 * SECOND)))
def test_decay_is_the_exponential(elapsed_ns: int, period_ns: int) -> None:
    """To 1e-9 of it, or to the unit of 2^-40 where that is coarser."""
    exact = math.exp(-elapsed_ns / period_ns) * ONE
    assert abs(decay(elapsed_ns, period_ns) - exact) <= max(exact * 1e-9, 1)
