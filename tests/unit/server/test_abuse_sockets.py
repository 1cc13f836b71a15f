"""What connections ask of the kernel, and what the kernel may say."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest
from websockets.asyncio.client import connect

from blocks import fill
from hostile import TEXT, Peer, frame
from sidecar.limits import (
    EAGER_READS_MAX,
    OUTBOX_BYTES_MAX,
    RECV_BYTES,
    REFUSED_LINGERING_MAX,
    SOCKET_NOTSENT_LOWAT_BYTES,
    SOCKET_RECV_BUFFER_BYTES,
    SOCKET_SEND_BUFFER_BYTES,
    SOCKET_USER_TIMEOUT_MS,
)
from sidecar.server.connection import Connection
from sidecar.settings import ServerSettings
from test_sessions import running, say, subscribe

pytestmark = pytest.mark.anyio

Ends = tuple[socket.socket, socket.socket]
SUBSCRIBE = b'{"method":"subscribe","subscription":{"type":"trades","coin":"TOYOTA"}}'


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The server's and the client's end of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


async def test_p9_a_read_is_bounded_and_the_rest_stays_in_the_kernel(ends: Ends) -> None:
    ours, theirs = ends
    theirs.sendall(bytes(5 * RECV_BYTES))
    async with anyio.create_task_group() as tasks:
        connection = Connection(ours, "x", tasks.start_soon)
        assert len(await connection.receive()) == RECV_BYTES
        assert len(await connection.receive(10)) == 10
        await anyio.sleep(0.02)
        left = ours.recv(1 << 20)
        assert len(left) == 4 * RECV_BYTES - 10


async def test_p31_a_peer_that_always_has_more_lets_others_run(ends: Ends) -> None:
    ours, theirs = ends
    theirs.sendall(bytes(10 * EAGER_READS_MAX))
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(another)
        connection = Connection(ours, "x", tasks.start_soon)
        for _ in range(4 * EAGER_READS_MAX):
            await connection.receive(1)
        assert turns >= 3
        tasks.cancel_scope.cancel()


async def test_p14_subscribers_that_are_gone_never_stop_a_block() -> None:
    """Some reset before it, some are found out by it; all others get it."""
    async with running() as sidecar, connect(sidecar.url) as first:
        await subscribe(first, type="trades", coin="TOYOTA")
        gone = [Peer(sidecar.server.port) for _ in range(10)]
        for peer in gone:
            await peer.upgrade()
            await peer.send(frame(TEXT, SUBSCRIBE))
            assert await peer.receive()
        async with connect(sidecar.url) as last:
            await subscribe(last, type="trades", coin="TOYOTA")
            for peer in gone[:5]:
                peer.reset()
            for peer in gone[5:]:
                peer.sock.close()
            for tid in range(1, 4):
                sidecar.push(fill(tid))  # at once: the server has not seen yet who is gone
            for client in (first, last):
                messages = [json.loads(await client.recv()) for _ in range(3)]
                assert [one["prev"] for one in messages] == [0, 2, 3]
                assert await say(client, method="ping") == {"channel": "pong"}


async def test_p15_a_connection_that_is_closed_frees_who_waits_for_it(ends: Ends) -> None:
    """One task waits to read, one to send; then it is given back: nothing waits for its number."""
    ours, _ = ends
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            connection = Connection(ours, "x", tasks.start_soon)
            connection.send(bytes(8 << 20))
            assert connection.outbox

            async def read() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await connection.receive()

            tasks.start_soon(read)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            connection.close()
    assert ours.fileno() == -1


async def test_p18_a_client_costs_one_task_and_nothing_more() -> None:
    """No timers, scopes or writers for each of them, idle or sent to."""
    async with running() as sidecar, connect(sidecar.url) as healthy:
        await subscribe(healthy, type="trades", coin="TOYOTA")
        before = len(asyncio.all_tasks())
        peers = [Peer(sidecar.server.port) for _ in range(20)]
        for peer in peers:
            await peer.upgrade()
            await peer.send(frame(TEXT, SUBSCRIBE))
            assert await peer.receive()
        for tid in range(20):
            sidecar.push(fill(tid))
            await healthy.recv()
            assert len(asyncio.all_tasks()) == before + len(peers)
        for peer in peers:
            peer.sock.close()


async def test_p24_p29_p35_accepted_sockets_have_their_options() -> None:
    """Linux hands them on from the listening socket. It doubles what it is asked for buffers."""
    async with running() as sidecar, connect(sidecar.url) as client:
        await say(client, method="ping")
        (connection,) = sidecar.server._gate.connections
        option = connection._sock.getsockopt
        assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        lowat = option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert lowat == SOCKET_NOTSENT_LOWAT_BYTES
        assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SOCKET_USER_TIMEOUT_MS
        assert option(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * SOCKET_RECV_BUFFER_BYTES
        assert option(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SOCKET_SEND_BUFFER_BYTES


async def test_p24_lag_shows_in_our_outbox_not_in_the_kernel() -> None:
    """Of a client that does not read, the kernels hide less than a tenth of what may wait."""
    async with running() as sidecar:
        with Peer(sidecar.server.port, recv_buffer=32 << 10) as peer:
            await peer.upgrade()
            await peer.send(frame(TEXT, SUBSCRIBE))
            assert await peer.receive()
            (connection,) = sidecar.server._gate.connections
            hidden, size = 0, 0
            while not connection.outbox:
                hidden += size
                sidecar.push(*(fill(tid) for tid in range(10)))
                size = 10 * 300  # at most, in bytes
                await anyio.lowlevel.checkpoint()
            assert hidden < OUTBOX_BYTES_MAX / 10


async def test_p23_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    """Closing with bytes unread would be a reset, which takes the answer along."""
    head = b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    async with running() as sidecar:
        with Peer(sidecar.server.port) as peer:
            await peer.send(head + bytes(100_000))
            await anyio.sleep(0.05)
            answer = await peer.receive()
            assert answer.startswith(b"HTTP/1.1 413 ")
            await peer.send(bytes(100_000))
            await anyio.sleep(0.05)
            assert peer.sock.recv(1) == b""  # the end, not ECONNRESET


async def test_p23_a_refusal_at_the_door_reaches_a_client_that_sends_late() -> None:
    async with running(connections_per_ip=1) as sidecar:
        with Peer(sidecar.server.port), Peer(sidecar.server.port) as peer:
            await anyio.sleep(0.05)  # refused by now
            with pytest.raises(BlockingIOError):  # but told when it asks: not all read before that
                peer.sock.recv(1)
            await peer.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
            await anyio.sleep(0.05)
            assert (await peer.receive()).startswith(b"HTTP/1.1 429 ")
            assert peer.sock.recv(1) == b""  # the end, not ECONNRESET


async def test_a_refusal_at_the_door_reaches_a_client_that_says_nothing() -> None:
    async with running(connections_per_ip=1) as sidecar:
        with Peer(sidecar.server.port), Peer(sidecar.server.port) as silent:
            assert (await silent.receive()).startswith(b"HTTP/1.1 429 ")


async def test_a_refusal_at_the_door_reaches_a_client_as_the_server_ends() -> None:
    with ExitStack() as stack:
        async with running(connections_per_ip=1) as sidecar:
            _let_in, peer = (stack.enter_context(Peer(sidecar.server.port)) for _ in range(2))
            while not sidecar.server._refusals.lingering:
                await anyio.sleep(0.01)
        assert (await peer.receive()).startswith(b"HTTP/1.1 429 ")


async def test_a_storm_of_refused_ones_is_not_waited_for() -> None:
    async with running(connections_per_ip=1) as sidecar:
        with Peer(sidecar.server.port), ExitStack() as stack:
            peers = [stack.enter_context(Peer(sidecar.server.port)) for _ in range(80)]
            for peer in peers:
                assert (await peer.receive()).startswith(b"HTTP/1.1 429 ")
            refusals = sidecar.server._refusals
            assert refusals.lingering == REFUSED_LINGERING_MAX
            while refusals.lingering:
                await anyio.sleep(0.01)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):  # it has been closed
                for _ in range(2):
                    peers[0].sock.send(b"x")
                    await anyio.sleep(0.01)


def test_p36_pings_come_before_proxies_cut() -> None:
    """nginx ends a tunnel after 60 s without a byte of its upstream. One second is the tick."""
    settings = ServerSettings()
    assert settings.ping_interval_s + 1 + settings.pong_timeout_s < 60


def test_p29_the_kernel_gives_up_after_ping_and_pong_have() -> None:
    """A peer that is gone is told by the missing pong; one that stops reading by the kernel."""
    settings = ServerSettings()
    assert settings.ping_interval_s + settings.pong_timeout_s < SOCKET_USER_TIMEOUT_MS / 1000 < 60
