"""A chain and a sidecar as processes, what they use, and how quickly somebody else is answered."""

import math
import multiprocessing
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.load.crowd import Crowd

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from processes import Process, Server

__all__ = ["Latency", "Probe", "Row", "Server", "World", "fit", "rss", "world"]

DESCRIPTORS_ASIDE = 200


class Row(NamedTuple):
    """One line of the result."""

    target: str  # R1 to R26
    what: str
    measured: str
    wanted: str
    met: bool


class World:
    """A development chain, and a sidecar beside it that can be started again."""

    def __init__(self, directory: Path, stack: ExitStack, chain: tuple[str, ...]) -> None:
        self._directory = directory
        self._stack = stack
        self.ipc = directory / "ipc"
        node = Process(directory / "devnet.log", "devnet", "--path", str(self.ipc), *chain)
        stack.callback(node.kill)
        node.wait_for("submi|block|height")

    def serve(self, *flags: str) -> Server:
        """Ready; limits per address are raised, as for a load balancer."""
        output = self._directory / f"serve-{time.monotonic_ns()}.log"
        common = ("--source-path", str(self.ipc), "--server-connections-per-ip", "100000")
        server = Server(output, *common, *flags)
        self._stack.callback(server.kill)
        return server.ready()

    def crowd(self, server: Server) -> Crowd:
        """Clients of it, closed at the end."""
        crowd = Crowd(server.port)
        self._stack.callback(crowd.close)
        return crowd


@contextmanager
def world(*chain: str) -> Iterator[World]:
    """Ends everything that was started."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        yield World(Path(directory), stack, chain)


def rss(server: Server) -> int:
    """Bytes of memory that it has resident."""
    pages = Path(f"/proc/{server.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def fit(clients: int) -> int:
    """As many clients as this process may have descriptors for; says so where they are fewer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fitting = min(clients, hard - DESCRIPTORS_ASIDE)
    if fitting < clients:
        print(f"only {fitting} clients: the descriptor limit is {hard}", file=sys.stderr)
    return fitting


class Latency(NamedTuple):
    """Of a ping (`{"method":"ping"}`) and its answer, ms."""

    p50: float
    p99: float
    worst: float


class Probe:
    """A client in a process of its own, which pings every few ms: how the others are served."""

    def __init__(self, server: Server) -> None:
        self._pipe, there = multiprocessing.get_context("spawn").Pipe()
        command = (sys.executable, "-m", "tests.load.probe", str(server.port))
        there.close()
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def result(self) -> Latency:
        """Ends it."""
        self._process.send_signal(signal.SIGTERM)
        out, _ = self._process.communicate(timeout=20)
        times = sorted(map(float, out.split()))
        assert times, "the probe was not answered at all"
        place = math.ceil(len(times) * 0.99) - 1
        return Latency(times[len(times) // 2], times[place], times[-1])
