"""The sidecar's end of the submission socket against nodes that answer late, twice, in any order,
nonsense, or not at all.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from sidecar.errors import NodeUnreachable
from sidecar.limits import SUBMIT_IN_FLIGHT_MAX
from sidecar.node.submission import Answer, encode_answer
from sidecar.node.submitter import Lost, Submitter
from submit_node import Node, Peer, running, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(
    tmp_path: Path, timeout_s: float = 5.0
) -> AsyncIterator[tuple[Submitter, Node, Peer]]:
    with Node(tmp_path / "submit.sock") as node:
        async with running(node.path, timeout_s) as submitter:
            peer = await node.accept()
            await until(lambda: submitter.connected)
            yield submitter, node, peer


async def test_answers_find_their_requests_in_any_order_once(tmp_path: Path) -> None:
    async with connected(tmp_path) as (submitter, _, peer):
        told: dict[int, list[Any]] = {number: [] for number in range(3)}
        for number in range(3):
            submitter.submit(b"body %d" % number, 100 + number, told[number].append)
        requests = [await peer.request() for _ in range(3)]
        assert [(one.body, one.received_ns) for one in requests] == [
            (b"body %d" % number, 100 + number) for number in range(3)
        ]
        peer.answer(999, "to nothing")
        for number in (2, 0, 2, 1, 0):
            peer.answer(requests[number].request_id, number)
        await until(lambda: all(told.values()))
        await anyio.sleep(0.02)
        assert {number: [one.response for one in ones] for number, ones in told.items()} == {
            0: [0],
            1: [1],
            2: [2],
        }
        assert submitter.in_flight == 0


async def test_no_answer_in_time_is_told_and_so_is_a_late_one(tmp_path: Path) -> None:
    async with connected(tmp_path, timeout_s=0.05) as (submitter, _, peer):
        told: list[Answer | Lost] = []
        submitter.submit(b"x", 1, told.append)
        request = await peer.request()
        await until(lambda: told)
        assert told == [Lost(sent=True, why="The node gave no answer within 0.05 s")]
        peer.answer(request.request_id, "late")
        await until(lambda: len(told) == 2)
        assert isinstance(told[1], Answer)
        assert told[1].response == "late"


async def test_a_lost_connection_is_told_and_nothing_is_sent_again(tmp_path: Path) -> None:
    async with connected(tmp_path) as (submitter, node, peer):
        told: list[Any] = []
        submitter.submit(b"first", 1, told.append)
        await peer.request()
        peer.sock.close()
        await until(lambda: told)
        assert told[0].sent
        assert "connection to the node was lost" in told[0].why
        again = await node.accept()
        await until(lambda: submitter.connected)
        submitter.submit(b"second", 1, told.append)
        assert (await again.request()).body == b"second"


async def test_what_was_not_written_was_not_sent(tmp_path: Path) -> None:
    """A node that does not read: the kernel takes some, one of them in part; then it is gone."""
    async with connected(tmp_path) as (submitter, _, peer):
        told: dict[int, Lost] = {}
        body = b"x" * 60_000
        for number in range(40):
            submitter.submit(body, 1, lambda one, number=number: told.__setitem__(number, one))  # type: ignore[misc]
        await anyio.sleep(0.02)
        peer.sock.close()
        await until(lambda: len(told) == 40)
        sent = [number for number in told if told[number].sent]
        assert 0 < len(sent) < 40
        assert sent == list(range(len(sent)))


async def test_what_waits_is_written_as_the_node_reads(tmp_path: Path) -> None:
    async with connected(tmp_path) as (submitter, _, peer):
        told: list[Any] = []
        for number in range(40):
            submitter.submit(b"%05d" % number * 12_000, 1, told.append)
        for number in range(40):
            request = await peer.request()
            assert request.body == b"%05d" % number * 12_000
            peer.answer(request.request_id, number)
        await until(lambda: len(told) == 40)
        await submitter.flushed()
        assert [one.response for one in told] == list(range(40))


async def test_without_a_node_it_says_so_at_once_and_connects_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "submit.sock"
    async with running(path) as submitter:
        await until(lambda: "No such file" in submitter.why)
        with pytest.raises(NodeUnreachable, match="takes no actions now: No such file"):
            submitter.submit(b"x", 1, lambda _: None)
        with Node(path) as node:
            await node.accept()
            await until(lambda: submitter.connected)
        await until(lambda: not submitter.connected)
        with pytest.raises(NodeUnreachable):
            submitter.submit(b"x", 1, lambda _: None)


@pytest.mark.parametrize(
    "nonsense", [b"\xff" * 64, encode_answer(Answer(1, True, 1, 1))[:-1] + b"?"]
)
async def test_nonsense_costs_the_connection(tmp_path: Path, nonsense: bytes) -> None:
    async with connected(tmp_path) as (submitter, node, peer):
        told: list[Any] = []
        submitter.submit(b"x", 1, told.append)
        peer.sock.send(nonsense)
        await until(lambda: told)
        assert told[0].sent
        assert "what is no answer" in told[0].why
        await node.accept()
        await until(lambda: submitter.connected)


async def test_so_many_may_be_in_flight(tmp_path: Path) -> None:
    async with connected(tmp_path) as (submitter, _, peer):
        told: list[Any] = []
        for _ in range(SUBMIT_IN_FLIGHT_MAX):
            submitter.submit(b"x", 1, told.append)
        with pytest.raises(NodeUnreachable, match="too many are in flight"):
            submitter.submit(b"x", 1, told.append)
        for _ in range(SUBMIT_IN_FLIGHT_MAX):
            request = await peer.request()
            while True:
                try:
                    peer.answer(request.request_id, "ok")
                    break
                except BlockingIOError:
                    await anyio.sleep(0.001)
        await until(lambda: len(told) == SUBMIT_IN_FLIGHT_MAX)
        assert submitter.in_flight == 0
