"""What is not read: bounded for an address, HTTP answers in time, too."""

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import pytest
from websockets.asyncio.client import connect

from blocks import bid
from hostile import TEXT, Peer, frame
from sidecar.errors import Limited
from sidecar.server.unread import Unread
from test_sessions import Sidecar, running

pytestmark = pytest.mark.anyio

BODY = b'{"type":"l4Snapshot","coin":"TOYOTA"}'
HTTP = "sidecar.server.http_session"


def request(more: bytes = b"") -> bytes:
    head = b"POST /info HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n" % (more, len(BODY))
    return head + BODY


async def head_of(peer: Peer) -> bytes:
    """What the answer begins with; no more is read."""
    await peer.send(request())
    return await peer.receive(400)


@asynccontextmanager
async def crowded(**settings: int) -> AsyncIterator[Sidecar]:
    """With a book that no socket's buffers hold."""
    async with running(**settings) as sidecar:
        sidecar.push(*(bid(oid, 100) for oid in range(1, 5_001)))
        yield sidecar


def test_what_waits_is_counted_by_address() -> None:
    unread = Unread(100, "answers")
    unread.check("1.2.3.4", 1_000)  # by itself, whatever its size
    with unread.held("1.2.3.4", 60):
        unread.check("1.2.3.4", 40)
        with pytest.raises(Limited, match="60 bytes of answers to this address wait"):
            unread.check("1.2.3.4", 41)
        unread.check("5.6.7.8", 100)
    unread.check("1.2.3.4", 100)
    assert not unread._waiting


async def test_answers_that_one_address_does_not_read_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.server.unread.UNREAD_ANSWERS_BYTES_PER_IP", 3_000_000)
    async with crowded() as sidecar:
        port = sidecar.server.port
        peers = [Peer(port, recv_buffer=8192) for _ in range(10)]
        heads = [await head_of(peer) for peer in peers]
        taken = [head for head in heads if head.startswith(b"HTTP/1.1 200")]
        refused = [head for head in heads if head.startswith(b"HTTP/1.1 429")]
        assert 1 <= len(taken) < 4
        assert len(taken) + len(refused) == 10
        assert all(b"Retry-After: 1\r\n" in head for head in refused)
        assert sum(one.outbox.bytes for one in sidecar.server._gate.connections) < 3_000_000
        with Peer(port, source="127.0.0.2") as other:
            assert (await head_of(other)).startswith(b"HTTP/1.1 200")
        with peers[-1]:  # whose connection goes on
            for peer in peers[:-1]:
                peer.sock.close()
            while sidecar.server.connections > 1:
                await anyio.sleep(0.005)
            assert (await head_of(peers[-1])).startswith(b"HTTP/1.1 200")
        while sidecar.server.connections:
            await anyio.sleep(0.005)
        assert not sidecar.server._services.unread_answers._waiting


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
async def test_an_answer_that_is_taken_by_drops_has_its_time(
    more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{HTTP}.IDLE_HTTP_TIMEOUT_S", 2.0)
    monkeypatch.setattr(f"{HTTP}.ANSWER_BYTES_PER_S_MIN", 10_000_000)
    async with crowded() as sidecar:
        with Peer(sidecar.server.port, recv_buffer=8192) as peer:
            await peer.send(request(more))
            await peer.receive(400)
            with anyio.fail_after(15):
                while sidecar.server.connections:
                    with anyio.move_on_after(0.01):
                        await peer.receive(500)
                    await anyio.sleep(0.01)
            assert not sidecar.server._services.unread_answers._waiting


async def test_whoever_reads_has_all_of_it_however_long_it_is() -> None:
    async with crowded() as sidecar:
        with Peer(sidecar.server.port) as peer:
            await peer.send(request() + request(b"Connection: close\r\n"))
            data = await peer.rest()
        assert data.count(b"HTTP/1.1 200 OK") == 2
        assert data.count(b'"oid":') == 2 * 5_000


L4_BOOK = {"type": "l4Book", "coin": "TOYOTA"}
LARGE = [
    {"method": "subscribe", "subscription": L4_BOOK},
    {"method": "subscribe", "subscription": L4_BOOK, "resume": {"height": 0}},
    {"method": "post", "id": 1, "request": {"type": "info", "payload": json.loads(BODY)}},
]


async def first_of(peer: Peer, request: object) -> bytes:
    """What a WebSocket client is told first; no more is read."""
    await peer.upgrade()
    await peer.send(frame(TEXT, json.dumps(request).encode()))
    return await peer.receive(400)


@pytest.mark.parametrize("large", LARGE, ids=["subscribe", "resume", "post"])
async def test_snapshots_that_one_address_does_not_read_are_bounded(
    large: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.server.unread.UNREAD_SNAPSHOTS_BYTES_PER_IP", 1_000_000)
    async with crowded(outbox_bytes_max=10_000) as sidecar:
        port, waiting = (
            sidecar.server.port,
            sidecar.server._services.unread_snapshots.of("127.0.0.1"),
        )
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(port, recv_buffer=8192)) for _ in range(10)]
            told = [await first_of(peer, large) for peer in peers]
            refused = [one for one in told if b"bytes of snapshots to this address wait" in one]
            assert 5 < len(refused) < 10
            assert waiting.bytes < 2_000_000  # one went beyond
            assert waiting.bytes == sum(
                c.outbox._uncounted for c in sidecar.server._gate.connections
            )
            with Peer(port, source="127.0.0.2") as other:
                assert b"this address" not in await first_of(other, large)
            await peers[-1].send(frame(TEXT, b'{"method":"ping"}'))
            assert b"pong" in await peers[-1].receive(400)  # its connection goes on
            with Peer(port) as small:
                ping = await first_of(small, {"method": "ping"})
                assert b"pong" in ping
        while sidecar.server.connections:
            await anyio.sleep(0.005)
        assert not waiting.bytes
        with Peer(port) as again:
            assert b"this address" not in await first_of(again, large)


async def test_snapshots_that_are_read_wait_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.unread.UNREAD_SNAPSHOTS_BYTES_PER_IP", 1)
    async with crowded(outbox_bytes_max=10_000) as sidecar:
        unread = sidecar.server._services.unread_snapshots
        async with connect(sidecar.url, max_size=None) as client:
            for _ in range(3):
                await client.send(json.dumps(LARGE[2]))
                assert json.loads(await client.recv())["data"]["response"]["type"] == "info"
                assert not unread.of("127.0.0.1").bytes
        while sidecar.server.connections:
            await anyio.sleep(0.005)
    assert not unread._waiting
