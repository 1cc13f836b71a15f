"""One server, real sockets: what clients ask, what they get, and how they are let go."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from blocks import TOYOTA, ask, bid, block, fill
from sidecar import limits
from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.node.transitions import BookRemoved, Transition
from sidecar.protocol import frames
from sidecar.server.hub import Hub
from sidecar.server.listener import bind
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.settings import ServerSettings
from sidecar.state.chain import ChainState

pytestmark = pytest.mark.anyio


class Sidecar:
    """A server over a state that the test moves by hand."""

    def __init__(self, listener: socket.socket, settings: ServerSettings) -> None:
        self.state = ChainState()
        self.state.apply(block(1, TOYOTA))
        self.hub = Hub()
        self.channels = Channels(self.state)
        self.server = Server(listener, Services(settings, self.state, self.channels, self.hub))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/ws"

    def push(self, *transitions: Transition) -> None:
        """One block, as the pipeline does it."""
        changes = self.state.apply(block(self.state.height + 1, *transitions))
        for topic, message in self.channels.publish(changes):
            self.hub.stage(topic, frames.text(encode(message)))
        work = self.hub.flush(changes.height)
        with contextlib.suppress(StopIteration):
            while True:  # however many slices it takes
                work.send(None)


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Sidecar]:
    with bind("127.0.0.1", 0) as listener:
        sidecar = Sidecar(listener, ServerSettings(**settings))
        sidecar.server.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sidecar.server.serve)
            with anyio.fail_after(20):
                yield sidecar
            tasks.cancel_scope.cancel()


async def say(client: ClientConnection, **request: Any) -> Any:
    await client.send(json.dumps(request))
    return json.loads(await client.recv())


async def subscribe(client: ClientConnection, **subscription: Any) -> Any:
    return await say(client, method="subscribe", subscription=subscription)


async def test_subscribe_snapshot_updates_unsubscribe() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        sidecar.push(bid(1, 100))
        subscription = {"type": "bbo", "coin": "TOYOTA"}
        answer = await subscribe(client, **subscription)
        data = {"method": "subscribe", "subscription": subscription}
        assert answer == {"channel": "subscriptionResponse", "data": data}
        assert json.loads(await client.recv())["data"]["bbo"][0]["px"] == "100.0"
        sidecar.push(bid(2, 101))
        assert json.loads(await client.recv())["data"]["bbo"][0]["px"] == "101.0"
        answer = await say(client, method="unsubscribe", subscription=subscription)
        assert answer["data"]["method"] == "unsubscribe"
        assert sidecar.hub.topics == 0
        sidecar.push(bid(3, 102))
        assert await say(client, method="ping") == {"channel": "pong"}


async def test_a_block_leaves_in_one_piece_with_blocks_last() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        for kind in ("trades", "blocks", "bbo"):
            coin = {} if kind == "blocks" else {"coin": "TOYOTA"}
            await subscribe(client, type=kind, **coin)
            if kind != "trades":
                await client.recv()
        sidecar.push(bid(1, 100), fill(1))
        channels = [json.loads(await client.recv())["channel"] for _ in range(3)]
        assert channels == ["trades", "bbo", "blocks"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "Expected `object`"),
        (
            '{"method": "dance"}',
            "Invalid value 'dance' - at `$.method`; method is one of subscribe",
        ),
        ('{"method": "subscribe"}', "missing required field `subscription`"),
        ('{"method": "subscribe", "subscription": {"type": "x"}}', "unknown subscription type 'x'"),
        (
            '{"method": "unsubscribe", "subscription": {"type": "blocks"}}',
            "not subscribed: blocks",
        ),
    ],
)
async def test_a_bad_request_is_answered_and_costs_nothing(text: str, message: str) -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        await client.send(text)
        answer = json.loads(await client.recv())
        assert answer["channel"] == "error"
        assert message in answer["data"]
        assert await say(client, method="ping") == {"channel": "pong"}


async def test_subscribing_twice_and_too_often_is_refused() -> None:
    async with running(subscriptions_per_connection=1) as sidecar, connect(sidecar.url) as client:
        await subscribe(client, type="trades", coin="TOYOTA")
        answer = await subscribe(client, type="trades", coin="TOYOTA")
        assert answer == {"channel": "error", "data": "already subscribed: trades:TOYOTA"}
        answer = await subscribe(client, type="bbo", coin="TOYOTA")
        assert answer["data"] == "a connection may have 1 subscriptions"


async def test_post_info_and_action() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        request = {"type": "info", "payload": {"type": "allMids"}}
        answer = await say(client, method="post", id=7, request=request)
        response = {"type": "info", "payload": {"type": "allMids", "data": {}}}
        assert answer == {"channel": "post", "data": {"id": 7, "response": response}}
        bad = {"type": "info", "payload": {"type": "nope"}}
        answer = await say(client, method="post", id=8, request=bad)
        assert answer["data"]["response"]["type"] == "error"
        assert "unknown info type 'nope'" in answer["data"]["response"]["payload"]
        action = {"type": "action", "payload": {}}
        answer = await say(client, method="post", id=9, request=action)
        assert "does not take orders" in answer["data"]["response"]["payload"]


async def closed_with(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed):
        while True:
            await client.recv()
    assert client.close_code is not None
    return client.close_code, client.close_reason or ""


async def test_binary_closes_with_1003() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        await client.send(b"binary")
        assert await closed_with(client) == (1003, "JSON text wanted, not binary")


async def test_too_many_messages_close_with_1008() -> None:
    async with running(messages_per_minute=5) as sidecar, connect(sidecar.url) as client:
        for _ in range(6):
            await client.send('{"method":"ping"}')
        assert await closed_with(client) == (1008, "more than 5 messages a minute")


async def test_a_ping_flood_closes_with_1008() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        for number in range(limits.CONTROL_FRAMES_PER_S + 1):
            await client.ping(str(number))
        code, reason = await closed_with(client)
        assert (code, "control frames" in reason) == (1008, True)


async def test_a_silent_client_is_pinged_and_lives_and_a_dead_one_is_let_go() -> None:
    async with (
        running(ping_interval_s=0.2, pong_timeout_s=0.5) as sidecar,
        connect(sidecar.url, ping_interval=None) as alive,
        await anyio.connect_tcp("127.0.0.1", sidecar.server.port) as dead,
    ):
        await dead.send(UPGRADE)
        received = b"".join([chunk async for chunk in dead])  # until the server ends it
        assert received.startswith(b"HTTP/1.1 101")
        assert received.endswith(frames.ping(b""))
        assert await say(alive, method="ping") == {"channel": "pong"}


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_a_slow_reader_of_trades_is_told_where_to_resume() -> None:
    async with (
        running(outbox_bytes_max=100_000) as sidecar,
        connect(sidecar.url, max_queue=1) as client,
    ):
        await subscribe(client, type="trades", coin="TOYOTA")
        while sidecar.hub.topics and sidecar.state.height < 5_000:
            sidecar.push(*(fill(tid) for tid in range(50)))
            if sidecar.state.height % 50 == 0:
                await anyio.lowlevel.checkpoint()
        last = 0
        with pytest.raises(ConnectionClosed):
            while True:
                message = json.loads(await client.recv())
                assert message["prev"] == last
                last = message["height"]
        assert client.close_code == 1013
        assert client.close_reason == f"too slow on trades:TOYOTA: resume from height {last}"


def narrow_socket(sidecar: Sidecar) -> socket.socket:
    """One whose kernel keeps little of what is not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 10)
    sock.connect(("127.0.0.1", sidecar.server.port))
    return sock


