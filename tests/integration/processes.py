"""Real processes: `sidecar` commands as an operator starts them, ended by who started them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

START_TIMEOUT_S = 90.0  # the machine may be shared
COMMAND = (sys.executable, "-m", "sidecar")


class Process:
    """A running `sidecar` command; its output is in a file."""

    def __init__(
        self,
        output: Path,
        *arguments: str,
        command: tuple[str, ...] = COMMAND,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._output = output
        known = {"PYTHONUNBUFFERED": "1", "SIDECAR_OPERATOR_PORT": "0"}
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                (*command, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **known, **environment},
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Until the output shows the pattern."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (match := re.search(pattern, self.output)):
            assert self.running, f"ended with {self._process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.output}"
            time.sleep(0.01)
        return match

    def wait(self) -> int:
        """Until it ends by itself; its exit code."""
        return self._process.wait(START_TIMEOUT_S)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """Politely; its exit code."""
        if self.running:
            self._process.terminate()
        return self.wait()

    def kill(self) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()


class Server(Process):
    """A running `sidecar serve`, ready."""

    def __init__(self, output: Path, *arguments: str, **how: Any) -> None:
        super().__init__(output, "serve", "--server-port", "0", *arguments, **how)
        self.headers: dict[str, str] = {}  # of the last answer

    def ready(self) -> "Server":
        self.port = int(self.wait_for(r"serving ws://127\.0\.0\.1:(\d+)/ws")[1])
        return self

    @property
    def operator_port(self) -> int:
        return int(self.wait_for(r'"port": (\d+), "event": "operators are answered"')[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def get(self, path: str, port: int) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(f"http://127.0.0.1:{port}{path}"))

    def info(self, **request: Any) -> Any:
        return self.post("/info", json.dumps(request).encode())[1]

    def post(self, path: str, body: bytes) -> tuple[int, Any]:
        request = urllib.request.Request(self.url + path, body)
        request.add_header("Content-Type", "application/json")
        return self._ask(request)

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                self.headers = dict(response.headers)
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                self.headers = dict(error.headers)
                return error.code, json.load(error)


Start = Callable[..., Process]
Serve = Callable[..., Server]
