"""The sidecar's end of the submission socket against nodes that answer late, twice, in any order,
nonsense, or not at all.
"""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from sidecar.errors import NodeUnreachable
from sidecar.limits import SUBMIT_IN_FLIGHT_MAX
from sidecar.node.submission import Answer, RecordStream, Request, decode_request, encode_answer
from sidecar.node.submitter import Lost, Submitter

pytestmark = pytest.mark.anyio


class Peer:
    """The node's end of one connection, moved by the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._records = RecordStream(1 << 20)

    async def request(self) -> Request:
        with anyio.fail_after(10):
            while (payload := self._records.next_payload()) is None:
                try:
                    data = self.sock.recv(1 << 20)
                except BlockingIOError:
                    await anyio.wait_readable(self.sock)
                    continue
                assert data, "the submitter closed the connection"
                self._records.feed(data)
        return decode_request(payload)

    def answer(self, number: int, response: Any, height: int = 7) -> None:
        self.sock.send(encode_answer(Answer(number, True, height, response)))


class Node:
    """Listens, and hands each connection to the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen()
        self._peers: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def accept(self) -> Peer:
        with anyio.fail_after(10):
            while True:
                try:
                    sock, _ = self._listener.accept()
                except BlockingIOError:
                    await anyio.wait_readable(self._listener)
                else:
                    sock.setblocking(False)
                    self._peers.append(Peer(sock))
                    return self._peers[-1]

    def close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for peer in self._peers:
            peer.sock.close()


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.002)


@asynccontextmanager
async def running(path: Path, timeout_s: float = 5.0) -> AsyncIterator[Submitter]:
    submitter = Submitter(path, answer_timeout_s=timeout_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submitter.run)
        yield submitter
        tasks.cancel_scope.cancel()


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