async def test_what_waits_too_long_ends_the_connection() -> None:
    async with (
        running(outbox_age_max_s=0.2) as sidecar,
        connect(sidecar.url, sock=narrow_socket(sidecar), max_queue=1) as client,
    ):
        await subscribe(client, type="trades", coin="TOYOTA")
        client.transport.pause_reading()
        while sidecar.state.height < 300:  # far from the bound in bytes
            sidecar.push(*(fill(tid) for tid in range(50)))
        (reader,) = sidecar.hub.slow
        while not reader._connection.ended:  # type: ignore[attr-defined]
            await anyio.sleep(0.02)
        client.transport.resume_reading()
        last = 0
        with pytest.raises(ConnectionClosed):
            while True:
                last = json.loads(await client.recv())["height"]
        assert client.close_code == 1013
        assert client.close_reason == f"too slow on trades:TOYOTA: resume from height {last}"


async def test_answers_to_pings_overtake_what_waits() -> None:
    async with running() as sidecar:
        client = connect(sidecar.url, sock=narrow_socket(sidecar), max_queue=1)
        async with client as websocket:
            await subscribe(websocket, type="trades", coin="TOYOTA")
            websocket.transport.pause_reading()
            while sidecar.state.height < 300:
                sidecar.push(*(fill(tid) for tid in range(50)))
            ponged = asyncio.ensure_future(await websocket.ping(b"here"))
            await anyio.sleep(0.05)
            websocket.transport.resume_reading()
            height = 300
            async for message in websocket:
                height = json.loads(message)["height"]
                if ponged.done():
                    websocket.transport.abort()
                    break
            assert height < 200


