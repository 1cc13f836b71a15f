"""Fifty kills and more: `make test-long`. The suite has eight."""

from pathlib import Path

import pytest

from test_kills import MOMENTS, kill_again_and_again


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_fifty_kills_leave_the_state_of_nobody_killed(seed: int, tmp_path: Path) -> None:
    counts = kill_again_and_again(50, seed, tmp_path)
    print(dict(counts))  # noqa: T201 - shown with -s
    assert all(counts[f"killed {moment}"] >= 4 for moment in MOMENTS)
    assert counts["checkpoint written"] >= 10
    assert counts["started from checkpoint"] >= 20
    assert counts["found half a checkpoint"] >= 5
