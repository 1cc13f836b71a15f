"""What a machine runs out of, or takes away: descriptors, permissions, disk, inotify, time."""

import fcntl
import os
import re
import resource
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from sidecar.node.hyperliquid.reader import STREAMS
from sidecar.protocol.closecodes import CloseCode
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
            fill_last_page(next(disk.glob("serve-*.log")))
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
            assert lines_lost(stage.server.operator_port)
            assert len(stage.server.output) == start
            filler.unlink()
            stage.play(6)
            said(stage, "checkpoint written", start)
            said(stage, "No space left on device.*log lines were lost", start)
            assert stage.settle() == []
            assert stage.server.stop() == 0
        finally:
            stage.close()


def fill_last_page(log: Path) -> None:
    """What it has of its last page: no disk is needed for that."""
    with log.open("ab") as file:
        file.write(b"\n" * (-log.stat().st_size % 4096))


def lines_lost(port: int) -> int:
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        page = response.read().decode()
    found = re.search(r"^sidecar_log_lines_lost_total (\S+)$", page, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


class LogPipe:
    """A pipe for the sidecar's log, and its reader."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._read = b""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.go_on()

    @property
    def text(self) -> str:
        return self._read.decode(errors="replace")

    def go_on(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stall(self) -> None:
        """Nothing is read any more; a page has room."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, 4096)

    def close(self) -> None:
        """The reader is gone."""
        self.stall()
        with suppress(OSError):
            os.close(self._reader)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with suppress(BlockingIOError):
                self._read += os.read(self._reader, 1 << 16)
            time.sleep(0.001)


def a_line(stage: Stage) -> None:
    """Of the log, or some: a connection."""
    with connect(stage.server.ws_url):
        pass


@pytest.fixture(params=["stalled", "gone"])
def piped(
    request: pytest.FixtureRequest, recording: Recording, clean: object, tmp_path: Path
) -> Iterator[tuple[Stage, LogPipe, str]]:
    """A sidecar that logs all it can into a pipe, and what becomes of its reader."""
    run: Clean = clean("native")  # type: ignore[operator]
    pipe = LogPipe(tmp_path / "pipe")
    into = ("sh", "-c", 'exec "$@" 2>"$0"', str(tmp_path / "pipe"))
    try:
        stage = Stage("native", run, recording, tmp_path, "--log-level=debug", before=into)
        try:
            yield stage, pipe, request.param
        finally:
            stage.close()
    finally:
        pipe.close()


def test_nobody_reads_the_log(piped: tuple[Stage, LogPipe, str]) -> None:
    """Serving goes on, the end is polite, and what was lost is counted; where somebody reads again
    it is said.
    """
    stage, pipe, fate = piped
    since = stage.told()
    found = re.search(r'"port": (\d+), "event": "operators are answered"', pipe.text)
    assert found is not None
    port = int(found[1])
    assert not lines_lost(port)
    (pipe.close if fate == "gone" else pipe.stall)()
    deadline = time.monotonic() + 60
    while lines_lost(port) < 5:
        assert time.monotonic() < deadline
        a_line(stage)
    stage.play(10)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []
    assert stage.server.get("/healthz", port)[0] == 200
    if fate == "stalled":
        pipe.go_on()
        while not re.search("nobody reads it.*log lines were lost", pipe.text):
            assert time.monotonic() < deadline
            a_line(stage)
        pipe.stall()
        for _ in range(30):
            a_line(stage)
    with connect(stage.server.ws_url) as client:
        assert stage.server.stop() == 0
        with pytest.raises(ConnectionClosedOK) as told:
            client.recv()
    assert told.value.rcvd is not None
    assert told.value.rcvd.code == CloseCode.GOING_AWAY


def checkpoint_failures(stage: Stage) -> int:
    told = stage.server.get("/readyz", stage.server.operator_port)[1]["checkpoint"]
    if told["failures"]:
        assert told["reason"] == "No space left on device"
    return int(told["failures"])
