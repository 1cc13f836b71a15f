"""Slow consumers: each costs a bounded amount, learns what it missed, and is felt by nobody."""

import json

import anyio
import pytest
from websockets.asyncio.client import connect

from blocks import ask, bid, fill
from hostile import CLOSE, TEXT, Peer, frame, frames_of, shorten
from sidecar.node.transitions import BookRemoved
from test_sessions import Sidecar, running, subscribe

pytestmark = pytest.mark.anyio

BOUND = 100_000
PING = b'{"method":"ping"}'
ASK_TRADES = b'{"method":"post","id":1,"request":{"type":"info","payload":%b}}' % (
    b'{"type":"recentTrades","coin":"TOYOTA","n":200}'
)


def subscription(kind: str) -> bytes:
    wanted = {"type": kind, "coin": "TOYOTA"}
    return frame(TEXT, json.dumps({"method": "subscribe", "subscription": wanted}).encode())


def a_block(sidecar: Sidecar, number: int) -> None:
    """Trades and a new best price on both sides."""
    removed = [BookRemoved(1, number - 1)] if number > 1 else []
    fills = [fill(50 * number + index) for index in range(50)]
    sidecar.push(*removed, bid(number, number), ask(1_000_000 + number, 100_000 + number), *fills)


def waiting(sidecar: Sidecar) -> list[int]:
    return [one.outbox.bytes for one in sidecar.server._gate.connections]


async def test_slow_consumers_are_bounded_and_healthy_ones_get_everything() -> None:
    """One that stops reading `l2Book` (LATEST), one that stops reading `trades` (EVERY)."""
    async with running(outbox_bytes_max=BOUND) as sidecar, connect(sidecar.url) as healthy:
        port = sidecar.server.port
        with Peer(port, recv_buffer=8192) as latest, Peer(port, recv_buffer=8192) as every:
            for peer, kind in ((latest, "l2Book"), (every, "trades")):
                await peer.upgrade()
                await peer.send(subscription(kind))
            await subscribe(healthy, type="trades", coin="TOYOTA")
            while sidecar.hub.topics < 2:
                await anyio.sleep(0.005)
            await anyio.sleep(0.05)
            last, blocks = 0, 400
            for number in range(1, blocks + 1):
                a_block(sidecar, number)
                message = json.loads(await healthy.recv())
                assert message["prev"] == last
                last = message["height"]
                assert max(waiting(sidecar)) <= BOUND + 20_000  # what is asked before it is closed
            assert last == sidecar.state.height
            await _gets_the_newest(latest, last)
            await _learns_where_to_resume(every)


async def _gets_the_newest(latest: Peer, newest: int) -> None:
    """Heights never go back; what was passed over is not sent later."""
    data, heights = b"", [0]
    while heights[-1] < newest:
        data += await latest.receive()
        messages = [json.loads(payload) for _, payload in frames_of(data)]
        heights = [0] + [one["height"] for one in messages if one["channel"] == "l2Book"]
    assert heights == sorted(set(heights))
    assert len(heights) < newest / 2


async def _learns_where_to_resume(every: Peer) -> None:
    frames = list(frames_of(await every.rest()))
    first, closing = frames[-1]
    assert (first, closing[:2]) == (CLOSE, b"\x03\xf5")
    messages = [json.loads(payload) for _, payload in frames[:-1]]
    trades = [one for one in messages if one["channel"] == "trades"]
    for before, after in zip([0] + [one["height"] for one in trades], trades, strict=False):
        assert after["prev"] == before
    wanted = f"too slow on trades:TOYOTA: resume from height {trades[-1]['height']}"
    assert closing[2:].decode() == wanted


@pytest.mark.parametrize("text", [ASK_TRADES, PING], ids=["queries", "pings"])
async def test_slow_consumer_of_answers_is_closed(text: bytes) -> None:
    """It asks, and asks, and reads nothing."""
    settings = {"outbox_bytes_max": BOUND, "messages_per_minute": 1 << 30}
    async with running(**settings) as sidecar:
        sidecar.push(*(fill(tid) for tid in range(200)))
        with Peer(sidecar.server.port, recv_buffer=8192) as peer:
            await peer.upgrade()
            (connection,) = sidecar.server._gate.connections
            while not connection._finishing:
                await peer.send(frame(TEXT, text))
                await anyio.lowlevel.checkpoint()
                assert connection.outbox.bytes < BOUND + 50_000
            reason = "too slow: the answers asked for are not read"
            assert await peer.close_frame() == (1013, reason)


