"""Machines to examine: a directory that stands for `/`, nodes that are written by hand, and
`sidecar doctor` as the command that it is.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from examiner import NOBODY
from sidecar.devnet.hyperliquid.files import STREAMS, HyperliquidFiles
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.row_files import RowFileHeader
from sidecar.node.snapshot import write_snapshot
from sidecar.node.transitions import Block

CHAIN = "patient"
BLOCK_S = 0.005
ENVIRONMENT = {"python", "packages", "uvloop"}
"""Checks of what nobody may be unable to read, where it is in root's home."""
REAL = ("proc/net/tcp", "proc/net/tcp6")


class Examiner:
    """A process that runs commands; see examiner.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            (sys.executable, str(Path(__file__).with_name("examiner.py"))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, **order: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        with self._process:  # its stdin is closed, and it is waited for
            pass


class Writer:
    """Calls a function with each new height until it is closed, in a thread of its own."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self._write = write
        self._height = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(BLOCK_S):
            self._height += 1
            self._write(self._height)


def block_at(height: int, late_s: float = 0.0) -> Block:
    now = time.time_ns()
    return Block(height, now - int(late_s * 1e9), now, [])


class Patient:
    """A healthy machine of its own, until something is planted; everybody may look into it."""

    def __init__(self, path: Path, stack: ExitStack, examiner: Examiner) -> None:
        self.path = path
        self.examiner = examiner
        self.stack = stack
        self.root = path / "root"
        self.ipc = IpcDirectory(path / "ipc")
        self.data = path / "data"
        self.own = self.directory("own", NOBODY)
        self.environment: dict[str, str] = {}
        self.libraries: list[str] = []
        self.descriptors: int | None = None
        self.as_nobody = False
        self.settings: dict[str, str] = {
            "source-path": str(self.ipc.root),
            "server-port": "0",
            "operator-port": "0",
            "checkpoint-directory": str(self.own),
            "server-connections-max": "100",
        }
        self.plant("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda rw\n")
        self.plant("proc/self/status", "CapEff:\t0000000000000000\n")
        self.plant("proc/meminfo", "MemAvailable:   16000000 kB\n")
        self.plant("run/systemd/timesync/synchronized", "")
        for name in REAL:
            self.plant(name, Path("/", name).read_text())

    def directory(self, name: str, owner: int = 0) -> Path:
        path = self.path / name
        path.mkdir()
        os.chown(path, owner, owner)
        return path

    def plant(self, name: str, content: str) -> None:
        """A file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def config(self, text: str) -> Path:
        """Settings as a file, which the command is given."""
        path = self.path / "sidecar.toml"
        path.write_text(text)
        self.settings["config"] = str(path)
        return path

    def native(self, *, segment_blocks: int = 4096, late_s: float = 0.0) -> None:
        """A native node, which takes orders and writes a block now and then."""
        self.ipc.create(CHAIN, 0, 20)
        log = LogWriter(self.ipc.log, CHAIN, segment_blocks=segment_blocks)
        self.stack.callback(log.close)

        def write(height: int) -> None:
            log.append(block_at(height, late_s))

        self.stack.enter_context(Writer(write))
        self.listen(self.ipc.submit_socket)
        while log.height < segment_blocks and log.height < 10:
            time.sleep(BLOCK_S)

    def listen(self, path: Path) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stack.enter_context(sock)
        sock.bind(str(path))
        sock.listen()
        path.chmod(0o777)
        return sock

    def mount(self, options: str) -> None:
        """A small disk for the checkpoints."""
        command = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.own))
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount")
        if done.returncode:
            pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
        unmount = ("umount", "--lazy", str(self.own))
        self.stack.callback(subprocess.run, unmount, check=True)

    def snapshot(self, height: int) -> Path:
        """One of the node's, without rows."""
        header = RowFileHeader("node-snapshot/1", CHAIN, height, 0)
        return write_snapshot(self.ipc.snapshots, header, ())

    def hyperliquid(self, *, behind_s: float = 0.0) -> None:
        """A Hyperliquid node, the clock of whose rows is `behind_s` behind what it writes."""

        def clock() -> int:
            return time.time_ns() - int(behind_s * 1e9)

        files = HyperliquidFiles(self.data, (), (), local_time_ns=clock)
        self.stack.callback(files.close)
        self.stack.enter_context(Writer(lambda height: files.write(block_at(height))))
        snapshot = self.path / "l4.json"
        snapshot.write_text("[1,[]]")
        self.settings |= {
            "source-kind": "hyperliquid",
            "source-path": str(self.data),
            "source-snapshot": str(snapshot),
        }
        while len(list(self.data.glob("*/hourly/*/*"))) < len(STREAMS):
            time.sleep(BLOCK_S)

    def doctor(self, *flags: str) -> tuple[int, str]:
        """Exit code and output of the command."""
        given = [part for key, text in self.settings.items() for part in (f"--{key}", text)]
        output = self.path / "output"
        output.unlink(missing_ok=True)
        code = self.examiner.run(
            arguments=["doctor", *given, *flags],
            output=str(output),
            environment=self.environment,
            libraries=self.libraries,
            descriptors=self.descriptors,
            as_nobody=self.as_nobody,
        )
        return code, output.read_text()

    def findings(self) -> list[dict[str, Any]]:
        """What it finds on this machine, but that we are root."""
        code, output = self.doctor("--json", "--root", str(self.root))
        told: dict[str, Any] = json.loads(output)
        errors = any(one["severity"] == "error" for one in told["findings"])
        assert code == (2 if errors else 0)
        expected = ENVIRONMENT if self.as_nobody else {"user"}
        return [one for one in told["findings"] if one["check"] not in expected]
