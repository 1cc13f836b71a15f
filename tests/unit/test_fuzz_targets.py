"""The fuzz targets hold for a moment: for their corpora, for what their mutators make of these, and
for what real nodes wrote. `make fuzz` runs them for longer, guided by coverage.
"""

import random
from pathlib import Path

import pytest

import targets
from targets import NAMES, Target

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
FILES_MAX = 40
CORPUS_BYTES_MAX = 60_000  # of a target
MUTATED = 25


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def target(name: str) -> Target:
    return targets.load(name)


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def test_every_input_that_was_kept_holds(name: str, target: Target) -> None:
    inputs = corpus(name)
    assert 2 <= len(inputs) <= FILES_MAX
    assert sum(map(len, inputs)) <= CORPUS_BYTES_MAX
    for data in inputs:
        target.check(data)


def test_others_hold_too(name: str, target: Target) -> None:
    """From a seed, so that they are the same each time."""
    rng = random.Random(name)
    kept = corpus(name)
    for _ in range(MUTATED):
        data = rng.choice(kept)
        if target.mutate is None:
            at = rng.randrange(len(data) + 1)
            target.check(data[:at] + rng.choice(target.tokens) + data[at:])
        else:
            target.check(target.mutate(data, rng))


@pytest.mark.parametrize("captured", ["hyperliquid_lines", "hyperliquid_snapshots"])
def test_what_real_nodes_wrote_holds(captured: str) -> None:
    target = targets.load(captured)
    inputs = list(target.captured())
    if not inputs:
        pytest.skip("the captured Hyperliquid data is not beside this checkout")
    for data in inputs:
        target.check(data)


def test_an_unknown_target_is_answered_with_all() -> None:
    with pytest.raises(KeyError, match="http,proxy,"):
        targets.load("htpp")
