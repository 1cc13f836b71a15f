"""The oracle: the same walk for the same seed, scripted moves, bounds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.execution.markets import MARKETS
from sidecar.devnet.execution.prices import Move, Oracle
from sidecar.errors import ConfigInvalid

TOYOTA, SONY = MARKETS[:2]


def path(seed: int, *moves: Move, blocks: int = 200) -> list[tuple[int, int]]:
    oracle = Oracle(seed, (TOYOTA, SONY), moves)
    prices = []
    for height in range(1, blocks + 1):
        oracle.step(height)
        prices.append((oracle.px(0), oracle.px(1)))
    return prices


def test_a_seed_is_a_path() -> None:
    assert path(7) == path(7)
    assert path(7) != path(8)


def test_prices_wander_but_stay_plausible() -> None:
    oracle = Oracle(3, MARKETS)
    for height in range(1, 5_001):
        oracle.step(height)
    for market in MARKETS:
        assert oracle.px(market.id) != market.start_px
        assert market.start_px // 2 < oracle.px(market.id) < market.start_px * 2


def test_no_step_is_longer_than_a_jump() -> None:
    """2% of a jump, and what the anchor pulls: a 4000th of a distance that is below the price."""
    prices = [px for px, _ in path(5, blocks=3_000)]
    steps = [abs(b - a) * 1_000_000 // a for a, b in pairwise(prices)]
    assert 10_000 < max(steps) <= 20_000 + 250
    assert sum(step <= 50 + 250 for step in steps) > 2_900  # the ordinary ones


@pytest.mark.parametrize("percent", [-30, 10, -50, 100])
def test_a_scripted_move_reaches_its_percent_and_stays_there(percent: int) -> None:
    quiet = path(1, blocks=101)
    moved = path(1, Move("TOYOTA", 101, percent, 20), blocks=400)
    assert moved[:100] == quiet[:100]
    assert [sony for _, sony in moved[:101]] == [sony for _, sony in quiet]  # leaves others alone
    base = quiet[100][0]  # where the walk is at the height at which the move begins
    assert moved[100][0] == base * (2_000 + percent) // 2_000  # the first of 20 equal parts
    assert moved[109][0] == base * (2_000 + 10 * percent) // 2_000  # half of it
    target = base * (100 + percent) // 100
    assert moved[119][0] == target
    assert all(abs(px - target) * 100 < 10 * target for px, _ in moved[120:])


def test_a_move_of_one_block_is_a_jump() -> None:
    quiet, moved = path(2, blocks=10), path(2, Move("SONY", 10, -50, 1), blocks=10)
    assert moved[9] == (quiet[9][0], quiet[9][1] * 50 // 100)


def test_moves_follow_each_other() -> None:
    moves = Move("TOYOTA", 5, 100, 1), Move("TOYOTA", 6, -50, 1)
    prices = path(2, *moves, blocks=6)
    quiet = path(2, blocks=5)
    assert prices[4][0] == 2 * quiet[4][0]
    # One ordinary step of 0.5 bp (or a jump of 2%), then half of that.
    assert abs(prices[5][0] - quiet[4][0]) * 100 <= 3 * quiet[4][0]


@given(st.lists(st.sampled_from((-99, -90, 300, 1_000)), max_size=8), st.integers(0, 50))
def test_nothing_leaves_the_bounds(percents: list[int], seed: int) -> None:
    moves = [Move("TOYOTA", 1 + 3 * n, percent, 3) for n, percent in enumerate(percents)]
    for px, _ in path(seed, *moves, blocks=30):
        assert TOYOTA.start_px // 20 <= px <= TOYOTA.start_px * 20


def test_a_fall_beyond_the_bound_ends_there() -> None:
    prices = path(1, Move("TOYOTA", 1, -99, 10), blocks=10)
    assert prices[-1][0] == TOYOTA.start_px // 20


def test_a_move_is_read() -> None:
    assert Move.parse("TOYOTA:600:-30:20") == Move("TOYOTA", 600, -30, 20)


@pytest.mark.parametrize(
    "text", ["", "TOYOTA", "TOYOTA:600:-30", "TOYOTA:600:-30:20:1", "TOYOTA:a:-30:20", "A:1:2:3.5"]
)
def test_what_is_no_move_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"devnet\.moves: .*MARKET:HEIGHT:PERCENT:BLOCKS"):
        Move.parse(text)


@pytest.mark.parametrize("percent", [-99, -1, 0, 1_000])
def test_a_move_that_can_be(percent: int) -> None:
    Move("TOYOTA", 1, percent, 1).check()


@pytest.mark.parametrize(
    "move",
    [
        Move("TOYOTA", 0, 5, 1),
        Move("TOYOTA", 1, 5, 0),
        Move("TOYOTA", 1, -100, 1),
        Move("TOYOTA", 1, 1_001, 1),
    ],
)
def test_a_move_that_can_not_be(move: Move) -> None:
    with pytest.raises(ConfigInvalid, match="-99 to 1000%"):
        move.check()
