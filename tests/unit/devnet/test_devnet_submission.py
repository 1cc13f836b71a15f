"""The submission server over real sockets: a client's fault costs that client only."""

import resource
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
    encode_answer,
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
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submission_module, "SUBMISSION_ANSWERS_BYTES_MAX", 100_000)
    node = Node()
    node.at_once = "x" * 10_000
    async with serving(path, node), connected(path) as client:
        with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
            for number in range(1_000_000):
                await client.ask(number)
    assert capsys.readouterr().out.count("it does not read its answers") == 1


async def test_a_block_of_too_many_answers_is_warned_of_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submission_module, "SUBMISSION_ANSWERS_BYTES_MAX", 1_000)
    node = Node()
    async with serving(path, node), connected(path) as client:
        for number in range(20):
            await client.ask(number)
        await node.wait_for(20)
        for _, answer in node.asked:
            answer(True, 1, "x" * 600)
        assert await client.ended()
    assert capsys.readouterr().out.count("submission connection ended") == 1


async def test_the_answers_of_a_block_leave_in_one_piece(path: Path) -> None:
    node = Node()
    async with serving(path, node), connected(path) as client:
        for number in range(300):
            await client.ask(number)
        await node.wait_for(300)
        expected = b"".join(encode_answer(Answer(n, True, 1, "done")) for n in range(300))
        for _, answer in node.asked:
            answer(True, 1, "done")
        with anyio.fail_after(5):
            assert await client.stream.receive(1 << 16) == expected


async def test_a_client_that_only_stops_sending_has_its_answers(path: Path) -> None:
    node = Node()
    async with serving(path, node), connected(path) as client:
        await client.ask(1)
        await node.wait_for(1)
        await client.stream.send_eof()
        node.asked[0][1](True, 9, "done")
        assert await client.answer() == Answer(1, True, 9, "done")
        assert await client.ended()


async def test_a_client_that_goes_in_the_middle_costs_nothing(path: Path) -> None:
    node = Node()
    async with serving(path, node), connected(path) as good:
        async with connected(path) as gone:
            await gone.ask(1)
            await gone.ask(2)
            await node.wait_for(2)
            node.asked[0][1](True, 1, "unread")  # closing with bytes unread resets the connection
            await anyio.wait_readable(gone.stream.extra(anyio.abc.SocketAttribute.raw_socket))
        await good.ask(1)
        await node.wait_for(3)
        for _, answer in node.asked:
            answer(True, 3, "late")
        assert await good.answer() == Answer(1, True, 3, "late")


async def test_clients_see_the_end_of_the_server(path: Path) -> None:
    node = Node()
    async with connected_to_ending_server(path, node) as client:
        assert await client.ended()
    node.asked[0][1](True, 1, "late")


@asynccontextmanager
async def connected_to_ending_server(path: Path, node: Node) -> AsyncIterator[Client]:
    """A client with a request in flight, whose server has just been cancelled."""
    async with AsyncExitStack() as stack:
        async with serving(path, node):
            client = await stack.enter_async_context(connected(path))
            await client.ask(1)
            await node.wait_for(1)
        yield client


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


async def test_a_socket_that_is_served_is_left_alone(path: Path) -> None:
    node = Node()
    node.at_once = "done"
    async with serving(path, node), connected(path) as client:
        with pytest.raises(LogUnwritable, match=r"another process serves .*submit\.sock"):
            await SubmissionServer(path, Node().accept).listen()
        async with connected(path) as another:
            for one in (client, another):
                await one.ask(1)
                assert (await one.answer()).ok


async def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("somebody's")
    with pytest.raises(LogUnwritable, match="can't be made"):
        await SubmissionServer(path, Node().accept).listen()
    assert path.read_text() == "somebody's"


async def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(LogUnwritable, match=r"at most 107 bytes.*xxx"):
        await SubmissionServer(path, Node().accept).listen()


async def test_the_longest_path_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (107 - len(str(tmp_path)) - 1))
    async with serving(path, Node()), connected(path):
        assert len(str(path)) == 107


async def test_without_a_free_descriptor_it_goes_on(path: Path) -> None:
    """A connection comes while no descriptor is left; it is served once there is one again."""
    node = Node()
    node.at_once = "done"
    async with serving(path, node), connected(path) as first:
        await first.ask(1)
        await first.answer()
        sockets = [socket.socket(socket.AF_UNIX)]
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            highest = max(int(fd.name) for fd in Path("/proc/self/fd").iterdir())
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
            with suppress(OSError):
                for _ in range(highest):
                    sockets.append(socket.socket(socket.AF_UNIX))  # noqa: PERF401 - until refused
            sockets[0].connect(str(path))
            await anyio.sleep(0.05)
            await first.ask(2)  # who is connected is served
            assert (await first.answer()).ok
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for one in sockets[1:]:
                one.close()
        await anyio.sleep(0.2)
        with sockets[0] as late:
            late.sendall(encode_request(Request(1, 0, b"{}")))
            await node.wait_for(3)
