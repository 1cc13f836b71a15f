"""Deliveries per second to many subscribers: our hub beside `websockets.broadcast`, in the same
run.

    python benchmarks/fanout.py [--subscribers 100 1000] [--rounds 15] [--bytes 1500]

Each contender serves real WebSocket clients over loopback; a process of its own holds all of them
and does nothing but read. A round is a burst of messages, timed from the first send to the last
byte read by the last client. Rounds of the contenders alternate, so that a machine that drifts
drifts for all; medians are printed, with the ratio taken round by round. `3 topics` sends three
topics a block, as to a client that reads trades, bbo and l2Book: `websockets` has one broadcast for
each, ours leaves in one send.
"""

import argparse
import multiprocessing
import os
import resource
import select
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection as Pipe

import anyio
import anyio.lowlevel
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets

from sidecar.api.channels import Channels
from sidecar.api.topics import Topic
from sidecar.config import ServerSettings
from sidecar.node.transitions import Block, MarketListed
from sidecar.protocol import frames
from sidecar.server.hub import Hub
from sidecar.server.listener import accept, bind
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.state.chain import ChainState

BURST = 10  # messages a round; fits the socket buffers, so that no client is slow
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SUBSCRIPTIONS = ("trades", "bbo", "l2Book")
Send = Callable[[], Awaitable[None]]


def read_as_clients(port: int, count: int, subscribe: bytes, replies: int, pipe: Pipe) -> None:
    """The clients' process: connects all, then counts bytes and reports when as many came as it
    was told.
    """
    poll = select.epoll()
    clients: dict[int, socket.socket] = {}
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(UPGRADE + subscribe)
        data = b""
        while b"\r\n\r\n" not in data or data.count(b'"channel"') < replies:
            data += sock.recv(65536)
        sock.setblocking(False)
        clients[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    pipe.send("connected")
    while (expected := pipe.recv()) is not None:
        received = 0
        while received < expected:
            for fd, _ in poll.poll():
                try:
                    received += len(clients[fd].recv(1 << 18))
                except BlockingIOError:
                    continue
        pipe.send(received)


def masked_text(payload: bytes) -> bytes:
    """A client's text frame (mask of zeros)."""
    head = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else None
    head = head or bytes((0x81, 0x80 | 126)) + len(payload).to_bytes(2, "big")
    return head + bytes(4) + payload


class Ours:
    """The real server, hub and sessions; only the blocks are made up."""

    name = "sidecar"

    def __init__(self, payload: bytes, topics: int) -> None:
        self._payload = payload
        self._count = topics
        state = ChainState()
        state.apply(Block(1, 0, 0, [MarketListed(1, "BTC")]))
        self._channels = Channels(state)
        self._hub = Hub()
        settings = ServerSettings(port=0, connections_per_ip=100_000)
        self._listener = bind("127.0.0.1", 0)
        self._server = Server(self._listener, Services(settings, state, self._channels, self._hub))
        requests = (
            b'{"method":"subscribe","subscription":{"type":"%s","coin":"BTC"}}' % kind.encode()
            for kind in SUBSCRIPTIONS[:topics]
        )
        self.subscribe = b"".join(map(masked_text, requests))
        self.replies = topics + max(
            0, topics - 1
        )  # every subscription is answered; trades has no snapshot
        self.wire_bytes = topics * len(frames.text(payload))

    async def start(self, stack: AsyncExitStack) -> int:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        self._server.listen()
        tasks.start_soon(self._server.serve)
        return self._server.port

    def _topics(self) -> list[Topic]:
        kinds = SUBSCRIPTIONS[: self._count]
        return [self._channels.resolve({"type": kind, "coin": "BTC"}) for kind in kinds]

    async def send(self) -> None:
        topics = self._topics()
        for height in range(BURST):
            for topic in topics:
                self._hub.stage(topic, frames.text(self._payload))
            await self._hub.flush(height)
        await anyio.lowlevel.checkpoint()


class Floor:
    """A bare loop of `send` over sockets with our options: no protocol, no topics, no
    bookkeeping.
    """

    name = "floor"
    replies = 0

    def __init__(self, payload: bytes, topics: int) -> None:
        self._block = frames.text(payload) * topics
        self._sockets: list[socket.socket] = []
        self.subscribe = b""
        self.wire_bytes = len(self._block)

    async def start(self, stack: AsyncExitStack) -> int:
        listener = stack.enter_context(bind("127.0.0.1", 0))
        listener.listen(4096)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._accept, listener)
        return int(listener.getsockname()[1])

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, _ = await accept(listener)
            await anyio.wait_readable(sock)
            sock.recv(1024)  # the upgrade request, answered as far as the client looks
            sock.send(b"\r\n\r\n")
            self._sockets.append(sock)

    async def send(self) -> None:
        for _ in range(BURST):
            for sock in self._sockets:
                sock.send(self._block)


