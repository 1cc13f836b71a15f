"""HTTP answers that are not read: bounded for an address, and in time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from blocks import bid
from hostile import Peer
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
async def crowded() -> AsyncIterator[Sidecar]:
    """With a book that no socket's buffers hold."""
    async with running() as sidecar:
        sidecar.push(*(bid(oid, 100) for oid in range(1, 5_001)))
        yield sidecar


def test_what_waits_is_counted_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.unread.UNREAD_ANSWERS_BYTES_PER_IP", 100)
    unread = Unread()
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
        assert not sidecar.server._services.unread._waiting


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
            assert not sidecar.server._services.unread._waiting


async def test_whoever_reads_has_all_of_it_however_long_it_is() -> None:
    async with crowded() as sidecar:
        with Peer(sidecar.server.port) as peer:
            await peer.send(request() + request(b"Connection: close\r\n"))
            data = await peer.rest()
        assert data.count(b"HTTP/1.1 200 OK") == 2
        assert data.count(b'"oid":') == 2 * 5_000
