"""sidecar serve as a service manager has it: what it says to NOTIFY_SOCKET, and sockets that it is
given.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from websockets.sync.client import connect

from processes import START_TIMEOUT_S, Start
from rig import Node
from test_workers import until

FLAGS = ("--server-port", "0", "--operator-port", "0")


class Manager:
    """The end of the service manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.at: dict[str, list[float]] = {}
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self) -> None:
        while data := self._sock.recv(4096):
            for line in data.decode().splitlines():
                self.said.append(line)
                self.at.setdefault(line.partition("=")[0], []).append(time.monotonic())

    def hears(self, line: str) -> None:
        until(lambda: line in self.said, START_TIMEOUT_S)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", str(self.path))
        self._thread.join()
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@contextmanager
def service(
    *flags: str, output: Path, passed: socket.socket | None = None, **more: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """`sidecar serve`, started as systemd does: a given socket is descriptor 3. `more`: of the
    environment.
    """
    command = [sys.executable, "-m", "sidecar", "serve", *flags]
    if passed is not None:
        number = passed.fileno()
        shell = (
            f'exec 3<&{number}; export LISTEN_PID=$$; exec "$@"'
            if number != 3
            else ('export LISTEN_PID=$$; exec "$@"')
        )
        command = ["bash", "-c", shell, "bash", *command]
        more |= {"LISTEN_FDS": "1"}
    with output.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | more,
            pass_fds=() if passed is None else (passed.fileno(),),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def ipc(tmp_path: Path, start: Start) -> Path:
    """A running chain."""
    path = tmp_path / "ipc"
    start("devnet", "--path", str(path), "--block-ms", "20").wait_for("block|height")
    return path


def test_what_it_says_from_start_to_end(manager: Manager, tmp_path: Path, ipc: Path) -> None:
    flags = ("--source-path", str(ipc), *FLAGS)
    told = partial(service, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000")
    with told(*flags, output=tmp_path / "out") as process:
        manager.hears("READY=1")
        until(lambda: any(re.fullmatch(r"STATUS=height \d+, live", line) for line in manager.said))
        until(lambda: manager.said.count("WATCHDOG=1") > 5)
        process.send_signal(signal.SIGHUP)
        manager.hears("RELOADING=1")
        until(lambda: manager.said.count("READY=1") == 2)
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.said)
        process.send_signal(signal.SIGSTOP)  # a loop that hangs says nothing
        time.sleep(0.3)
        before = manager.said.count("WATCHDOG=1")
        time.sleep(1.0)
        assert manager.said.count("WATCHDOG=1") == before
        process.send_signal(signal.SIGCONT)
        until(lambda: manager.said.count("WATCHDOG=1") > before)
        process.terminate()
        manager.hears("STOPPING=1")
        assert process.wait(20) == 0


BLOCKED = """
import os, sys, time
from sidecar.cli.main import main
import anyio, sidecar.app as app

async def hangs(*_):
    while not os.path.exists(os.environ["HANGS"]):
        await anyio.sleep(0.02)
    time.sleep(600)  # in the loop

app.watch_freshness = hangs
sys.exit(main(sys.argv[1:]))
"""


def test_a_loop_that_is_blocked_does_not_feed_the_watchdog(
    manager: Manager, tmp_path: Path, ipc: Path
) -> None:
    command = (sys.executable, "-c", BLOCKED, "serve", "--source-path", str(ipc), *FLAGS)
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"}
    environment["HANGS"] = str(tmp_path / "now")
    with (tmp_path / "out").open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | environment)
    try:
        manager.hears("READY=1")
        until(lambda: manager.said.count("WATCHDOG=1") > 2)
        (tmp_path / "now").touch()
        until(lambda: time.monotonic() - manager.at["WATCHDOG"][-1] > 1.0)
        process.send_signal(signal.SIGABRT)  # as the watchdog does
        assert process.wait(20) == -signal.SIGABRT
        assert " in hangs\n" in (tmp_path / "out").read_text()
    finally:
        process.kill()
        process.wait()


