"""Garbage collections: a long one is the last that sees what it has seen, and connections leave
nothing for them.
"""

import gc
import socket
import weakref
from collections.abc import Iterator

import anyio
import pytest
from websockets.asyncio.client import connect

from blocks import fill
from sidecar import garbage
from sidecar.garbage import Pauses
from sidecar.server import server as servers
from sidecar.server.connection import Connection
from sidecar.server.websocket_session import WebSocketSession
from test_sessions import UPGRADE, request, running, say, subscribe


@pytest.fixture
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_thawed")
@pytest.mark.parametrize(("pause_s", "frozen"), [(0.0, True), (1e6, False)])
def test_what_survived_a_long_collection_is_not_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, pause_s: float, frozen: bool
) -> None:
    monkeypatch.setattr(garbage, "GC_PAUSE_S", pause_s)
    pauses, before = Pauses(), gc.get_freeze_count()
    mine: list[list[int]] = [[] for _ in range(10_000)]
    pauses.watch()
    gc.collect(0)
    gc.collect(1)
    assert pauses.count == 0  # only full ones matter
    gc.collect()
    pauses.unwatch()
    assert len(mine) == 10_000
    assert (gc.get_freeze_count() > before + 10_000) is frozen
    assert pauses.count == 1
    assert pauses.longest_s > 0
    gc.collect()
    assert pauses.count == 1


@pytest.mark.anyio
async def test_a_connection_that_ended_is_freed_without_a_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[weakref.ref[object]] = []

    def watched(kind: type) -> type:
        class Watched(kind):  # type: ignore[misc]
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, **kwargs)
                seen.append(weakref.ref(self))

        return Watched

    monkeypatch.setattr(servers, "Connection", watched(Connection))
    monkeypatch.setattr(servers, "WebSocketSession", watched(WebSocketSession))
    gc.collect()
    gc.disable()
    try:
        async with running() as sidecar:
            address = ("127.0.0.1", sidecar.server.port)
            async with connect(sidecar.url) as client:
                await subscribe(client, type="trades", coin="TOYOTA")
                sidecar.push(fill(1))
                resumed = {"type": "l4Book", "coin": "TOYOTA"}
                await say(client, method="subscribe", subscription=resumed, resume={"height": 1})
                await say(client, method="post", id=1, request={"type": "info", "payload": {}})
                await say(client, method="nonsense")
                await client.ping()
            for data in (UPGRADE, UPGRADE + b"\xff\xff", request("POST /info", "{}"), b"GET"):
                with socket.create_connection(address) as sock:
                    sock.sendall(data)
                    await anyio.sleep(0.02)
            with anyio.fail_after(5):
                while sidecar.server._gate.connections:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.02)
            assert len(seen) == 5 + 3
            assert [one() for one in seen] == [None] * 8
    finally:
        gc.enable()
