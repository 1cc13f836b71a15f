"""However a peer ends, or does not: its connection ends in time, once, and nobody else's does."""

import contextlib
import json
import socket
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from blocks import fill
from hostile import BINARY, CLOSE, PING, TEXT, Peer, all_gone, frame, frames_of, shorten
from test_sessions import Sidecar, running, say, subscribe

pytestmark = pytest.mark.anyio

OFFENCE = frame(BINARY, b"x")  # the server closes with 1003
SUBSCRIBE = b'{"method":"subscribe","subscription":{"type":"trades","coin":"TOYOTA"}}'


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, CLOSE_TIMEOUT_S=0.4, _TICK_S=0.05)


async def ignores_the_close(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(OFFENCE)
    assert await peer.close_frame() == (1003, "JSON text wanted, not binary")


async def sends_data_for_ever_after_the_close(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(OFFENCE)
    while True:
        await peer.send(frame(TEXT, b'{"method":"ping"}') * 50 + frame(PING, b"!"))


async def sends_data_for_ever_after_its_own_close(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(CLOSE, b"\x03\xe8"))
    while True:
        await peer.send(frame(TEXT, b'{"method":"ping"}') * 50)


async def sends_a_frame_that_never_ends(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(OFFENCE + bytes((TEXT, 0xFF)) + (1 << 62).to_bytes(8, "big") + bytes(4))
    while True:
        await peer.send(b"x" * 10_000)


async def never_reads(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(TEXT, SUBSCRIBE))
    await until(lambda: sidecar.hub.topics == 1)
    while not any(one.outbox for one in sidecar.server._gate.connections):
        sidecar.push(*(fill(tid) for tid in range(50)))
    await peer.send(OFFENCE)
    await all_gone(sidecar.server)


async def crosses_the_close(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(OFFENCE + frame(CLOSE, b"\x03\xe8"))
    assert [(first, data[:2]) for first, data in frames_of(await peer.rest())] == [
        (CLOSE, b"\x03\xeb")
    ]


async def closes_twice(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(CLOSE, b"\x03\xe8") + frame(CLOSE, b"\x03\xe9") * 100)
    assert list(frames_of(await peer.rest())) == [(CLOSE, b"\x03\xe8")]


async def half_closes(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(TEXT, b'{"method":"ping"}'))
    peer.sock.shutdown(1)
    assert list(frames_of(await peer.rest())) == [(TEXT, b'{"channel":"pong"}')]


async def half_closes_within_a_frame(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(TEXT, b'{"method":"ping"}')[:9])
    peer.sock.shutdown(1)
    assert await peer.rest() == b""


async def closes_and_half_closes_and_never_reads(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(CLOSE))
    peer.sock.shutdown(1)
    await all_gone(sidecar.server)


async def resets(sidecar: Sidecar, peer: Peer) -> None:
    peer.reset()


async def resets_within_a_message(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(frame(TEXT, b'{"method":"ping"}')[:9])
    peer.reset()


async def resets_after_the_close(sidecar: Sidecar, peer: Peer) -> None:
    await peer.send(OFFENCE)
    assert await peer.receive()
    peer.reset()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.sleep(0.005)


@pytest.mark.parametrize(
    "abuse",
    [
        ignores_the_close,
        sends_data_for_ever_after_the_close,
        sends_data_for_ever_after_its_own_close,
        sends_a_frame_that_never_ends,
        never_reads,
        crosses_the_close,
        closes_twice,
        half_closes,
        half_closes_within_a_frame,
        closes_and_half_closes_and_never_reads,
        resets,
        resets_within_a_message,
        resets_after_the_close,
    ],
)
async def test_close_abuse_ends_in_time_and_once(
    abuse: Callable[[Sidecar, Peer], Awaitable[None]],
) -> None:
    """A connection that was counted out twice would be logged as a bug."""
    with capture_logs() as logs:
        async with running(messages_per_minute=1 << 30) as sidecar:
            with Peer(sidecar.server.port, recv_buffer=4096) as peer:
                await peer.upgrade()
                with contextlib.suppress(OSError):  # the server has gone
                    await abuse(sidecar, peer)
                await all_gone(sidecar.server)
            async with connect(sidecar.url) as other:
                assert await say(other, method="ping") == {"channel": "pong"}
            await all_gone(sidecar.server)
    events = [one["event"] for one in logs]
    assert not any("bug" in event for event in events)
    assert (events.count("opened"), events.count("closed")) == (2, 2)


async def test_close_abuse_by_reading_a_little_at_a_time_ends_in_time() -> None:
    """Much waits for it as it half closes; that some of it goes buys no time."""
    async with running(outbox_bytes_max=100_000_000) as sidecar:
        with Peer(sidecar.server.port, recv_buffer=64 << 10) as peer:
            await peer.upgrade()
            await peer.send(frame(TEXT, SUBSCRIBE))
            await peer.receive(100)
            (connection,) = sidecar.server._gate.connections
            while connection.outbox.bytes < 10_000_000:
                sidecar.push(*(fill(tid) for tid in range(50)))
            peer.sock.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            while sidecar.server._gate.connections:
                with contextlib.suppress(BlockingIOError):
                    peer.sock.recv(60_000)
                await anyio.sleep(0.04)
            assert time.monotonic() < began + 5  # all of it takes seven seconds


async def test_close_abuse_of_many_at_once_is_not_felt() -> None:
    """Whoever keeps to the rules gets every message, in order."""
    async with running(connections_per_ip=200) as sidecar, connect(sidecar.url) as healthy:
        await subscribe(healthy, type="trades", coin="TOYOTA")
        peers = [Peer(sidecar.server.port, recv_buffer=4096) for _ in range(40)]
        for peer in peers:
            await peer.upgrade()
            await peer.send(frame(TEXT, SUBSCRIBE))
            assert await peer.receive(100)
        for number, peer in enumerate(peers):
            if number % 4 == 0:
                peer.reset()
            elif number % 4 == 1:
                await peer.send(OFFENCE)
            elif number % 4 == 2:
                peer.sock.shutdown(1)
        last = 0
        for tid in range(300):
            sidecar.push(fill(tid))
            message = json.loads(await healthy.recv())
            assert message["prev"] == last
            last = message["height"]
        for peer in peers:
            peer.sock.close()
        await until(lambda: len(sidecar.server._gate.connections) == 1)