async def test_one_answer_beyond_the_bound_is_no_slow_consumer_but_two_unread_ones_are() -> None:
    request = {"type": "info", "payload": {"type": "l4Snapshot", "coin": "TOYOTA"}}
    ask_all = json.dumps({"method": "post", "id": 1, "request": request})
    async with (
        running(outbox_bytes_max=BOUND) as sidecar,
        connect(sidecar.url, max_size=None) as healthy,
    ):
        sidecar.push(*(bid(oid, 100) for oid in range(1, 5_001)))
        await subscribe(healthy, type="blocks")
        for _ in range(3):
            await healthy.send(ask_all)
            told = json.loads(await healthy.recv())
            while told["channel"] == "blocks":
                told = json.loads(await healthy.recv())
            assert len(json.dumps(told)) > 10 * BOUND
            await healthy.send(PING.decode())
            assert json.loads(await healthy.recv())["channel"] == "pong"
        with Peer(sidecar.server.port, recv_buffer=8192) as peer:
            await peer.upgrade()
            await peer.send(frame(TEXT, ask_all.encode()))
            while max(one.outbox._uncounted for one in sidecar.server._gate.connections) < BOUND:
                await anyio.sleep(0.005)
            sidecar.push(bid(5_001, 100))
            assert max(waiting(sidecar)) == 0
            await peer.send(frame(TEXT, ask_all.encode()))
            reason = "too slow: the answers asked for are not read"
            assert await peer.close_frame() == (1013, reason)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_snapshot_that_is_read_by_drops_ends_it_and_one_that_is_read_does_not(
    monkeypatch: pytest.MonkeyPatch, *, reads: bool
) -> None:
    shorten(monkeypatch, ANSWER_BYTES_PER_S_MIN=1_000_000)
    async with running(outbox_age_max_s=0.3) as sidecar:
        sidecar.push(*(bid(oid, 100) for oid in range(1, 10_001)))
        with Peer(sidecar.server.port, recv_buffer=8192) as peer:
            await peer.upgrade()
            await peer.send(subscription("l4Book"))
            (connection,) = sidecar.server._gate.connections
            while not connection.outbox:
                await anyio.sleep(0.005)
            data = b""
            while not connection._finishing and connection.outbox:
                data += await peer.receive(1 << 20 if reads else 1_000)
                await anyio.sleep(0 if reads else 0.01)
            assert connection._finishing is not reads
            if not reads:
                *_, (first, payload) = frames_of(data + await peer.rest())
                reason = b"too slow: less than 1000000 bytes a second were read"
                assert (first, payload) == (CLOSE, b"\x03\xf5" + reason)


async def test_slow_consumers_get_all_that_waits_before_the_close() -> None:
    """A megabyte is in the outbox when the server drains: none of it is cut off."""
    async with running() as sidecar:
        with Peer(sidecar.server.port, recv_buffer=8192) as peer:
            await peer.upgrade()
            await peer.send(subscription("trades"))
            while not sidecar.hub.topics:
                await anyio.sleep(0.005)
            for number in range(1, 2_000):
                a_block(sidecar, number)
                if max(waiting(sidecar)) > 1 << 20:
                    break
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sidecar.server.drain, 1001, "bye")
                *said, closing = frames_of(await peer.rest())
                tasks.cancel_scope.cancel()  # it waits for our end, too
            assert closing == (CLOSE, b"\x03\xe9bye")
            messages = [json.loads(payload) for _, payload in said][1:]
            assert [one["prev"] for one in messages] == [0, *range(2, sidecar.state.height)]


async def test_slow_consumers_that_read_a_little_now_and_then_get_all_there_is() -> None:
    """No message is torn, doubled or left out where nothing is too slow."""
    async with running() as sidecar:
        with Peer(sidecar.server.port, recv_buffer=8192) as peer:
            await peer.upgrade()
            await peer.send(subscription("trades"))
            while not sidecar.hub.topics:
                await anyio.sleep(0.005)
            data = b""
            for number in range(1, 200):
                a_block(sidecar, number)
                data += await peer.receive(1 + 997 * number % 5000)
            while not data.endswith(b"}") or not _reaches(data, sidecar.state.height):
                data += await peer.receive()
            messages = [json.loads(payload) for _, payload in frames_of(data)][1:]
            assert [one["prev"] for one in messages] == [0, *range(2, sidecar.state.height)]


def _reaches(data: bytes, height: int) -> bool:
    *_, (_, payload) = frames_of(data)
    return bool(json.loads(payload).get("height") == height)