async def test_a_slow_reader_of_a_book_gets_the_newest() -> None:
    async with running() as sidecar, connect(sidecar.url, max_queue=1) as client:
        await subscribe(client, type="l2Book", coin="TOYOTA")
        for px in range(1, 20_000):
            removed = [BookRemoved(1, px - 1)] if px > 1 else []
            sidecar.push(*removed, bid(px, px), ask(100_000 + px, 100_000 + px))
            if px % 500 == 0:
                await anyio.lowlevel.checkpoint()
        heights: list[int] = []
        while not heights or heights[-1] < sidecar.state.height:
            heights.append(json.loads(await client.recv())["height"])
        assert heights == sorted(set(heights))
        assert len(heights) < 20_000


async def test_shutdown_tells_clients_1001() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        await say(client, method="ping")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sidecar.server.drain, 1001, "bye")
            assert await closed_with(client) == (1001, "bye")


async def test_connections_per_address_are_limited() -> None:
    async with running(connections_per_ip=1) as sidecar, connect(sidecar.url):
        answer = await exchange(sidecar, b"")
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"1 connections from one address" in answer


async def test_a_bug_in_one_connection_costs_that_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as sidecar, connect(sidecar.url) as other, connect(sidecar.url) as client:

        def broken(_subscription: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(sidecar.channels, "resolve", broken)
        await client.send('{"method":"subscribe","subscription":{"type":"blocks"}}')
        assert await closed_with(client) == (1011, "an error of the server")
        assert await say(other, method="ping") == {"channel": "pong"}


async def exchange(sidecar: Sidecar, data: bytes) -> bytes:
    """Raw bytes in, everything until the server ends out."""
    async with await anyio.connect_tcp("127.0.0.1", sidecar.server.port) as stream:
        await stream.send(data)
        answer = b""
        with anyio.move_on_after(5):
            async for chunk in stream:
                answer += chunk
        return answer


def request(head: str, body: str = "", more: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head} HTTP/1.1\r\nHost: x\r\n{length}{more}\r\n{body}".encode()


CLOSE = "Connection: close\r\n"


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (request("GET /nope", more=CLOSE), 404, "there are /ws, /info, /exchange"),
        (request("GET /info", more=CLOSE), 405, "/info takes POST with a JSON body"),
        (request("POST /exchange", "{}", CLOSE), 501, "does not take orders"),
        (request("POST /info", "{", CLOSE), 422, "the body is not JSON"),
        (request("POST /info", '{"type":"x"}', CLOSE), 422, "unknown info type 'x'"),
        (request("GET /ws", more=CLOSE), 426, ""),
        (b"\x16\x03\x01 garbage\r\n\r\n", 400, ""),
        (request("GET /" + "x" * 20_000), 414, ""),
        (request("GET /info", more=f"X: {'x' * 3000}\r\n" * 7), 431, ""),
    ],
)
async def test_http_refusals_are_json_and_close(data: bytes, status: int, message: str) -> None:
    async with running() as sidecar:
        answer = await exchange(sidecar, data)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        error = json.loads(body)
        assert error["code"] == status
        assert message in error["msg"]


async def test_http_keep_alive_and_pipelining() -> None:
    body = '{"type":"exchangeStatus"}'
    async with running() as sidecar:
        answer = await exchange(
            sidecar, request("POST /info", body) * 3 + request("POST /info", body, CLOSE)
        )
        assert answer.count(b"HTTP/1.1 200 ") == 4
        assert answer.count(b'{"time":1,"specialStatuses":null}') == 4


async def test_a_client_that_pipelines_without_reading_is_held_and_nobody_waits_for_it() -> None:
    body = '{"type":"recentTrades","coin":"TOYOTA","n":200}'
    async with running(messages_per_minute=100_000) as sidecar, connect(sidecar.url) as other:
        sidecar.push(*(fill(tid) for tid in range(200)))
        hog = socket.create_connection(("127.0.0.1", sidecar.server.port))
        with hog, anyio.move_on_after(1):
            hog.setblocking(False)
            while True:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        hog.send(request("POST /info", body) * 50)
                assert await say(other, method="ping") == {"channel": "pong"}
        (held,) = (one for one in sidecar.server._gate.connections if one.outbox)
        assert held.outbox.bytes < 100_000  # one answer


