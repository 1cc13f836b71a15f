"""The submission server over real sockets: a client's fault costs that client only."""

import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest

from sidecar.devnet import submission as submission_module
from sidecar.devnet.submission import AnswerCallback, SubmissionServer
from sidecar.errors import LogUnwritable
from sidecar.limits import MESSAGE_BYTES_MAX
from sidecar.node.submission import (
    Answer,
    RecordStream,
    Request,
    decode_answer,
    encode_request,
)

pytestmark = pytest.mark.anyio


class Node:
    """Keeps what it is asked, and answers when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, AnswerCallback]] = []
        self.some = anyio.Event()
        self.at_once: object | None = None

    def accept(self, body: bytes, answer: AnswerCallback) -> None:
        self.asked.append((body, answer))
        if self.at_once is not None:
            answer(True, 1, self.at_once)
        self.some.set()

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.asked) < count:
                await self.some.wait()
                self.some = anyio.Event()


class Client:
    """One connection of a sidecar."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._records = RecordStream(1 << 24)

    async def ask(self, number: int, body: bytes = b"{}") -> None:
        await self.stream.send(encode_request(Request(number, 0, body)))

    async def answer(self) -> Answer:
        with anyio.fail_after(5):
            while (payload := self._records.next_payload()) is None:
                self._records.feed(await self.stream.receive())
            return decode_answer(payload)

    async def ended(self) -> bool:
        with anyio.fail_after(5):
            try:
                while True:
                    await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return True


@asynccontextmanager
async def serving(path: Path, node: Node) -> AsyncIterator[SubmissionServer]:
    server = SubmissionServer(path, node.accept)
    listener = await server.listen()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, listener)
        yield server
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Client]:
    async with await anyio.connect_unix(path) as stream:
        yield Client(stream)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "submit.sock"


async def test_answers_come_in_any_order(path: Path) -> None:
    node = Node()
    async with serving(path, node), connected(path) as client:
        for number in range(50):
            await client.ask(number, b"%d" % number)
        await node.wait_for(50)
        for body, answer in reversed(node.asked):
            answer(True, 7, {"type": body.decode()})
        answers = [await client.answer() for _ in range(50)]
    assert [one.request_id for one in answers] == list(range(49, -1, -1))
    assert answers[0] == Answer(49, True, 7, {"type": "49"})


async def test_an_id_may_be_used_again_once_it_is_answered(path: Path) -> None:
    node = Node()
    node.at_once = "done"
    async with serving(path, node), connected(path) as client:
        for _ in range(3):
            await client.ask(5)
            assert await client.answer() == Answer(5, True, 1, "done")


async def test_requests_cut_into_single_bytes(path: Path) -> None:
    node = Node()
    node.at_once = "done"
    async with serving(path, node), connected(path) as client:
        for byte in encode_request(Request(1, 2, b"body")) * 2:
            await client.stream.send(bytes([byte]))
        assert (await client.answer()).ok
        assert (await client.answer()).ok
    assert [body for body, _ in node.asked] == [b"body", b"body"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 8,
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        encode_request(Request(1, 0, b"{}"))[:-1] + b"\xff",
        encode_request(Request(1, 0, b"{}")) * 2,
    ],
    ids=["no length", "over the limit", "http", "crc", "an id that is in flight"],
)
async def test_garbage_costs_its_own_connection(path: Path, garbage: bytes) -> None:
    node = Node()
    async with serving(path, node), connected(path) as good, connected(path) as bad:
        await bad.stream.send(garbage)
        assert await bad.ended()
        asked = len(node.asked)
        await good.ask(1)
        await node.wait_for(asked + 1)
        for _, answer in node.asked:  # also to the one that is gone
            answer(True, 3, "late")
        assert await good.answer() == Answer(1, True, 3, "late")


async def test_a_body_over_the_limit_is_answered(path: Path) -> None:
    async with serving(path, Node()), connected(path) as client:
        await client.ask(1, b"x" * (MESSAGE_BYTES_MAX + 1))
        answer = await client.answer()
        assert (answer.ok, answer.height) == (False, 0)
        assert f"at most {MESSAGE_BYTES_MAX}" in answer.response


async def test_too_many_in_flight_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission_module, "SUBMISSION_IN_FLIGHT_MAX", 2)
    node = Node()
    async with serving(path, node), connected(path) as client:
        for number in range(3):
            await client.ask(number)
        assert await client.answer() == Answer(2, False, 0, "too many requests in flight")
        node.asked[0][1](True, 1, "done")
        assert (await client.answer()).request_id == 0
        await client.ask(3)
        await node.wait_for(3)


async def test_too_many_connections_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_module, "SUBMISSION_CONNECTIONS_MAX", 1)
    node = Node()
    node.at_once = "done"
    async with serving(path, node):
        async with connected(path) as client:
            await client.ask(1)
            await client.answer()
            async with connected(path) as other:
                assert await other.ended()
        async with connected(path) as client:  # there is room again
            await client.ask(1)
            assert (await client.answer()).ok


async def test_a_client_that_does_not_read_loses_its_connection(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission_module, "SUBMISSION_ANSWERS_BYTES_MAX", 100_000)
    node = Node()
    node.at_once = "x" * 10_000
    async with serving(path, node), connected(path) as client:
        with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
            for number in range(1_000_000):
                await client.ask(number)


async def test_a_client_that_only_stops_sending_has_its_answers(path: Path) -> None:
    node = Node()
    async with serving(path, node), connected(path) as client:
        await client.ask(1)
        await node.wait_for(1)
        await client.stream.send_eof()
        node.asked[0][1](True, 9, "done")
        assert await client.answer() == Answer(1, True, 9, "done")
        assert await client.ended()


async def test_the_socket_is_for_its_group_and_goes_with_the_server(path: Path) -> None:
    async with serving(path, Node()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_a_dead_process_left_its_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    node = Node()
    node.at_once = "done"
    async with serving(path, node), connected(path) as client:
        await client.ask(1)
        assert (await client.answer()).ok


async def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(LogUnwritable, match=r"submission socket can't be made.*xxx"):
        await SubmissionServer(path, Node().accept).listen()
