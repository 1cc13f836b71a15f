"""What a machine runs out of, or takes away: descriptors, permissions, disk, inotify, time."""

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.node.hyperliquid.reader import STREAMS
from tests.faults.recording import MARK, Recording
from tests.faults.scripted import SEGMENT
from tests.faults.stages import Clean, Stage, Stages

KINDS = ("native", "hyperliquid")
EVENTS_MAX = Path("/proc/sys/fs/inotify/max_queued_events")
NO_INSTANCES = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "sh", "-c", NO_INSTANCES, "sh")
OVERRIDES = "-dac_override,-dac_read_search"
SUBJECT_TO_PERMISSIONS = (
    ("setpriv", f"--bounding-set={OVERRIDES}", f"--inh-caps={OVERRIDES}") if not os.getuid() else ()
)
"""Root without what lets it read everything."""


@pytest.fixture(params=KINDS)
def stage(stages: Stages, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stages.of(request.param, before=SUBJECT_TO_PERMISSIONS) as stage:
        yield stage


def runs(*command: str) -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run((*command, "true"), capture_output=True, check=False).returncode == 0
    return False


def said(stage: Stage, pattern: str, start: int) -> None:
    """In the log behind `start`."""
    deadline = time.monotonic() + 60
    while not re.search(pattern, stage.server.output[start:]):
        assert stage.server.running
        assert time.monotonic() < deadline, pattern
        time.sleep(0.01)


@contextmanager
def frozen(stage: Stage) -> Iterator[None]:
    stage.server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stage.server.signal(signal.SIGCONT)


def begin_file(stage: Stage) -> None:
    """What comes next is in another file."""
    if stage.node.kind == "hyperliquid":
        stage.files.hour += 1
    else:
        to_the_end = -stage.node.height % SEGMENT
        stage.play(to_the_end)


def test_sidecar_frozen(stage: Stage) -> None:
    """SIGSTOP, then SIGCONT: all that came meanwhile is told."""
    since = stage.told()
    with frozen(stage):
        stage.node.play(40)
    stage.recorder.reach(stage.node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_inotify_queue_overflow(stage: Stage) -> None:
    """More events than the queue takes, while the sidecar is not looking; what is lost is found."""
    since = stage.told()
    directory = stage.native.ipc.log if stage.node.kind == "native" else stage.node.path
    name = str(directory / "other")
    with frozen(stage):
        for _ in range(int(EVENTS_MAX.read_text())):
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT))  # CREATE, CLOSE_WRITE
            os.unlink(name)  # noqa: PTH108 - thousands of times
        stage.node.play(10)
    stage.recorder.reach(stage.node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_descriptors_exhausted(stage: Stage) -> None:
    """The next file of the log can't be opened: it is waited for, and said."""
    since = stage.told()
    begin_file(stage)
    height, start, pid = stage.node.height, len(stage.server.output), stage.server.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    lowest = min(set(range(max(taken) + 2)) - taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    stage.node.play(5)
    said(stage, "Too many open files.*the log can't be looked at", start)
    stage.recorder.round_trip()
    assert stage.recorder.height == height
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    stage.recorder.reach(stage.node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


@pytest.mark.parametrize("what", ["file", "directory"])
def test_permission_lost(stage: Stage, what: str) -> None:
    """It is told and said; when the permission is back nothing was missed."""
    if SUBJECT_TO_PERMISSIONS and not runs(*SUBJECT_TO_PERMISSIONS):
        pytest.skip("capabilities can't be given up here")
    since, start = stage.told(), len(stage.server.output)
    stage.play(1)
    begin_file(stage)
    with frozen(stage):
        stage.node.play(5)
        place = newest_file(stage) if what == "file" else newest_file(stage).parent
        mode = place.stat().st_mode
        place.chmod(0)
    said(stage, "Permission denied.*the feed can't go on", start)
    stage.recorder.await_feed("resyncing", since)
    place.chmod(mode)
    stage.recorder.reach(stage.node.height)
    assert stage.settle() == []
    stage.recorder.wait("told live", lambda: stage.recorder.feed[-1] == "live")


def newest_file(stage: Stage) -> Path:
    """One that the next blocks are in."""
    return stage.native.segment() if stage.node.kind == "native" else stage.files.file(STREAMS[0])


def test_inotify_instances_exhausted(stages: Stages) -> None:
    """It polls, and says so."""
    if not runs(*IN_A_NAMESPACE):
        pytest.skip("there are no user namespaces here")
    for kind in KINDS:
        with stages.of(kind, before=IN_A_NAMESPACE) as stage:
            since = stage.told()
            assert "no inotify, polling instead" in stage.server.output
            stage.play(20)
            assert stage.settle() == []
            assert stage.recorder.feed[since:] == []


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A tmpfs."""
    path.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted")
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", str(path)), check=True)


def fill(path: Path) -> Path:
    """All that is left of its disk."""
    filler = path / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def test_disk_full(recording: Recording, clean: object, tmp_path: Path) -> None:
    """No checkpoint can be written, nor the log of the sidecar itself: clients notice nothing, and
    the next checkpoint is there when there is room.
    """
    disk = tmp_path / "disk"
    run: Clean = clean("native")  # type: ignore[operator]
    with small_disk(disk, "4m"):
        flags = (f"--checkpoint-directory={disk / 'own'}", "--checkpoint-blocks=5")
        node = tmp_path / "stage"
        node.mkdir()
        stage = Stage("native", run, recording, node, *flags, output=disk)
        try:
            since = stage.told()
            filler = fill(disk)
            start = len(stage.server.output)
            before = set((disk / "own").glob("*.ckpt"))
            stage.play(10)
            deadline = time.monotonic() + 60
            while not checkpoint_failures(stage):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            stage.play(MARK)
            assert stage.settle() == []
            assert set((disk / "own").iterdir()) == before
            assert stage.recorder.feed[since:] == []
            filler.unlink()
            stage.play(6)
            said(stage, "checkpoint written", start)
            assert stage.settle() == []
            assert stage.server.stop() == 0
        finally:
            stage.close()


def checkpoint_failures(stage: Stage) -> int:
    told = stage.server.get("/readyz", stage.server.operator_port)[1]["checkpoint"]
    if told["failures"]:
        assert told["reason"] == "No space left on device"
    return int(told["failures"])
