"""Whatever a call to the kernel raises, for one connection, ends that connection and nothing else.

A real server and real clients; the accepted sockets can be told to fail. One client, the victim,
goes through all that a connection does; each call of its socket fails in turn, with each errno and
with something that no socket raises. Somebody else reads the same topics and misses nothing.
"""

import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.memory import MemoryObjectSendStream
from websockets.asyncio.client import ClientConnection, connect

from blocks import TOYOTA, bid, block
from sidecar.api.channels import Channels
from sidecar.node.transitions import Block
from sidecar.pipeline import run_pipeline
from sidecar.server.hub import Hub
from sidecar.server.listener import bind
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.settings import ServerSettings
from sidecar.state.chain import ChainState
from sidecar.telemetry.counts import StageClock

pytestmark = pytest.mark.anyio

ERRNOS = (
    *(errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN),
    *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ECONNREFUSED),
    *(errno.ENOMEM, errno.ENOBUFS, errno.EIO, errno.EINVAL, errno.EBADF, errno.EPERM),
)
UNEXPECTED = "a fault that no socket has"
Point = tuple[str, list[Exception | None]]  # a call's name, and what comes of those before
AGAIN = BlockingIOError(errno.EAGAIN, "not now")
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class FaultySocket(socket.socket):
    """A connection's socket; `faults` are raised by the calls of that name to come, None by none of
    them.
    """

    def __init__(self, sock: socket.socket, faults: dict[str, list[Exception | None]]) -> None:
        super().__init__(fileno=sock.detach())
        self.faults = faults
        self.closed = 0
        self.short = False  # takes a byte at a time

    def _fail(self, name: str) -> None:
        waiting = self.faults.get(name)
        if waiting and (fault := waiting.pop(0)) is not None:
            raise fault

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        self._fail("recv")
        return super().recv(size, flags)

    def send(self, data: Any, flags: int = 0, /) -> int:
        self._fail("send")
        return super().send(data[:1] if self.short else data, flags)

    def shutdown(self, how: int, /) -> None:
        self._fail("shutdown")
        super().shutdown(how)

    def setsockopt(self, *arguments: Any) -> None:
        self._fail("setsockopt")
        super().setsockopt(*arguments)

    def close(self) -> None:
        """The descriptor is free whatever close(2) says."""
        self.closed += 1
        super().close()
        self._fail("close")


class FaultyListener(socket.socket):
    """What it accepts fails as `faults` says; the next one only."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.faults: dict[str, list[Exception | None]] = {}
        self.short = False
        self.accepted: list[FaultySocket] = []

    def accept(self) -> tuple[FaultySocket, Any]:
        sock, address = super().accept()
        faulty = FaultySocket(sock, self.faults)
        faulty.setblocking(False)
        faulty.short, self.short = self.short, False
        self.faults = {}
        self.accepted.append(faulty)
        return faulty, address


class Rig:
    """A server, the pipeline that feeds it, and somebody else who is served."""

    def __init__(self, listener: FaultyListener, blocks: MemoryObjectSendStream[Block]) -> None:
        self.listener = listener
        self.port = int(listener.getsockname()[1])
        self.height = 1
        self._blocks = blocks

    async def push(self) -> int:
        """A block that moves the best bid; its height."""
        self.height += 1
        await self._blocks.send(block(self.height, bid(self.height, 100 + self.height)))
        return self.height

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    send, blocks = anyio.create_memory_object_stream[Block](10)
    state, hub = ChainState(), Hub()
    state.apply(block(1, TOYOTA))
    with FaultyListener(bind("127.0.0.1", 0)) as listener, send, blocks:
        channels = Channels(state)
        server = Server(listener, Services(ServerSettings(), state, channels, hub))
        server.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve)
            tasks.start_soon(run_pipeline, blocks, state, channels, hub, StageClock())
            with anyio.fail_after(30):
                yield Rig(listener, send)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def somebody_else(rig: Rig) -> AsyncIterator[ClientConnection]:
    async with connect(rig.url) as client:
        await client.send('{"method":"subscribe","subscription":{"type":"bbo","coin":"TOYOTA"}}')
        for _ in range(2):
            await client.recv()
        yield client


async def next_height(client: ClientConnection) -> int:
    return int(json.loads(await client.recv())["height"])


def masked(payload: bytes, first: int = 0x81) -> bytes:
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


class Victim:
    """A client that takes its connection's end at any moment, and keeps what it read."""

    def __init__(self) -> None:
        self.read = b""

    async def live(self, rig: Rig) -> None:
        """All that a connection does: upgrade, answers, blocks, pings, both closes."""
        stream = await anyio.connect_tcp("127.0.0.1", rig.port)
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with stream:
                with contextlib.suppress(anyio.EndOfStream):
                    await self._speak(stream, rig)

    async def _speak(self, stream: anyio.abc.SocketStream, rig: Rig) -> None:
        await stream.send(UPGRADE)
        await self._until(stream, b"\r\n\r\n")
        request = b'{"method":"subscribe","subscription":{"type":"bbo","coin":"TOYOTA"}}'
        await stream.send(masked(request))
        await self._until(stream, b'"bbo":[')
        for _ in range(2):
            height = await rig.push()
            await self._until(stream, b'"height":%d' % height)
        await stream.send(masked(b'{"method":"ping"}'))
        await self._until(stream, b'"pong"')
        await stream.send(masked(b"alive", 0x89))
        await self._until(stream, b"\x8a\x05alive")
        await stream.send(masked(b"\x03\xe8", 0x88))
        await self._until(stream, b"\x88\x02\x03\xe8")
        while True:
            self.read += await stream.receive()

    async def _until(self, stream: anyio.abc.SocketStream, what: bytes) -> None:
        while what not in self.read:
            self.read += await stream.receive()


