"""A node's process that stops, dies in the middle of a write, is slow, behind, or frozen."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.node.log_writer import LogWriter
from tests.faults.scripted import FilesNode, Write
from tests.faults.stages import Stage, Stages

STALE_S = 0.3
KINDS = ("native", "hyperliquid")
PLAYER = Path(__file__).with_name("player.py")


@pytest.fixture(params=KINDS)
def stage(stages: Stages, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stages.of(request.param, f"--source-stale-after-s={STALE_S}") as stage:
        yield stage


@contextmanager
def player(stage: Stage, plan: list[Write], pace_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A node's process, which carries out the plan."""
    path = stage.scratch / "plan"
    path.write_bytes(pickle.dumps(plan))
    command = (sys.executable, "-S", str(PLAYER), str(path), str(pace_s))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def await_done(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"


def planned(stage: Stage, blocks: int) -> list[Write]:
    with stage.node.planning() as plan:
        stage.node.play(blocks)
    return plan


def stale_then_live(stage: Stage, since: int) -> None:
    """All that the client was told, and nothing was missed."""
    stage.recorder.await_feed("stale", since)
    assert stage.settle() == []
    assert set(stage.recorder.feed[since:]) == {"stale", "live"}


def test_node_stopped(stage: Stage) -> None:
    """Silence is told; when it starts again it goes on where it was."""
    since = stage.told()
    with player(stage, planned(stage, 5), 0.01) as process:
        await_done(process)
        process.terminate()
    stage.recorder.reach(stage.node.height)
    stale_then_live(stage, since)


def test_node_killed(stage: Stage) -> None:
    """In the middle of a block. Beside a native node that starts again the record is cut off; a
    Hyperliquid node goes back some blocks and writes on behind its half line.
    """
    since = stage.told()
    node = stage.node
    plan = planned(stage, 6)
    path, content = plan.pop()
    plan.append((path, content[: len(content) // 2]))
    with player(stage, plan, 0.005) as process:
        await_done(process)
        process.send_signal(signal.SIGKILL)
    whole = node.height - 1
    stage.recorder.reach(whole)
    stage.recorder.await_feed("stale", since)
    assert stage.recorder.height == whole
    if isinstance(node, FilesNode):
        node.height = whole - 7
    else:
        with LogWriter(stage.native.ipc.log, node.recording.name) as writer:
            node.height = writer.height
        assert node.height == whole
    with player(stage, planned(stage, 12), 0.005) as process:
        await_done(process)
    stale_then_live(stage, since)


def test_node_slow(stage: Stage) -> None:
    """Blocks come later than one expects them, in pieces."""
    since = stage.told()
    pieces: list[Write] = []
    for path, content in planned(stage, 1):
        third = len(content) // 3 + 1
        pieces += [(path, content[at : at + third]) for at in range(0, len(content), third)]
    with player(stage, pieces, 2 * STALE_S / len(pieces)) as process:
        await_done(process)
    stale_then_live(stage, since)


def test_node_frozen(stage: Stage) -> None:
    """SIGSTOP in the middle of what it writes, then SIGCONT."""
    since = stage.told()
    height = stage.node.height
    with player(stage, planned(stage, 30), 0.01) as process:
        stage.recorder.reach(height + 5)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        stage.recorder.await_feed("stale", since)
        process.send_signal(signal.SIGCONT)
        await_done(process)
    stale_then_live(stage, since)
