"""Clocks that are wrong: the sidecar's own, which is set while it runs, and the node's, whose
blocks are old. The clock is libfaketime's: every call of the process for the time goes through it.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.recording import MARK, START, Recording
from tests.faults.stages import Stage, Stages

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
BEHIND_S = 300.0


class Clock:
    """That of a sidecar: so many seconds from ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset_s = 0.0

    @property
    def environment(self) -> dict[str, str]:
        assert LIBRARY is not None
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_s: float) -> None:
        """At once: a file that is being written has no time in it."""
        self.offset_s = offset_s
        new = self._path.with_suffix(".new")
        new.write_text(f"{offset_s:+.0f}\n")
        new.rename(self._path)

    def tell(self, time_ns: int) -> None:
        """It is that time now."""
        self.set(time_ns / 1e9 - time.time())

    def step(self, seconds: float) -> None:
        self.set(self.offset_s + seconds)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    if LIBRARY is None:
        pytest.skip("libfaketime is not installed")
    return Clock(tmp_path_factory.mktemp("clock") / "time")


@pytest.fixture(params=["native", "hyperliquid"])
def stage(stages: Stages, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Its clock is that of the chain's newest block."""
    flags = f"--source-behind-after-s={BEHIND_S}"
    clock.tell(time_of_block(request, START))
    with stages.of(request.param, flags, environment=clock.environment) as stage:
        stage.play(1)
        clock.tell(time_of_block(request, stage.node.height))
        stage.recorder.wait("told live", lambda: stage.recorder.feed[-1] == "live")
        yield stage


def time_of_block(request: pytest.FixtureRequest, height: int) -> int:
    recording: Recording = request.getfixturevalue("recording")
    return recording.blocks[height - 1].time_ns


def age_s(stage: Stage) -> float:
    return float(stage.server.info(type="serverInfo")["age"]) / 1000


def test_clock_step(stage: Stage, clock: Clock) -> None:
    """Forward the blocks look old, backward they look young; they go out all the same."""
    since = stage.told()
    clock.step(+2 * BEHIND_S)
    stage.recorder.await_feed("behind", since)
    stage.play(3)
    assert stage.recorder.of("blocks")[-1]["state"] == "behind"
    assert age_s(stage) > BEHIND_S
    clock.step(-4 * BEHIND_S)
    stage.recorder.await_feed("live", since + 1)
    stage.play(3)
    assert age_s(stage) < -BEHIND_S
    clock.step(+2 * BEHIND_S)
    assert stage.settle() == []
    assert set(stage.recorder.feed[since:]) == {"behind", "live"}


def test_node_behind(stage: Stage, clock: Clock) -> None:
    """It goes on with blocks that are old by now; what is sent of them says so, until it has
    caught up.
    """
    since = stage.told()
    clock.step(BEHIND_S + 5.0)
    stage.recorder.await_feed("behind", since)
    stage.play(3)
    assert all(one["state"] == "behind" for one in stage.recorder.of("blocks")[-3:])
    while stage.recorder.feed[-1] == "behind":
        stage.play(MARK)
    assert stage.settle() == []
    assert set(stage.recorder.feed[since:]) == {"behind", "live"}