def test_it_is_ready_at_the_head_and_not_before(manager: Manager, tmp_path: Path) -> None:
    """Reading so many blocks takes a while; meanwhile it says that it starts."""
    with Node(tmp_path / "ipc") as node:
        node.step(1_500)
        flags = ("--source-path", str(tmp_path / "ipc"), *FLAGS)
        output = tmp_path / "out"
        with service(*flags, output=output, NOTIFY_SOCKET=str(manager.path)):
            manager.hears("READY=1")
            found = re.search(r"serving ws://127\.0\.0\.1:(\d+)/ws", output.read_text())
            assert found is not None
            url = f"http://127.0.0.1:{found[1]}/info"
            with urllib.request.urlopen(url, b'{"type": "serverInfo"}', timeout=10) as response:
                assert json.load(response)["height"] == 1_500
            assert manager.said[0].startswith("STATUS=height 0, starting")


PATCHED = """
import sys, time
from sidecar.cli.main import main
{patch}
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def patched(
    patch: str, *flags: str, output: Path, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """`sidecar serve` with something in it that takes longer."""
    command = (sys.executable, "-c", PATCHED.format(patch=patch), "serve", *flags, *FLAGS)
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


SLOW_START = """
from sidecar.state.restorer import Restorer
fast = Restorer.row
def slow(self, row):
    time.sleep({row_s})
    fast(self, row)
Restorer.row = slow
"""
EXTENDS = "EXTEND_TIMEOUT_USEC=60000000"


@pytest.fixture
def snapshot(tmp_path: Path) -> Iterator[Path]:
    """A node that has written one."""
    with Node(tmp_path / "ipc") as node:
        node.step(100)
        node.snapshot()
        yield node.path


def test_a_start_that_gets_on_is_given_more_time(
    manager: Manager, tmp_path: Path, snapshot: Path
) -> None:
    flags = ("--source-path", str(snapshot))
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "40000"}
    slow = SLOW_START.format(row_s=0.001)
    with patched(slow, *flags, output=tmp_path / "out", **told) as process:
        manager.hears("READY=1")
        assert EXTENDS in manager.said[: manager.said.index("READY=1")]
        until(lambda: manager.said[-5:] == ["WATCHDOG=1"] * 5)  # then no more is needed
        process.terminate()
        assert process.wait(20) == 0


def test_a_node_that_is_waited_for_is_no_progress(manager: Manager, tmp_path: Path) -> None:
    flags = ("--source-path", str(tmp_path / "none"), *FLAGS)
    told = partial(service, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="40000")
    with told(*flags, output=tmp_path / "out") as process:
        until(lambda: manager.said.count("WATCHDOG=1") > 20)
        assert EXTENDS not in manager.said
        assert "STATUS=height 0, starting (the node is waited for, or its first snapshot)" in (
            manager.said
        )
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_end_is_asked_for_in_the_middle_of_a_long_start(
    manager: Manager, tmp_path: Path, snapshot: Path, workers: str
) -> None:
    output = tmp_path / "out"
    flags = ("--source-path", str(snapshot), "--workers", workers)
    slow = SLOW_START.format(row_s=0.03)
    if workers != "1":
        command = (sys.executable, "-c", PATCHED.format(patch=slow), "worker")
        slow = f"import sidecar.workers.process as process; process.COMMAND = {command!r}"
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "40000"}
    with patched(slow, *flags, output=output, **told) as process:
        manager.hears(EXTENDS)
        process.terminate()
        assert process.wait(20) == 0
        assert "READY=1" not in manager.said


SLOW_END = """
from sidecar import checkpoints
fast = checkpoints.checkpoint_rows
def slow(state):
    for row in fast(state):
        time.sleep(0.05)
        yield row
