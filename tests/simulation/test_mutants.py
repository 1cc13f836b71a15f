"""The checkers find what they are there for: each planted bug, within two hundred seeds."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.story import tell

SEEDS = 200
pytestmark = pytest.mark.timeout(600)  # on a busy machine
# Where each was found, to begin there: what the product does may move it.
_FOUND = {
    "a lost connection is raised": 29,
    "EAGAIN is no answer": 5,
    "the rest of a send is dropped": 3,
    "frames kept begin one early": 9,
    "each message replaces the one before": 9,
    "another way is gone on with": 57,
    "no message is marked": 1,
    "no bound for what waits": 3,
    "silence is not noticed": 41,
    "a broken log is not told": 19,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    begin = _FOUND.get(name, 0)
    for number in range(SEEDS):
        verdict = tell((begin + number) % SEEDS, planted=mutant.planted)
        if any(what.startswith(f"promise {mutant.promise}: ") for what in verdict.violations):
            return
    pytest.fail(f"promise {mutant.promise} is broken, and {SEEDS} seeds show nothing")
