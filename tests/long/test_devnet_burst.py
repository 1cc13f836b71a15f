"""The liveliest profile, at length: `make test-long`. CI runs a part of it with the rest."""

from pathlib import Path

import pytest

from test_devnet_differential import BURST, check_both_ways


@pytest.mark.timeout(3_000)
def test_both_languages_tell_the_same_for_2_000_blocks_of_burst(tmp_path: Path) -> None:
    check_both_ways(BURST, 2_000, tmp_path)
