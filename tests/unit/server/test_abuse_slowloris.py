"""Slowloris: a head, or a body, one byte at a time. All are cut at one deadline."""

import anyio
import pytest
from websockets.asyncio.client import connect

from hostile import UPGRADE, Peer, all_gone, shorten
from test_sessions import running, say

pytestmark = pytest.mark.anyio

BODY = b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b" " * 999
HEAD_TIMEOUT_S = 1.0


async def trickle(peer: Peer, data: bytes) -> None:
    """Never longer silent than a tenth of what the server waits."""
    try:
        for at in range(len(data)):
            await peer.send(data[at : at + 1])
            await anyio.sleep(HEAD_TIMEOUT_S / 10)
    except OSError:
        pass  # the server has gone


async def answer_to(peer: Peer, data: bytes, answers: list[bytes]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trickle, peer, data)
        answers.append(await peer.rest())
        tasks.cancel_scope.cancel()


async def test_slowloris_is_cut_at_the_deadline_and_new_clients_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The deadline is for all of a head, however often a byte of it comes."""
    shorten(monkeypatch, REQUEST_HEAD_TIMEOUT_S=HEAD_TIMEOUT_S, CLOSE_TIMEOUT_S=0.2)
    answers: list[bytes] = []
    async with running(connections_per_ip=1_000) as sidecar:
        peers = [Peer(sidecar.server.port) for _ in range(200)]
        async with anyio.create_task_group() as tasks:
            for number, peer in enumerate(peers):
                data = BODY[:50] if number % 2 else UPGRADE
                await peer.send(data[: number % 40])
                tasks.start_soon(answer_to, peer, data[number % 40 :], answers)
            for _ in range(20):
                async with connect(sidecar.url) as new:
                    assert await say(new, method="ping") == {"channel": "pong"}
        assert len(answers) == 200
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
        await all_gone(sidecar.server)
        for peer in peers:
            peer.sock.close()


async def test_slowloris_with_a_body_is_cut_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten(monkeypatch, REQUEST_HEAD_TIMEOUT_S=HEAD_TIMEOUT_S, CLOSE_TIMEOUT_S=0.2)
    answers: list[bytes] = []
    async with running() as sidecar:
        with Peer(sidecar.server.port) as peer:
            await peer.send(BODY[:-900])
            await answer_to(peer, BODY[-900:], answers)
        assert answers[0].startswith(b"HTTP/1.1 408 ")
        await all_gone(sidecar.server)


async def test_slowloris_that_says_nothing_is_cut_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten(monkeypatch, REQUEST_HEAD_TIMEOUT_S=0.2, CLOSE_TIMEOUT_S=0.2)
    async with running() as sidecar:
        with Peer(sidecar.server.port) as peer:
            assert await peer.rest() == b""
        await all_gone(sidecar.server)
