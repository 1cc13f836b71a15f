"""The echo server itself: how it starts and ends, and what it does not wait for."""

import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.conformance.casebook import closed_with, echo_of, end, ping
from tests.conformance.compression import deflated
from tests.conformance.echo_process import ROOT, StartEcho
from tests.conformance.frame_client import BINARY, CLOSE, FrameClient, fragments, frame, text
from tests.conformance.test_autobahn_12_compression import ANSWER, OFFER


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_tells_its_clients(
    number: signal.Signals, start_echo: StartEcho
) -> None:
    server = start_echo("--port", "0")
    with FrameClient(server.port) as open_one, FrameClient(server.port) as in_a_message:
        in_a_message.send(text(b"begun", fin=False) + ping())
        assert in_a_message.hear()
        server.process.send_signal(number)
        assert server.ended() == (0, "")
        assert closed_with(open_one) == 1001
        assert closed_with(in_a_message) == 1001


def test_compression_is_declined_unless_it_is_told_to_take_it(start_echo: StartEcho) -> None:
    server = start_echo("--port", "0")
    with FrameClient(server.port, OFFER) as client:
        assert client.extensions is None
        client.send(frame(0x1, b"x", rsv=4))
        assert closed_with(client) == 1002


def test_a_port_that_is_taken_is_said(start_echo: StartEcho) -> None:
    taken = start_echo("--port", "0").port
    server = start_echo("--port", str(taken))
    code, output = server.ended()
    assert (code, server.port) == (2, 0)
    assert f"can't listen on 127.0.0.1 port {taken}" in output


def test_help_tells_the_flags() -> None:
    command = (sys.executable, "-m", "tests.conformance.echo_server", "--help")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(flag in done.stdout for flag in ("--port", "--host", "--deflate"))


def test_it_has_limits_of_its_own(echo_port: int) -> None:
    longest = b"\0" * (16 << 20)
    with FrameClient(echo_port) as client:
        client.send(frame(BINARY, longest + b"\0"))
        assert closed_with(client) == 1009
    with FrameClient(echo_port) as client:
        client.send(b"".join(fragments(BINARY, bytes(1 << 17), 1)))
        assert client.hear() == echo_of(bytes(1 << 17), BINARY)
        end(client)


def test_a_compressed_message_may_be_as_long_as_a_plain_one(echo_port: int) -> None:
    """16 MiB of nothing fit a frame of 16 kB; one byte more is refused."""
    longest = bytes(16 << 20)
    with FrameClient(echo_port, OFFER) as client:
        assert client.extensions == ANSWER
        client.send(frame(BINARY, deflated(longest), rsv=4))
        heard = client.hear()
        assert heard is not None
        assert (heard.opcode, heard.rsv) == (BINARY, 4)
        client.send(frame(BINARY, deflated(longest + b"\0"), rsv=4))
        assert closed_with(client) == 1009


def test_a_client_that_never_ends_is_let_go(echo_port: int) -> None:
    """Its Close is answered; it goes on sending and does not end the connection."""
    with FrameClient(echo_port) as client:
        client.send(frame(CLOSE))
        assert closed_with(client) == 1005
        with suppress(ConnectionError):
            while True:
                client.send(ping(b"x" * 100) * 1000)
