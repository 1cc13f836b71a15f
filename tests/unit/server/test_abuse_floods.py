"""Floods: each is cut at its limit, and nobody else waits for it."""

import asyncio
import json
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import connect

from hostile import CLOSE, FIRST, MORE, PING, PONG, TEXT, Peer, all_gone, frame, frames_of
from sidecar.limits import CONTROL_FRAMES_PER_S, MESSAGE_FRAGMENTS_MAX
from test_sessions import running, say

pytestmark = pytest.mark.anyio

TOO_MANY_FRAGMENTS = (1008, f"a message has more than {MESSAGE_FRAGMENTS_MAX} fragments")


@pytest.mark.parametrize("first", [PING, PONG])
async def test_ping_flood_of_one_that_does_not_read_is_1008(first: int) -> None:
    async with running() as sidecar, connect(sidecar.url) as other:
        with Peer(sidecar.server.port) as peer:
            await peer.upgrade()
            await peer.send(b"".join(frame(first, b"%d" % number) for number in range(1_000)))
            frames = list(frames_of(await peer.rest()))
        pongs = [payload for one, payload in frames if one == PONG]
        assert len(pongs) == (CONTROL_FRAMES_PER_S if first == PING else 0)
        reason = b"more than %d control frames a second" % CONTROL_FRAMES_PER_S
        assert frames[-1] == (CLOSE, b"\x03\xf0" + reason)
        assert await say(other, method="ping") == {"channel": "pong"}


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "one byte"])
async def test_fragment_flood_is_1008(payload: bytes) -> None:
    async with running() as sidecar, connect(sidecar.url) as other:
        with Peer(sidecar.server.port) as peer:
            await peer.upgrade()
            await peer.send(frame(FIRST, payload) + frame(MORE, payload) * 20_000)
            assert await peer.close_frame() == TOO_MANY_FRAGMENTS
        assert await say(other, method="ping") == {"channel": "pong"}


async def test_message_flood_is_1008_and_what_was_allowed_is_answered() -> None:
    async with running(messages_per_minute=500) as sidecar, connect(sidecar.url) as other:
        with Peer(sidecar.server.port) as peer:
            await peer.upgrade()
            await peer.send(frame(TEXT, b'{"method":"ping"}') * 5_000)
            frames = list(frames_of(await peer.rest()))
        assert [payload for _, payload in frames[:-1]] == [b'{"channel":"pong"}'] * 500
        assert frames[-1] == (CLOSE, b"\x03\xf0more than 500 messages a minute")
        assert await say(other, method="ping") == {"channel": "pong"}


async def test_message_flood_of_nonsense_is_1008() -> None:
    async with running(messages_per_minute=500) as sidecar:
        with Peer(sidecar.server.port) as peer:
            await peer.upgrade()
            await peer.send(frame(TEXT, b"{") * 5_000)
            frames = list(frames_of(await peer.rest()))
        channels = [json.loads(payload)["channel"] for _, payload in frames[:-1]]
        assert channels == ["error"] * 500
        assert frames[-1] == (CLOSE, b"\x03\xf0more than 500 messages a minute")


@pytest.mark.parametrize("way", ["reset", "close", "request", "upgrade", "upgrade and reset"])
async def test_connect_flood_leaves_nothing_behind(way: str) -> None:
    """Five hundred connections, some at a time: no descriptor, task or count stays."""
    descriptors = Path("/proc/self/fd")
    async with running(connections_per_ip=10_000) as sidecar, connect(sidecar.url) as other:
        assert await say(other, method="ping") == {"channel": "pong"}
        before = len(list(descriptors.iterdir())), len(asyncio.all_tasks())
        for _ in range(10):
            for peer in [Peer(sidecar.server.port) for _ in range(50)]:
                if way == "request":
                    await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                if way.startswith("upgrade"):
                    await peer.upgrade()
                if way.endswith("reset"):
                    peer.reset()
                else:
                    peer.sock.close()
            assert await say(other, method="ping") == {"channel": "pong"}
        while len(sidecar.server._gate.connections) > 1:
            await anyio.sleep(0.01)
        assert await say(other, method="ping") == {"channel": "pong"}
        while len(asyncio.all_tasks()) > before[1]:
            await anyio.sleep(0.01)
        assert len(list(descriptors.iterdir())) == before[0]
        await other.close()
        await all_gone(sidecar.server)
