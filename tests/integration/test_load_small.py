"""The load scripts at a small size: what has to hold on any machine. Their figures are not looked
at: tests/load/run.py tells them at full size.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "load" / "run.py"
SMALL = ("--clients", "150", "--seconds", "1")
TIMEOUT_S = 100
GROUPS = (  # each runs beside the others: most of the time is waiting for time-outs
    ("slow_consumers", "graceful_stop"),
    ("ping_flood", "oversized_heads"),
    ("slowloris", "deflate_bomb"),
    ("close_handshake", "half_open"),
    ("descriptors", "idle_memory", "reconnect_storm", "fragment_flood"),
)


def start(*arguments: str) -> subprocess.Popen[str]:
    command = (sys.executable, str(RUN), *arguments)
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The results by scenario, once all have ended."""
    directory = tmp_path_factory.mktemp("load")
    processes = {
        group: start(*group, *SMALL, "--json", str(directory / f"{group[0]}.json"))
        for group in GROUPS
    }
    try:
        for group, process in processes.items():
            output, _ = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode in (0, 1), f"{group}:\n{output}"
        yield {name: directory / f"{group[0]}.json" for group in GROUPS for name in group}
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("scenario", "target"),
    [
        *(("slow_consumers", "R6"), ("slowloris", "R7"), ("oversized_heads", "R8")),
        *(("deflate_bomb", "R9"), ("fragment_flood", "R10"), ("ping_flood", "R11")),
        *(("half_open", "R12"), ("close_handshake", "R13"), ("descriptors", "R14")),
        *(("idle_memory", "R16"), ("reconnect_storm", "R19"), ("graceful_stop", "R20")),
    ],
)
def test_what_has_to_hold_holds(runs: dict[str, Path], scenario: str, target: str) -> None:
    rows = json.loads(runs[scenario].read_text())
    facts = [row for row in rows if row["target"] == target and row["fact"]]
    assert facts
    assert [row for row in facts if not row["met"]] == []


def test_a_scenario_that_is_not_there_is_named() -> None:
    process = start("slow_consumer")
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert "no scenario slow_consumer; there are slow_consumers, " in output


def test_what_was_started_ends_with_it() -> None:
    process = start("idle_memory", *SMALL)
    assert process.stdout is not None
    while "idle_memory ..." not in process.stdout.readline():
        pass
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(started := children.read_text().split()) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
