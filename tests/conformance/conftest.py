"""One echo server, a real process, for all cases."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.echo_process import EchoServer, StartEcho


@pytest.fixture
def start_echo() -> Iterator[StartEcho]:
    """Starts echo servers that end with the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> EchoServer:
            server = EchoServer(*arguments)
            stack.callback(server.kill)
            return server

        yield start


@pytest.fixture(scope="session")
def echo_port() -> Iterator[int]:
    """Where an echo server listens that takes compression; it must end as if nothing had been."""
    server = EchoServer("--port", "0", "--deflate")
    try:
        assert server.port, server.ended()
        yield server.port
        server.process.terminate()
        assert server.ended() == (0, "")
    finally:
        server.kill()
