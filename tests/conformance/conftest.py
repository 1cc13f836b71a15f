"""One echo server, a real process, for all cases."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
END_TIMEOUT_S = 30.0


class EchoServer:
    """A running `python -m tests.conformance.echo_server`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "tests.conformance.echo_server", *arguments),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.announced = self.process.stdout.readline()
        found = re.fullmatch(r"echoing at ws://127\.0\.0\.1:(\d+)/\n", self.announced)
        self.port = int(found[1]) if found else 0

    def ended(self) -> tuple[int, str]:
        """What it ended with, and what it wrote since it announced itself."""
        out, err = self.process.communicate(timeout=END_TIMEOUT_S)
        return self.process.returncode, out + err

    def kill(self) -> None:
        """Whatever became of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


StartEcho = Callable[..., EchoServer]


@pytest.fixture
def start_echo() -> Iterator[StartEcho]:
    """Starts echo servers that end with the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> EchoServer:
            server = EchoServer("--port", "0", *arguments)
            stack.callback(server.kill)
            return server

        yield start


@pytest.fixture(scope="session")
def echo_port() -> Iterator[int]:
    """Where an echo server listens that takes compression; it must end as if nothing had been."""
    server = EchoServer("--port", "0", "--deflate")
    try:
        assert server.port, server.announced
        yield server.port
        server.process.terminate()
        assert server.ended() == (0, "")
    finally:
        server.kill()