async def test_a_half_closed_client_gets_all_its_answers() -> None:
    body = '{"type":"recentTrades","coin":"TOYOTA","n":200}'
    async with running() as sidecar:
        sidecar.push(*(fill(tid) for tid in range(200)))
        async with await anyio.connect_tcp("127.0.0.1", sidecar.server.port) as stream:
            await stream.send(request("POST /info", body) * 20)
            await stream.send_eof()
            answer = b"".join([chunk async for chunk in stream])
        assert answer.count(b"HTTP/1.1 200 ") == 20
        assert answer.endswith(b"]")


async def test_each_that_opened_closes_once_with_its_code() -> None:
    async with running(messages_per_minute=1) as sidecar:
        server, address = sidecar.server, ("127.0.0.1", sidecar.server.port)
        async with connect(sidecar.url) as client:
            await client.close(4000, "mine")
        async with connect(sidecar.url) as client:
            await client.close()
        async with connect(sidecar.url) as client:
            await client.send("{}")
            await client.send("{}")
            await closed_with(client)
        async with connect(sidecar.url) as client:
            client.transport.abort()
        for data in (UPGRADE + b"\xff\xff", UPGRADE[:-4], request("GET /info")):
            with socket.create_connection(address) as sock:
                sock.sendall(data)
                await anyio.sleep(0.02)
        while sidecar.server._gate.connections:
            await anyio.sleep(0.01)
        assert server.closed == {4000: 1, 1000: 1, 1008: 1, 1006: 1, 1002: 1}
        assert server.opened == 5


async def test_an_upgrade_during_the_drain_is_not_taken() -> None:
    async with running() as sidecar:
        address = ("127.0.0.1", sidecar.server.port)
        async with connect(sidecar.url) as slow, await anyio.connect_tcp(*address) as late:
            await say(slow, method="ping")
            slow.transport.pause_reading()
            while len(sidecar.server._gate.connections) < 2:
                await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sidecar.server.drain, 1001, "bye")
                await anyio.lowlevel.checkpoint()
                await late.send(UPGRADE)
                answer = b"".join([chunk async for chunk in late])
                assert answer == b""  # it had asked for nothing yet: just the end
                slow.transport.resume_reading()


async def test_a_failed_feed_answers_no_more_requests() -> None:
    body = '{"type":"exchangeStatus"}'
    async with (
        running() as sidecar,
        await anyio.connect_tcp("127.0.0.1", sidecar.server.port) as stream,
    ):
        await stream.send(request("POST /info", body))
        assert b"200" in await stream.receive()
        await sidecar.server.drain(1011, "LogCorrupt")
        await stream.send(request("POST /info", body))
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_a_long_stalled_reader_still_finds_its_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.server.closing.CLOSE_TIMEOUT_S", 0.1)
    async with running(outbox_bytes_max=20_000) as sidecar, connect(sidecar.url) as client:
        await subscribe(client, type="trades", coin="TOYOTA")
        client.transport.pause_reading()
        while sidecar.hub.topics and sidecar.state.height < 5_000:
            sidecar.push(*(fill(tid) for tid in range(50)))
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(1.2)  # past the close deadline and a tick
        client.transport.resume_reading()
        code, reason = await closed_with(client)
        assert (code, reason.startswith("too slow on trades:TOYOTA: resume")) == (1013, True)


async def test_invalid_utf8_in_a_body_is_422() -> None:
    async with running() as sidecar:
        body = b'{"type":"l2Book","coin":"\xff"}'
        head = request("POST /info", more=f"Content-Length: {len(body)}\r\n" + CLOSE)
        answer = await exchange(sidecar, head + body)
        assert answer.startswith(b"HTTP/1.1 422 ")


async def test_only_known_fields_are_echoed() -> None:
    async with running() as sidecar, connect(sidecar.url) as client:
        deep: Any = []
        for _ in range(500):
            deep = [deep]
        answer = await subscribe(client, type="trades", coin="TOYOTA", more=deep)
        assert answer["data"]["subscription"] == {"type": "trades", "coin": "TOYOTA"}


async def test_expect_100_continue_is_answered() -> None:
    body = '{"type":"exchangeStatus"}'
    whole = request("POST /info", body, "Expect: 100-continue\r\n" + CLOSE)
    async with running() as sidecar:
        address = ("127.0.0.1", sidecar.server.port)
        async with await anyio.connect_tcp(*address) as stream:
            await stream.send(whole[: -len(body)])
            assert b"100 Continue" in await stream.receive()
            await stream.send(body.encode())
            assert b"200" in await stream.receive()