class Websockets:
    """`websockets.broadcast` over its asyncio server on the same loop, compression off."""

    name = "websockets"

    def __init__(self, payload: bytes, topics: int) -> None:
        self._text = payload.decode()
        self._topics = topics
        self._connections: set[ServerConnection] = set()
        self.subscribe = b""
        self.replies = 0
        self.wire_bytes = topics * len(frames.text(payload))

    async def start(self, stack: AsyncExitStack) -> int:
        server = await serve_websockets(
            self._hold, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096
        )
        stack.push_async_callback(self._stop, server)
        return int(server.sockets[0].getsockname()[1])

    async def _stop(self, server: object) -> None:
        for connection in self._connections:
            connection.transport.abort()
        server.close()  # type: ignore[attr-defined]

    async def _hold(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        await connection.wait_closed()

    async def send(self) -> None:
        for _ in range(BURST):
            for _ in range(self._topics):
                broadcast(self._connections, self._text)
            # uvloop writes at the end of the loop's turn: a block's messages together
            await anyio.lowlevel.checkpoint()


async def measure(subscribers: int, rounds: int, size: int, topics: int) -> None:
    """Rounds of both, alternating, over the same number of clients."""
    payload = b"x" * size
    contenders: list[Ours | Floor | Websockets] = [
        kind(payload, topics) for kind in (Ours, Floor, Websockets)
    ]
    spawn = multiprocessing.get_context("spawn")
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    async with AsyncExitStack() as stack:
        pipes = []
        for contender in contenders:
            port = await contender.start(stack)
            here, there = spawn.Pipe()
            arguments = (port, subscribers, contender.subscribe, contender.replies, there)
            process = spawn.Process(target=read_as_clients, args=arguments, daemon=True)
            process.start()
            stack.callback(process.join)
            await wait_for(here)
            pipes.append(here)
        for turn in range(rounds + 2):
            for contender, pipe in zip(contenders, pipes, strict=True):
                seconds = await one_round(contender.send, pipe, contender.wire_bytes, subscribers)
                if turn >= 2:
                    times[contender.name].append(seconds)
        for pipe in pipes:
            pipe.send(None)
    show(subscribers, topics, times)


async def one_round(send: Send, pipe: Pipe, wire_bytes: int, subscribers: int) -> float:
    """Seconds from the first send to the last byte read."""
    pipe.send(BURST * wire_bytes * subscribers)
    await anyio.sleep(0.02)  # the clients' process is in its poll
    began = time.perf_counter()
    await send()
    await wait_for(pipe)
    return time.perf_counter() - began


async def wait_for(pipe: Pipe) -> None:
    """Lets the loop run until the clients' process reports."""
    while not pipe.poll():
        await anyio.wait_readable(pipe.fileno())
    pipe.recv()


def show(subscribers: int, topics: int, times: dict[str, list[float]]) -> None:
    """Medians, and the median of the ratios round by round."""
    deliveries = BURST * topics * subscribers
    rates = {name: deliveries / statistics.median(seconds) for name, seconds in times.items()}
    to_floor, to_websockets = (
        statistics.median(
            theirs / ours for ours, theirs in zip(times["sidecar"], times[name], strict=True)
        )
        for name in ("floor", "websockets")
    )
    print(
        f"{subscribers:6} subscribers, {topics} topic{'s' * (topics > 1)} a block: "
        f"sidecar {rates['sidecar']:>9,.0f} deliveries/s; "
        f"{to_websockets:.2f} times websockets.broadcast ({rates['websockets']:,.0f}/s), "
        f"{to_floor:.2f} times a bare loop of send ({rates['floor']:,.0f}/s)",
        flush=True,
    )


def main() -> None:
    """Every number of subscribers, with one topic and with three."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bytes", type=int, default=1500, help="payload of a message")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{options.bytes} byte messages, bursts of {BURST}, {os.cpu_count()} cores")
    for subscribers in options.subscribers:
        for topics in (1, 3):
            anyio.run(
                measure,
                subscribers,
                options.rounds,
                options.bytes,
                topics,
                backend_options={"use_uvloop": True},
            )


if __name__ == "__main__":
    main()
