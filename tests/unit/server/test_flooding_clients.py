"""Clients that send thousands of frames at once, before their Close and after ours: others have
their turns, and it comes to an end.
"""

import socket
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sidecar.api.requests import decode_request
from sidecar.protocol.inbound import take_text
from test_sessions import UPGRADE, running

pytestmark = pytest.mark.anyio

FRAME = b"\x81\x81" + bytes(4) + b"x"  # a text, not JSON
BINARY = b"\x82\x80" + bytes(4)  # not taken: 1003


class Calls:
    """Calls a function, and remembers what turn of the event loop each call was in."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._turn = 0
        self.turns: list[int] = []

    def __call__(self, *args: Any) -> Any:
        self.turns.append(self._turn)
        return self._function(*args)

    async def count(self) -> None:
        while True:
            self._turn += 1
            await checkpoint()


async def test_others_have_their_turns_between_the_frames_of_one_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.server.websocket_session.HEAR_SLICE_S", 0.0)
    heard = Calls(decode_request)
    monkeypatch.setattr("sidecar.server.websocket_session.decode_request", heard)
    async with running() as sidecar, anyio.create_task_group() as tasks:
        tasks.start_soon(heard.count)
        async with await anyio.connect_tcp("127.0.0.1", sidecar.server.port) as client:
            await client.send(UPGRADE + FRAME * 200)
            while len(heard.turns) < 200:
                await checkpoint()
        assert len(set(heard.turns)) == 200
        tasks.cancel_scope.cancel()


async def test_what_came_with_the_last_straw_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the rest of that read nor what follows it, and the client reads why."""
    parsed = Calls(take_text)
    monkeypatch.setattr("sidecar.protocol.websocket.take_text", parsed)
    async with (
        running(messages_per_minute=10) as sidecar,
        await anyio.connect_tcp("127.0.0.1", sidecar.server.port) as client,
    ):
        await client.send(UPGRADE + FRAME * 1_000)
        received = await client.receive()
        while b"more than 10 messages a minute" not in received:
            received += await client.receive()
        for _ in range(10):
            await client.send(FRAME * 1_000)
            await anyio.sleep(0.01)
        assert len(parsed.turns) == 11
        with pytest.raises(anyio.EndOfStream):
            await client.receive()
        await client.send_eof()
        while sidecar.server._gate.connections:
            await anyio.sleep(0.01)


async def test_who_sends_on_after_our_close_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.closing.CLOSE_TIMEOUT_S", 1e6)
    monkeypatch.setattr("sidecar.server.closing.CLOSING_BYTES_MAX", 100_000)
    async with running() as sidecar:
        with socket.create_connection(("127.0.0.1", sidecar.server.port)) as sock:
            sock.setblocking(False)
            sock.send(UPGRADE + BINARY)
            with pytest.raises(OSError, match=r"Connection reset|Broken pipe"):
                while True:
                    try:
                        sock.send(FRAME * 10_000)
                    except BlockingIOError:
                        await anyio.sleep(0.001)
                    await checkpoint()
        while sidecar.server._gate.connections:
            await anyio.sleep(0.01)
