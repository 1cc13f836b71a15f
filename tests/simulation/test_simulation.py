"""Two hundred worlds in every run; and that a world is the same every time it is played.

`python tests/simulation/run.py SEED` plays one again, `make simulate SEEDS=0:20000` many.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import explain
from tests.simulation.story import tell

SEEDS = 200
pytestmark = pytest.mark.timeout(600)  # on a busy machine
_TOGETHER = 10
_ROOT = str(Path(__file__).parent.parent.parent)


@pytest.mark.parametrize("first", range(0, SEEDS, _TOGETHER))
def test_every_promise_is_kept(first: int) -> None:
    verdicts = [tell(seed) for seed in range(first, first + _TOGETHER)]
    failed = [explain(verdict) for verdict in verdicts if verdict.violations]
    assert not failed, "\n".join(failed)
    assert sum(verdict.messages for verdict in verdicts) > 100 * _TOGETHER / 10


@pytest.mark.parametrize("seed", [5, 19, 24, 156])
def test_a_seed_is_the_same_world_every_time_in_every_process(seed: int) -> None:
    verdict = tell(seed)
    assert tell(seed) == verdict
    program = (
        "import sys; from tests.simulation.story import tell; print(tell(int(sys.argv[1])).digest)"
    )
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            (sys.executable, "-c", program, str(seed)),
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": _ROOT},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == verdict.digest
