"""A sidecar that ends, or is ended, at the worst of moments: its clients come back to the next one,
and read on as if nothing had been.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from processes import Server
from tests.faults.stages import Stage, Stages

BUSY = {"CHECKPOINT_LOOK_S": 0.002, "CHECKPOINT_REST": 0}


@pytest.fixture
def stage(stages: Stages) -> Iterator[Stage]:
    """It writes checkpoints all the time."""
    flags = ("--checkpoint-directory={scratch}/own", "--checkpoint-blocks=1")
    with stages.of("native", *flags, limits=BUSY) as stage:
        yield stage


@pytest.fixture
def own(stage: Stage) -> Path:
    return stage.scratch / "own"


def checkpoints(own: Path) -> list[Path]:
    """The newest first."""
    return sorted(own.glob("*.ckpt"), reverse=True)


def half_written(own: Path) -> list[Path]:
    return list(own.glob(".*.tmp"))


def freeze_in_the_middle_of_a_checkpoint(stage: Stage, own: Path) -> int:
    """Stops the process that writes it, once there is half a file; its id."""
    deadline = time.monotonic() + 60
    children = Path(f"/proc/{stage.server.pid}/task/{stage.server.pid}/children")
    while True:
        assert time.monotonic() < deadline
        if not children.read_text():
            stage.play(1)
        for child in map(int, children.read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
                if any(path.name.endswith(f".{child}.tmp") for path in half_written(own)):
                    return child
                os.kill(child, signal.SIGCONT)


def next_one(stage: Stage) -> None:
    """Another sidecar, which goes on from a checkpoint, and to which the client comes back."""
    stage.come_back()
    assert '"origin": "checkpoint"' in stage.server.output
    stage.play(3)
    assert stage.settle() == []


def ended(server: Server) -> int:
    code = server.wait()
    assert "Traceback" not in server.output
    return code


def test_sigterm_in_the_middle_of_a_checkpoint(stage: Stage, own: Path) -> None:
    """That one is given up, and the last one is written instead."""
    freeze_in_the_middle_of_a_checkpoint(stage, own)
    stage.play(2)
    stage.server.signal(signal.SIGTERM)
    assert ended(stage.server) == 0
    assert stage.recorder.ended.startswith("received 1001") or "closed" in stage.recorder.ended
    assert half_written(own) == []
    assert (own / f"{stage.node.height:020d}.ckpt").exists()
    next_one(stage)


def test_sigterm_in_the_middle_of_a_block(stage: Stage, own: Path) -> None:
    """While blocks go out: what its clients have is whole, and they read on from there."""
    stage.node.play(20)
    stage.server.signal(signal.SIGTERM)
    stage.node.play(20)
    assert ended(stage.server) == 0
    next_one(stage)


def test_kill_in_the_middle_of_a_checkpoint(stage: Stage, own: Path) -> None:
    """kill -9 of both processes: half a file is left, is none, and goes with the next start."""
    stage.play(3)
    child = freeze_in_the_middle_of_a_checkpoint(stage, own)
    stage.server.kill()
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    assert half_written(own)
    next_one(stage)
    assert not [path for path in half_written(own) if path.name.endswith(f".{child}.tmp")]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_corrupt_checkpoint(stage: Stage, own: Path, damage: str) -> None:
    """It is passed over, with its reason, for the one before."""
    stage.play(1)
    while not checkpoints(own) or int(checkpoints(own)[0].stem) < stage.node.height:
        time.sleep(0.01)
    stage.play(1)
    assert stage.server.stop() == 0
    newest, before = checkpoints(own)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(
        {"flipped": bytes(content), "cut": bytes(content[:-9]), "empty": b""}[damage]
    )
    next_one(stage)
    assert '"checkpoint not used"' in stage.server.output
    assert f'"height": {int(before.stem)}' in stage.server.output
