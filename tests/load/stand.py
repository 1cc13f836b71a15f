"""A development chain and a sidecar beside it as processes, what they use, and a witness. Whoever
makes one ends everything that it started.
"""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.load.report import Options
from tests.load.swarm import Swarm

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from processes import Process, Server

DESCRIPTORS_ASIDE = 300  # files, the server's own reserve, the witness
KIB, MIB = 1 << 10, 1 << 20
_WITNESS = Path(__file__).with_name("witness.py")


def say(text: str) -> None:
    """How far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def fit(clients: int) -> int:
    """As many clients as there can be descriptors for; says so where they are fewer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft - DESCRIPTORS_ASIDE < clients:
        fitting = soft - DESCRIPTORS_ASIDE
        say(f"{fitting} clients instead of {clients}: the descriptor limit is {soft} (ulimit -n)")
        return fitting
    return clients


class Sidecar(Server):
    """A running `sidecar serve`, and what it uses."""

    @property
    def rss(self) -> int:
        """Bytes of memory that are resident."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    @property
    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - of thousands, in a loop

    @property
    def cpu_s(self) -> float:
        """Of all its threads so far."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(one.read_text().split()[0]) for one in tasks) / 1e9

    def limit_descriptors(self, spare: int) -> int:
        """It can open so many more from now on; the limit."""
        limit = self.descriptors + spare
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit, limit))
        return limit

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that event."""
        return [line for line in self._lines() if line["event"] == event]

    @property
    def complaints(self) -> int:
        """Its log lines so far that somebody should see."""
        return sum(line["level"] in ("warning", "error") for line in self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.output.splitlines() if line.startswith("{"))


class Seen(NamedTuple):
    """What a witness saw between two moments."""

    answers_p99_ms: float
    answers_worst_ms: float
    handshakes_p99_ms: float


class Watch:
    """A witness at work."""

    def __init__(self, port: int) -> None:
        root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            (sys.executable, str(_WITNESS), str(port)),
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": root},
        )
        self.faults: list[str] = []
        self.heights = 0
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def end(self) -> "Watch":
        """Lets him tell."""
        self._process.terminate()
        told = json.loads(self._process.communicate(timeout=30)[0])
        self.faults, self.heights = told["faults"], told["heights"]
        self._answers, self._handshakes = told["answers"], told["handshakes"]
        return self

    def between(self, begin: float, end: float) -> Seen:
        """Moments are of `time.monotonic`."""
        answers = [ms for at, ms in self._answers if begin <= at < end]
        handshakes = [ms for at, ms in self._handshakes if begin <= at < end]
        return Seen(_percentile(answers, 99), max(answers, default=math.inf),
                    _percentile(handshakes, 99))  # fmt: skip

    def kill(self) -> None:
        """Whatever he does."""
        self._process.kill()
        self._process.wait()


class Stand:
    """One chain; sidecars, clients and witnesses of it."""

    def __init__(self, stack: ExitStack, options: Options, chain: tuple[str, ...]) -> None:
        self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._stack = stack
        self._seed = options.seed
        ipc = str(self._directory / "ipc")
        flags = ("--path", ipc, "--seed", str(options.seed), "--snapshot-blocks", "100", *chain)
        node = Process(self._directory / "devnet.log", "devnet", *flags)
        stack.callback(node.kill)
        limits = ("--server-connections-max", "20000", "--server-messages-per-minute", "1000000")
        self._serve = ("--source-path", ipc, *limits)  # the witness alone asks 200 times a second

    def serve(self, *flags: str) -> Sidecar:
        """A sidecar that is ready."""
        log = self._directory / f"serve-{time.monotonic_ns()}.log"
        server = Sidecar(log, *self._serve, *flags)
        self._stack.callback(server.kill)
        server.ready()
        return server

    def swarm(self, server: Sidecar) -> Swarm:
        """No clients yet."""
        swarm = Swarm(server.port, self._seed)
        self._stack.callback(swarm.close)
        return swarm

    def watch(self, server: Sidecar) -> Watch:
        """A witness, from now on."""
        watch = Watch(server.port)
        self._stack.callback(watch.kill)
        return watch


def end_children() -> None:
    """Those that were just being started when everything else was ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pid = os.getpid()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(int(child), signal.SIGKILL)
            os.waitpid(int(child), 0)


@contextmanager
def stand(options: Options, *chain: str) -> Iterator[Stand]:
    """`chain`: flags of `sidecar devnet`."""
    with ExitStack() as stack:
        yield Stand(stack, options, chain)


def _percentile(values: list[float], percent: float) -> float:
    values = sorted(values)
    return values[math.ceil(len(values) * percent / 100) - 1] if values else math.inf
