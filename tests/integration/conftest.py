"""Processes that end with their test."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import Process, Serve, Server, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `sidecar` commands; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start_one(*arguments: str) -> Process:
            output = tmp_path / f"{arguments[0]}-{time.monotonic_ns()}.log"
            process = Process(output, *arguments)
            stack.callback(process.kill)
            return process

        yield start_one


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `sidecar serve` on a free port; ends with the test."""
    with contextlib.ExitStack() as stack:

        def serve_one(*arguments: str, ready: bool = True) -> Server:
            server = Server(tmp_path / f"serve-{time.monotonic_ns()}.log", *arguments)
            stack.callback(server.kill)
            return server.ready() if ready else server

        yield serve_one
