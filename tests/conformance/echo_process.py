"""The echo server as a process of its own."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
        announced = self.process.stdout.readline()
        found = re.fullmatch(r"echoing at ws://127\.0\.0\.1:(\d+)/\n", announced)
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