checkpoints.checkpoint_rows = slow
"""


def test_a_last_checkpoint_that_takes_long_is_waited_for_until_a_second_signal(
    manager: Manager, tmp_path: Path, ipc: Path
) -> None:
    own, output = tmp_path / "own", tmp_path / "out"
    flags = ("--source-path", str(ipc), "--checkpoint-directory", str(own))
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "40000"}
    with patched(SLOW_END, *flags, output=output, **told) as process:
        manager.hears("READY=1")
        process.terminate()
        manager.hears("STOPPING=1")
        until(lambda: list(own.glob(".*.tmp")))
        until(lambda: manager.said[manager.said.index("STOPPING=1") :].count(EXTENDS) > 5)
        process.terminate()
        assert process.wait(20) == 0
    assert '"reason": "Operation canceled"' in output.read_text()
    assert list(own.iterdir()) == []


def test_nothing_is_reloaded_while_it_ends(manager: Manager, tmp_path: Path, ipc: Path) -> None:
    own, output = tmp_path / "own", tmp_path / "out"
    flags = ("--source-path", str(ipc), "--checkpoint-directory", str(own))
    told = {"NOTIFY_SOCKET": str(manager.path)}
    with patched(SLOW_END, *flags, output=output, **told) as process:
        manager.hears("READY=1")
        process.terminate()
        manager.hears("STOPPING=1")
        process.send_signal(signal.SIGHUP)
        until(lambda: '"not reloaded"' in output.read_text())
        process.terminate()
        assert process.wait(20) == 0
    assert "READY=1" not in manager.said[manager.said.index("STOPPING=1") :]
    assert "RELOADING=1" not in manager.said


def test_of_several_workers_the_supervisor_speaks(
    manager: Manager, tmp_path: Path, ipc: Path
) -> None:
    flags = ("--source-path", str(ipc), "--workers", "2", *FLAGS)
    told = partial(service, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1000000")
    with told(*flags, output=tmp_path / "out") as process:
        manager.hears("READY=1")
        assert manager.said.count("READY=1") == 1
        until(lambda: any(line.endswith("2 of 2 workers ready") for line in manager.said))
        process.terminate()
        manager.hears("STOPPING=1")
        assert process.wait(20) == 0
        assert manager.said.count("STOPPING=1") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_restart_refuses_nobody(tmp_path: Path, ipc: Path, workers: str) -> None:
    output = tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0), backlog=512) as kept:
        port = kept.getsockname()[1]
        flags = ("--source-path", str(ipc), "--operator-port", "0", "--workers", workers)
        stop, failures, answered = threading.Event(), list[str](), list[int]()

        def knock() -> None:
            while not stop.is_set() or len(answered) < 200:
                try:
                    with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=30) as client:
                        client.send('{"method": "ping"}')
                        answered.append(len(client.recv(timeout=30)))
                except Exception as error:  # noqa: BLE001 - all of them are counted
                    failures.append(repr(error))
                time.sleep(0.002)

        with service(*flags, output=output, passed=kept) as first:
            until(lambda: "serving ws" in output.read_text())
            knocking = threading.Thread(target=knock)
            knocking.start()
            until(lambda: len(answered) > 20)
            first.terminate()
            assert first.wait(20) == 0
        with service(*flags, output=output, passed=kept) as second:
            until(lambda: output.read_text().count("serving ws") == 2)
            before = len(answered)
            until(lambda: len(answered) > before + 50)
            stop.set()
            knocking.join()
            second.terminate()
            assert second.wait(20) == 0
        assert len(answered) >= 200
        gone = [one for one in failures if "ConnectionClosed" not in one]  # 1001: it was told
        assert not gone
        assert f"serving ws://127.0.0.1:{port}/ws" in output.read_text()


def test_a_unix_socket_that_it_is_given(tmp_path: Path, ipc: Path) -> None:
    output = tmp_path / "out"
    with socket.socket(socket.AF_UNIX) as kept:
        kept.bind(str(tmp_path / "api.sock"))
        kept.listen()
        flags = ("--source-path", str(ipc), "--operator-port", "0")
        with service(*flags, output=output, passed=kept):
            until(lambda: f"serving at unix:{tmp_path / 'api.sock'}" in output.read_text())
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "api.sock"))
                body = b'{"type": "serverInfo"}'
                head = b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                client.sendall(head + body)
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_an_operators_socket_by_name(tmp_path: Path, ipc: Path) -> None:
    output = tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0)) as kept:
        flags = ("--source-path", str(ipc), "--server-port", "0")
        with service(*flags, output=output, passed=kept, LISTEN_FDNAMES="operator"):
            until(lambda: "serving ws" in output.read_text())
            url = f"http://127.0.0.1:{kept.getsockname()[1]}/readyz"
            with urllib.request.urlopen(url, timeout=10) as response:
                assert json.load(response)["ready"]


def test_children_inherit_nothing_of_it(tmp_path: Path, ipc: Path) -> None:
    output = tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0)) as kept:
        flags = ("--source-path", str(ipc), "--operator-port", "0", "--workers", "2")
        with service(*flags, output=output, passed=kept) as process:
            until(lambda: "serving ws" in output.read_text())
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 2
            for child in children:
                given = Path(f"/proc/{child}/environ").read_bytes()
                assert b"LISTEN_" not in given
                assert b"NOTIFY_SOCKET" not in given
            process.terminate()
            assert process.wait(20) == 0