def _points() -> Iterator[Point]:
    """Where a fault comes: behind so many calls of the name that work, or that would block."""
    for calls in range(6):  # the head, its rest, three requests, the close, each waited for
        yield "recv", [None] * calls
    for calls in range(8):  # the 101, answer, snapshot, two blocks, two pongs, the close
        yield "send", [None] * calls
        yield "send", [*[None] * calls, AGAIN]  # then in the task that sends what waits
    for name in ("setsockopt", "shutdown"):
        yield name, []


POINTS = list(_points())
OF_ITS_OWN_TASK = [  # where the task that serves the connection makes the call
    (name, before)
    for name, before in POINTS
    if name != "send" or (AGAIN not in before and len(before) not in (3, 4))
]


def named(point: Point) -> str:
    name, before = point
    return f"{name}{before.count(None)}{'-waiting' if AGAIN in before else ''}"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def ends_alone(rig: Rig, name: str, before: list[Exception | None], fault: Exception) -> None:
    """One victim with one fault; everything else is as it was."""
    async with somebody_else(rig) as client:
        await rig.push()
        await next_height(client)
        had = descriptors(), len(asyncio.all_tasks())
        first = rig.height
        faults = rig.listener.faults = {name: [*before, fault]}
        await Victim().live(rig)
        sock = rig.listener.accepted[-1]
        while not sock.closed:
            await anyio.sleep(0.001)
        assert not faults[name], "the fault never came"
        await rig.push()
        for height in range(first + 1, rig.height + 1):
            assert await next_height(client) == height
        while (descriptors(), len(asyncio.all_tasks())) != had:
            await anyio.sleep(0.001)
        assert sock.closed == 1
    async with somebody_else(rig) as client:  # and new ones come in
        await rig.push()
        assert await next_height(client) == rig.height


@pytest.mark.parametrize("point", POINTS, ids=named)
async def test_each_errno_ends_one_connection(point: Point) -> None:
    name, before = point
    async with running() as rig:
        for number in ERRNOS:
            await ends_alone(rig, name, before, OSError(number, "as the kernel says it"))


@pytest.mark.parametrize("point", OF_ITS_OWN_TASK, ids=named)
async def test_an_unexpected_exception_ends_one_connection(point: Point) -> None:
    name, before = point
    async with running() as rig:
        await ends_alone(rig, name, before, RuntimeError(UNEXPECTED))


@pytest.mark.parametrize("name", ["recv", "send"])
async def test_what_would_block_is_waited_for_and_loses_nothing(name: str) -> None:
    async with running() as rig:
        usual = Victim()
        await usual.live(rig)
        later = Victim()
        rig.listener.faults = {name: [AGAIN, None] * 50}
        await later.live(rig)
        assert without_heights(later.read) == without_heights(usual.read)


async def test_a_byte_at_a_time_arrives_whole() -> None:
    async with running() as rig:
        usual = Victim()
        await usual.live(rig)
        later = Victim()
        rig.listener.short = True
        await later.live(rig)
        assert without_heights(later.read) == without_heights(usual.read)


def without_heights(read: bytes) -> list[str]:
    """The channels of a conversation, and its last bytes."""
    head, _, rest = read.partition(b"\r\n\r\n")
    channels = [part.partition(b'"')[0].decode() for part in rest.split(b'{"channel":"')[1:]]
    return [head.decode(), *channels, rest[-4:].hex()]
