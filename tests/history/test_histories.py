"""A short history of real processes: kills and stalls, and nothing that was told was wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
FAULTS = ("kill one", "kill a worker", "kill the node", "stall one", "stall the node")
SEED = 1


@pytest.mark.timeout(900)
def test_what_is_told_is_true_through_kills_and_stalls(tmp_path: Path) -> None:
    """The output has the seed, and what was found."""
    flags = ("--seconds", "1", "--seed", str(SEED), "--pace", "0.2", "--clients", "6")
    command = (sys.executable, str(RUN), *flags, "--directory", str(tmp_path / "run"))
    done = subprocess.run(
        (*command, "--faults", *FAULTS), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    counts = {
        name.strip(): int(count.replace(",", ""))
        for name, count in re.findall(r"^(.+?) +([\d,]+)$", done.stdout, re.MULTILINE)
    }
    assert [counts[f"fault: {fault}"] for fault in FAULTS] == [1] * len(FAULTS)
    for what, least in (("messages", 500), ("contents", 300), ("resumes", 20), ("snapshots", 20)):
        assert counts[what] > least, done.stdout
    assert counts["orders answered"] > 0
