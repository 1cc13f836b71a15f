"""A chain and two sidecars, one with workers, as processes; and what is done to them."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
from processes import Process, Server

CALM_S = 300.0  # for something that must happen in the end, on a machine that has other work
processes.START_TIMEOUT_S = CALM_S


class Stand:
    """Everything that a run starts. `close` ends it."""

    def __init__(self, directory: Path, seed: int, block_ms: int, pace_s: float) -> None:
        self.ipc = directory / "ipc"
        self._directory = directory
        self._archive = directory / "log"
        self._archive.mkdir(parents=True)
        self._seed = seed
        self._block_ms = block_ms
        self._pace_s = pace_s
        self._random = random.Random(f"{seed}:faults")
        self._started = 0
        self.done: dict[str, int] = {}
        self.troubles: list[str] = []  # ends that nobody asked for, bugs in logs
        self._servers: dict[str, Server | None] = {"one": None, "workers": None}
        self._outputs: list[Path] = []
        self._node = self._start_node()
        for name in self._servers:
            self._serve(name)

    def endpoints(self) -> list[tuple[str, str]]:
        """Names and URLs of the sidecars that are there."""
        servers = self._servers.items()
        return [(name, one.ws_url) for name, one in servers if one is not None]

    def servers(self) -> list[Server]:
        """Likewise as processes."""
        return [one for one in self._servers.values() if one is not None]

    def archive(self) -> None:
        """Keeps the log's segments, which the node deletes when they are old."""
        for segment in (self.ipc / "log").glob("*.seg"):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(segment, self._archive / segment.name)

    def faults(self) -> dict[str, Callable[[], None]]:
        """What can be done, by name. Each comes back when the worst is over."""
        return {
            "kill one": lambda: self._kill("one"),
            "kill workers": lambda: self._kill("workers"),
            "kill a worker": self._kill_worker,
            "end one politely": lambda: self._end("one"),
            "end workers politely": lambda: self._end("workers"),
            "stall one": lambda: self._stall(self._pid("one")),
            "stall a worker": lambda: self._stall(self._worker()),
            "kill the node": self._kill_node,
            "end the node politely": self._end_node,
            "stall the node": lambda: self._stall(self._node.pid),
        }

    def do(self, name: str) -> None:
        """Does it, and counts it."""
        self.done[name] = self.done.get(name, 0) + 1
        self.faults()[name]()
        self.archive()

    def end_chain(self) -> None:
        """No further block comes."""
        self._expect(self._node.stop() == 0, "the node's end")
        self.archive()

    def close(self) -> None:
        """All ends; what the logs say of bugs is noted."""
        for server in self.servers():
            self._expect(server.stop() == 0, "a sidecar's end")
        self._node.kill()
        for output in self._outputs:
            text = output.read_text(errors="replace")
            for sign in ("Traceback", "bug:", "StateMismatch"):
                if sign in text:
                    self.troubles.append(f"{output}: {sign}")

    def _serve(self, name: str) -> None:
        flags = ["--source-path", str(self.ipc), "--log-style", "json"]
        flags += ["--checkpoint-directory", str(self._directory / f"checkpoints-{name}")]
        flags += ["--checkpoint-blocks", "200", "--server-connections-per-ip", "500"]
        flags += ["--server-topics-per-ip", "100000"]
        if name == "workers":
            flags += ["--workers", "2"]
        server = Server(self._output(name), *flags)
        try:
            self._servers[name] = server.ready()
        except AssertionError:
            server.kill()
            raise

    def _start_node(self) -> Process:
        flags = ["--path", str(self.ipc), "--seed", str(self._seed)]
        flags += ["--block-ms", str(self._block_ms), "--actions-per-block", "12"]
        flags += ["--funding-ms", "20000", "--gamblers", "8", "--takers", "8", "--makers", "3"]
        node = Process(self._output("devnet"), "devnet", *flags)
        node.wait_for("block|height")
        return node

    def _output(self, name: str) -> Path:
        self._started += 1
        output = self._directory / f"{name}-{self._started:04}.log"
        self._outputs.append(output)
        return output

    def _kill(self, name: str) -> None:
        server, self._servers[name] = self._server(name), None
        self._expect(server.running, f"{name}, before it was killed")
        server.kill()
        self._rest()
        self._serve(name)

    def _end(self, name: str) -> None:
        server, self._servers[name] = self._server(name), None
        self._expect(server.stop() == 0, f"the end of {name}")
        self._rest()
        self._serve(name)

    def _kill_worker(self) -> None:
        pid = self._worker()
        os.kill(pid, signal.SIGKILL)
        self._until(lambda: pid not in self._workers() and len(self._workers()) == 2)

    def _kill_node(self) -> None:
        self._expect(self._node.running, "the node, before it was killed")
        self._node.kill()
        self._rest()
        self._node = self._start_node()

    def _end_node(self) -> None:
        self._expect(self._node.stop() == 0, "the end of the node")
        self._rest()
        self._node = self._start_node()

    def _stall(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            self._rest()
        finally:
            os.kill(pid, signal.SIGCONT)

    def _rest(self) -> None:
        time.sleep(self._random.uniform(0.1, 4 * self._pace_s))

    def _server(self, name: str) -> Server:
        server = self._servers[name]
        assert server is not None
        return server

    def _pid(self, name: str) -> int:
        return self._server(name).pid

    def _worker(self) -> int:
        self._until(lambda: len(self._workers()) == 2)
        return self._random.choice(self._workers())

    def _workers(self) -> list[int]:
        server = self._server("workers")
        told: dict[str, Any] = server.get("/readyz", server.operator_port)[1]
        return sorted(one["pid"] for one in told["workers"] if "pid" in one)

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + CALM_S
        while not holds():
            if time.monotonic() > deadline:
                self.troubles.append("a worker that ended was not started again")
                return
            time.sleep(0.05)

    def _expect(self, holds: object, what: str) -> None:
        if not holds:
            self.troubles.append(f"{what}: not as it should be")
