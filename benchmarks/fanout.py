"""Deliveries per second to many subscribers, in the same run: a bare loop of non-blocking `send`
(the floor), `websockets.broadcast`, picows, and our hub, sessions and sockets.

    python benchmarks/fanout.py [--subscribers 100 1000 5000] [--rounds 15] [--bytes 1500]

Each contender is a server process of its own on uvloop; a second process holds its clients and does
nothing but read. A round is a burst of blocks, timed from the first send to the last byte read by
the last client; rounds of the contenders alternate, so that a machine that drifts drifts for all.
Printed are medians, and the median of the ratios round by round.

With several messages a block, ours leave in one send a client; the floor and the others send each,
the floor also all of a block joined. picows and websockets hand all to uvloop, which writes at the
end of its turn.
"""

import argparse
import multiprocessing
import os
import resource
import select
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection as Pipe
from typing import Protocol

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets

from sidecar.api.channels import Channels
from sidecar.api.topics import Topic
from sidecar.garbage import settle
from sidecar.node.transitions import Block, MarketListed
from sidecar.protocol import frames
from sidecar.server.hub import Hub
from sidecar.server.listener import accept, bind
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.settings import ServerSettings
from sidecar.state.chain import ChainState
from sidecar.telemetry.logs import configure_logs

BURST_MESSAGES = 30  # of a round; they fit the socket buffers, so that no client is slow
MESSAGES = (1, 3, 10)  # a block
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_LONG_S = 3600.0  # the clients send nothing, pongs neither; nobody pings them
COINS = tuple(f"COIN{number}" for number in range(10))
_spawn = multiprocessing.get_context("spawn")


class Contender(Protocol):
    """A server of one kind."""

    async def start(self, tasks: TaskGroup, /) -> int:
        """Listens; the port."""

    async def block(self, payload: bytes, messages: int) -> None:
        """Sends so many messages to every client."""


class Ours:
    """The real server, hub and sessions; only the blocks are made up."""

    def __init__(self) -> None:
        state = ChainState()
        state.apply(Block(1, 0, 0, [MarketListed(n, coin) for n, coin in enumerate(COINS, 1)]))
        self._hub, self._channels = Hub(), Channels(state)
        settings = ServerSettings(port=0, connections_per_ip=100_000, ping_interval_s=_LONG_S)
        self._server = Server(
            bind("127.0.0.1", 0), Services(settings, state, self._channels, self._hub)
        )
        self._height = 1

    async def start(self, tasks: TaskGroup) -> int:
        self._server.listen()
        tasks.start_soon(self._server.serve)
        return self._server.port

    async def block(self, payload: bytes, messages: int) -> None:
        self._height += 1
        for coin in COINS[:messages]:
            topic: Topic = self._channels.resolve({"type": "bbo", "coin": coin})
            self._hub.stage(topic, frames.text(payload))
        await self._hub.flush(self._height)


class Floor:
    """Sockets with our options, and nothing else: no protocol, no topics, no bookkeeping."""

    joins = False

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    async def start(self, tasks: TaskGroup) -> int:
        listener = bind("127.0.0.1", 0)
        listener.listen(4096)
        tasks.start_soon(self._accept, listener)
        return int(listener.getsockname()[1])

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            sock, _ = await accept(listener)
            await anyio.wait_readable(sock)
            sock.recv(1 << 16)  # answered as far as the client looks
            sock.send(b"\r\n\r\n")
            self._sockets.append(sock)

    async def block(self, payload: bytes, messages: int) -> None:
        frame = frames.text(payload)
        if self.joins:
            frame, messages = frame * messages, 1
        for _ in range(messages):
            for sock in self._sockets:
                sock.send(frame)


class JoinedFloor(Floor):
    """Likewise, a block's messages in one send."""

    joins = True


class Websockets:
    """`websockets.broadcast`, compression off."""

    def __init__(self) -> None:
        self._connections: set[ServerConnection] = set()

    async def start(self, _: TaskGroup) -> int:
        server = await serve_websockets(
            self._hold, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096
        )
        return int(next(iter(server.sockets)).getsockname()[1])

    async def _hold(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        await connection.wait_closed()

    async def block(self, payload: bytes, messages: int) -> None:
        text = payload.decode()
        for _ in range(messages):
            broadcast(self._connections, text)
        await checkpoint()


class Picows:
    """A loop of its `send`, all of it in Cython."""

    def __init__(self) -> None:
        self._transports: list[WSTransport] = []

    async def start(self, _: TaskGroup) -> int:
        transports = self._transports

        class Listener(WSListener):
            def on_ws_connected(self, transport: WSTransport) -> None:
                transports.append(transport)

        def listen(_: WSUpgradeRequest) -> WSListener:
            return Listener()

        server = await ws_create_server(listen, "127.0.0.1", 0, backlog=4096)
        return int(next(iter(server.sockets)).getsockname()[1])

    async def block(self, payload: bytes, messages: int) -> None:
        for _ in range(messages):
            for transport in self._transports:
                transport.send(WSMsgType.TEXT, payload)
        await checkpoint()


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "sidecar": Ours,
    "floor": Floor,
    "joined floor": JoinedFloor,
    "websockets": Websockets,
    "picows": Picows,
}


