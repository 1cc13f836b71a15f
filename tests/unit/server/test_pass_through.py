"""What the sidecar does not know is asked of the node, and nothing else is."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from websockets.asyncio.client import ClientConnection, connect

from blocks import TOYOTA, block
from info_peer import Answer, InfoPeer, free_port, http, info_peer, says, stays_silent
from sidecar.api.channels import Channels
from sidecar.api.info.elsewhere import ELSEWHERE
from sidecar.node.hyperliquid import InfoClient
from sidecar.server.hub import Hub
from sidecar.server.listener import bind
from sidecar.server.pass_through import PassThrough
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.settings import ServerSettings
from sidecar.state.chain import ChainState

pytestmark = pytest.mark.anyio

QUERY = {"type": "delegations", "user": "0x" + "0a" * 20}
BODY = b'[{ "amount" : "1.0",  "big": 123456789012345678901234567890 }]'


@asynccontextmanager
async def serving(pass_through: PassThrough | None) -> AsyncIterator[int]:
    """A server; its port."""
    state = ChainState()
    state.apply(block(1, TOYOTA))
    hub = Hub()
    with bind("127.0.0.1", 0) as listener:
        services = Services(ServerSettings(), state, Channels(state), hub)
        server = Server(listener, replace(services, pass_through=pass_through))
        server.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve)
            with anyio.fail_after(20):
                yield server.port
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def sidecar(answer: Answer, **options: Any) -> AsyncIterator[tuple[int, InfoPeer]]:
    """A server beside a node whose info server answers in that way."""
    async with (
        info_peer(answer) as peer,
        serving(PassThrough(InfoClient(peer.url), **options)) as port,
    ):
        yield port, peer


async def post(port: int, request: Any) -> tuple[int, str, bytes]:
    """Status, content type and body of an info request."""
    client = InfoClient(f"http://127.0.0.1:{port}/info")
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return await client.post(body, timeout_s=10, answer_bytes_max=1 << 23)


def connected(port: int) -> Any:
    return connect(f"ws://127.0.0.1:{port}/ws")


async def send(client: ClientConnection, number: int, payload: Any) -> None:
    request = {"type": "info", "payload": payload}
    await client.send(json.dumps({"method": "post", "id": number, "request": request}))


async def hear(client: ClientConnection) -> tuple[int, Any]:
    data = json.loads(await client.recv())["data"]
    return data["id"], data["response"]


async def test_the_nodes_bytes_come_out_as_they_are() -> None:
    async with sidecar(says(http(200, BODY, "application/json; charset=utf-8"))) as (port, peer):
        assert await post(port, QUERY) == (200, "application/json; charset=utf-8", BODY)
        assert peer.requests == [QUERY]


async def test_the_nodes_error_is_passed_on() -> None:
    async with sidecar(says(http(422, b"Failed to deserialize", "text/plain"))) as (port, _):
        assert await post(port, QUERY) == (422, "text/plain", b"Failed to deserialize")
        async with connected(port) as client:
            await send(client, 1, QUERY)
            error = {"type": "error", "payload": "422: Failed to deserialize"}
            assert await hear(client) == (1, error)


async def test_what_is_known_here_is_answered_here() -> None:
    async with sidecar(says(http(200, b"null"))) as (port, peer):
        status, _, body = await post(port, {"type": "allMids"})
        assert (status, body) == (200, b"{}")
        assert peer.requests == []


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "fileSnapshot", "request": {"type": "l4Snapshots"}, "outPath": "/tmp/x"},
        {"type": "l4Snapshots"},
        {"type": "nope"},
        {"type": ["delegations"]},
        ["delegations"],
        b'{"type": "delegations", "type": "fileSnapshot", "outPath": "/tmp/x"}',
        b"{",
    ],
)
async def test_other_requests_never_reach_the_node(request_: Any) -> None:
    async with sidecar(says(http(200, b"null"))) as (port, peer):
        status, _, body = await post(port, request_)
        assert status == 422
        assert json.loads(body)["code"] == 422
        assert peer.requests == []


async def test_the_node_reads_what_was_understood_here() -> None:
    """Not the bytes, where a key that comes twice may mean the one or the other."""
    twice = b'{"type": "fileSnapshot", "type": "delegations"}'
    async with sidecar(says(http(200, BODY))) as (port, peer):
        assert (await post(port, twice))[0] == 200
        assert peer.requests == [{"type": "delegations"}]


async def test_without_an_info_server_the_answer_says_what_is_missing() -> None:
    async with serving(None) as port:
        status, _, body = await post(port, QUERY)
        assert status == 422
        assert json.loads(body)["msg"].startswith("delegations is not answered here; ask an API")
        async with connected(port) as client:
            await send(client, 3, QUERY)
            number, response = await hear(client)
            assert (number, response["type"]) == (3, "error")
            assert "delegations is not answered here" in response["payload"]


async def test_a_node_that_can_not_be_reached() -> None:
    async with serving(PassThrough(InfoClient(f"http://127.0.0.1:{free_port()}/info"))) as port:
        status, _, body = await post(port, QUERY)
        assert status == 502
        assert "can't be reached" in json.loads(body)["msg"]


async def test_a_node_that_is_slow() -> None:
    async with sidecar(stays_silent, timeout_s=0.05) as (port, _):
        status, _, body = await post(port, QUERY)
        assert status == 504
        assert "gave no answer in 0.05 s" in json.loads(body)["msg"]


async def test_only_so_many_wait_for_the_node() -> None:
    async with sidecar(stays_silent, timeout_s=0.5, forwards_max=2) as (port, peer):
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await post(port, QUERY))[0])

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
        assert sorted(statuses) == [503, 504, 504]
        assert len(peer.requests) == 2


async def test_nothing_else_of_the_connection_waits() -> None:
    release = anyio.Event()

    async def slow(stream: SocketStream, body: bytes) -> None:
        await release.wait()
        await stream.send(http(200, BODY))

    async with sidecar(slow) as (port, _), connected(port) as client:
        await send(client, 1, QUERY)
        await send(client, 2, {"type": "allMids"})
        assert (await hear(client))[0] == 2
        release.set()
        number, response = await hear(client)
        assert number == 1
        assert response == {
            "type": "info",
            "payload": {"type": "delegations", "data": json.loads(BODY)},
        }


async def test_one_connection_may_wait_for_so_much() -> None:
    async with sidecar(stays_silent, timeout_s=5) as (port, _), connected(port) as client:
        for number in range(9):
            await send(client, number, QUERY)
        number, response = await hear(client)
        assert number == 8
        assert response["payload"] == "429: 8 requests wait for the node already"


async def test_a_client_that_goes_leaves_nothing_waiting() -> None:
    async with info_peer(stays_silent) as peer:
        pass_through = PassThrough(InfoClient(peer.url), timeout_s=60)
        async with serving(pass_through) as port:
            async with connected(port) as client:
                await send(client, 1, QUERY)
                while not peer.requests:
                    await anyio.sleep(0.002)
                assert pass_through._waiting == 1
            while pass_through._waiting:
                await anyio.sleep(0.002)


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\xff"', b"", b"1 2"])
async def test_an_answer_that_is_no_json_breaks_no_frame(body: bytes) -> None:
    async with sidecar(says(http(200, body))) as (port, _), connected(port) as client:
        await send(client, 1, QUERY)
        error = {"type": "error", "payload": "502: the node's answer is not JSON"}
        assert await hear(client) == (1, error)


def test_what_writes_is_not_on_the_list() -> None:
    assert not any("snapshot" in kind.lower() and kind != "candleSnapshot" for kind in ELSEWHERE)