def serve(name: str, size: int, pipe: Pipe) -> None:
    """A contender's process: told how many messages a block, it sends a burst and says when it
    began.
    """
    _raise_descriptors()

    async def run() -> None:
        contender = CONTENDERS[name]()
        async with anyio.create_task_group() as tasks:
            pipe.send(await contender.start(tasks))
            while (messages := await _received(pipe)) is not None:
                pipe.send(time.perf_counter())
                for _ in range(BURST_MESSAGES // messages):
                    await contender.block(b"x" * size, messages)
            tasks.cancel_scope.cancel()

    configure_logs("error", "text")
    settle()
    anyio.run(run, backend_options={"use_uvloop": True})


async def _received(pipe: Pipe) -> int | None:
    await anyio.wait_readable(pipe.fileno())
    got: int | None = pipe.recv()
    return got


def read_as_clients(port: int, count: int, subscribe: bytes, replies: int, pipe: Pipe) -> None:
    """The clients' process: connects all, then counts bytes and says when as many came as it was
    told.
    """
    _raise_descriptors()
    poll, clients = select.epoll(), dict[int, socket.socket]()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(UPGRADE + subscribe)
        data = b""
        while b"\r\n\r\n" not in data or data.count(b'"channel"') < replies:
            data += sock.recv(65536)
        sock.setblocking(False)
        clients[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    pipe.send(None)
    while (expected := pipe.recv()) is not None:
        while expected > 0:
            for fd, _ in poll.poll():
                try:
                    got = len(clients[fd].recv(1 << 18))
                except BlockingIOError:
                    continue
                assert got, "a client was cut off"
                expected -= got
        pipe.send(time.perf_counter())


def masked_text(payload: bytes) -> bytes:
    """A client's text frame (mask of zeros)."""
    head = bytes((0x81, 0x80 | len(payload)))
    assert len(payload) < 126
    return head + bytes(4) + payload


def measure(subscribers: int, rounds: int, size: int) -> None:
    """All contenders, alternating, over the same number of clients."""
    requests = (
        b'{"method":"subscribe","subscription":{"type":"bbo","coin":"%s"}}' % coin.encode()
        for coin in COINS
    )
    ours = b"".join(map(masked_text, requests)), 2 * len(COINS)  # each: an answer and a snapshot
    with ExitStack() as stack:
        pipes = {}
        for name in CONTENDERS:
            server = _start(stack, serve, name, size)
            subscribe = ours if name == "sidecar" else (b"", 0)
            clients = _start(stack, read_as_clients, server.recv(), subscribers, *subscribe)
            pipes[name] = server, clients
            clients.recv()
        for messages in MESSAGES:
            times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
            for turn in range(rounds + 2):
                for name, (server, clients) in pipes.items():
                    frame_bytes = len(frames.text(b"x" * size))
                    clients.send(BURST_MESSAGES // messages * messages * frame_bytes * subscribers)
                    time.sleep(0.02)  # they are in their poll
                    server.send(messages)
                    seconds = -server.recv() + clients.recv()
                    if turn >= 2:
                        times[name].append(seconds)
            show(subscribers, messages, times)
        for pipe in (pipe for pair in pipes.values() for pipe in pair):
            pipe.send(None)


def _start(stack: ExitStack, target: Callable[..., None], *arguments: object) -> Pipe:
    here, there = _spawn.Pipe()
    process = _spawn.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    stack.callback(process.join)
    return here


def show(subscribers: int, messages: int, times: dict[str, list[float]]) -> None:
    """One line."""
    ours = times["sidecar"]
    each_us = statistics.median(ours) / (BURST_MESSAGES // messages * messages * subscribers) * 1e6
    ratios = (
        f"{statistics.median(t / o for t, o in zip(times[name], ours, strict=True)):5.2f} {name}"
        for name in CONTENDERS
        if name != "sidecar" and (messages > 1 or name != "joined floor")
    )
    print(
        f"{subscribers:6} subscribers, {messages:2} messages a block: {each_us:5.2f} us each; "
        f"times as fast as: {', '.join(ratios)}",
        flush=True,
    )


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Every number of subscribers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bytes", type=int, default=1500, help="payload of a message")
    options = parser.parse_args()
    print(f"{options.bytes} byte messages, {BURST_MESSAGES} a round, {os.cpu_count()} cores")
    for subscribers in options.subscribers:
        measure(subscribers, options.rounds, options.bytes)


if __name__ == "__main__":
    main()
