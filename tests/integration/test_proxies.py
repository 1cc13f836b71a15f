"""The shipped configurations of nginx and haproxy (docs/proxies.md), run by the real programs: what
clients see through TLS and a proxy is what they see without, and they are who they are.
"""

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from blocks import bid, block, opened
from processes import Serve, Server
from proxy_clients import (
    ALICE,
    BOB,
    LIVE,
    PACKAGES,
    Behind,
    each_kind,
    each_program,
    read_all,
    upstream_flags,
)
from proxy_processes import (
    SHIPPED,
    Certificate,
    free_port,
    haproxy_files,
    make_certificate,
    nginx_files,
    program,
)
from rig import Node, sidecar_of
from sidecar.limits import PING_INTERVAL_S, PONG_TIMEOUT_S, REQUEST_BODY_BYTES_MAX
from sidecar.node.transitions import Block, Transition
from test_tokens import bearer, token

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(program("openssl") is None, reason="openssl is not installed"),
]

TOYOTA = 0  # the market, to the development chain
DIRECT = "127.0.0.9"  # a client without a proxy
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


Start = Callable[..., AbstractAsyncContextManager[Behind]]


@pytest.fixture
def start(tmp_path: Path, certificate: Certificate) -> Start:
    """Starts a proxy and a sidecar of the node behind it."""

    @asynccontextmanager
    async def start_one(
        kind: str,
        node: Node,
        changes: dict[str, str] | None = None,
        certificate: Certificate = certificate,
        **flags: str,
    ) -> AsyncIterator[Behind]:
        path, name = tmp_path / "api.sock", kind.partition("-")[0]
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        async with sidecar_of(node, **upstream_flags(kind, path), **flags) as sidecar:
            port = sidecar.ws_url.rsplit(":", 1)[1].split("/")[0]
            upstream = f"unix:{path}" if kind == "nginx-unix" else f"127.0.0.1:{port}"
            with Behind(name, directory, upstream, certificate, changes) as proxy:
                proxy.sidecar, proxy.certificate = sidecar, certificate
                yield proxy

    return start_one


@pytest.fixture
def node(tmp_path: Path) -> Any:
    with Node(tmp_path / "ipc") as made:
        made.step(3)
        yield made


@each_program
def test_the_files_are_valid(kind: str, tmp_path: Path, certificate: Certificate) -> None:
    """As shipped but for the certificate, nginx' log and, where ports under 1024 are root's, its
    port.
    """
    if kind == "haproxy":
        command = (*haproxy_files(tmp_path, certificate, {}), "-c")
    else:
        free = {} if os.geteuid() == 0 else {"443 ssl": f"{free_port()} ssl"}
        command = (*nginx_files(tmp_path, certificate, free), "-t")
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    said = checked.stdout + checked.stderr
    assert checked.returncode == 0, said
    assert not re.search("warn|alert|emerg|notice", said, re.IGNORECASE), said


@each_kind
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_clients_see_what_they_see_without(
    kind: str, version: ssl.TLSVersion, node: Node, start: Start
) -> None:
    async with start(kind, node) as proxy:
        async with proxy.connect(version=version) as websocket:
            await websocket.send('{"method": "ping"}')
            assert await websocket.recv() == '{"channel":"pong"}'
        status, answer = await proxy.ask()
        assert (status, answer["height"]) == (200, 3)


@each_program
async def test_connections_to_the_sidecar_are_kept(kind: str, node: Node, start: Start) -> None:
    """By nginx for all clients, by haproxy for each client's own connection."""

    def ask_often(proxy: Behind) -> None:
        client = http.client.HTTPSConnection(
            "127.0.0.1", proxy.port, timeout=20, context=proxy.certificate.client()
        )
        for _ in range(10):
            client.request("POST", "/info", LIVE)
            with client.getresponse() as answer:
                assert json.load(answer)["height"] == 3
            ports.update(connected_to(upstream))
            if kind == "nginx":
                client.close()
        client.close()

    async with start(kind, node) as proxy:
        ports = set[int]()
        upstream = int(proxy.sidecar.ws_url.rsplit(":", 1)[1].split("/")[0])
        await anyio.to_thread.run_sync(ask_often, proxy)
        assert len(ports) == 1


def connected_to(port: int) -> set[int]:
    """From which ports connections to a port of this machine come."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    pairs = [(row[1].split(":")[1], row[2].split(":")[1], row[3]) for row in rows]
    return {int(far, 16) for near, far, state in pairs if state == "01" and int(near, 16) == port}


@each_kind
async def test_limits_count_by_the_clients_address(kind: str, node: Node, start: Start) -> None:
    """Here each client may have two connections. What clients say about themselves is nothing."""
    async with start(kind, node, server__connections_per_ip="2") as proxy:
        lie = {"X-Forwarded-For": "203.0.113.7"}
        async with proxy.connect(), proxy.connect(additional_headers=lie):
            for forged in ({}, lie, {"X-Forwarded-For": BOB}):
                with pytest.raises(InvalidStatus, match="429"):
                    await proxy.connect(additional_headers=forged).__aenter__()
                assert (await proxy.ask(ALICE, **forged))[0] == 429
            async with proxy.connect(BOB), proxy.connect(BOB):
                with pytest.raises(InvalidStatus, match="429"):
                    await proxy.connect(BOB).__aenter__()
        async with proxy.connect():
            pass  # they have gone


@each_kind
async def test_tokens_go_through_and_into_no_log(
    kind: str, node: Node, start: Start, tmp_path: Path
) -> None:
    secret = token("eye", "--file", str(tmp_path / "tokens")).stdout.strip()
    async with start(kind, node, server__tokens_file=str(tmp_path / "tokens")) as proxy:
        assert (await proxy.ask())[0] == 401
        with pytest.raises(InvalidStatus, match="401"):
            await proxy.connect().__aenter__()
        assert (await proxy.ask(**bearer(secret)))[0] == 200
        async with proxy.connect(additional_headers=bearer(secret)) as websocket:
            await websocket.send('{"method": "ping"}')
            assert await websocket.recv() == '{"channel":"pong"}'
        with anyio.fail_after(20):
            while not re.search(r"GET /ws HTTP/1.1.* 101 |101 .*GET /ws", proxy.logs):
                await anyio.sleep(0.01)
        assert "POST /info" in proxy.logs
        assert secret not in proxy.logs
        assert "Bearer" not in proxy.logs


@each_kind
async def test_a_sidecar_that_ends_and_comes_back(
    kind: str, node: Node, serve: Serve, tmp_path: Path, certificate: Certificate
) -> None:
    path, name = tmp_path / "api.sock", kind.partition("-")[0]
    flags = upstream_flags(kind, path) | {"source.path": str(node.path)}
    flags |= {"source.behind_after_s": "1e12", "source.stale_after_s": "1e6"}
    flags |= {"server.port": str(port := free_port())}
    pairs = [(f"--{key.replace('.', '-').replace('_', '-')}", text) for key, text in flags.items()]

    async def serve_again() -> Server:
        server = serve(*(word for pair in pairs for word in pair), ready=False)
        await anyio.to_thread.run_sync(server.wait_for, "serving ")
        return server

    upstream = f"unix:{path}" if kind == "nginx-unix" else f"127.0.0.1:{port}"
    with Behind(name, tmp_path, upstream, certificate) as proxy:
        proxy.certificate = certificate
        down = 503 if kind == "haproxy" else 502
        absent = {"code": down, "msg": "the sidecar is not there"}
        assert await proxy.ask() == (down, absent)
        server = await serve_again()
        assert (await proxy.ask())[0] == 200
        async with proxy.connect() as websocket:
            server.signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed, anyio.fail_after(20):
                await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert await anyio.to_thread.run_sync(server.wait) == 0
        assert await proxy.ask() == (down, absent)
        with pytest.raises(InvalidStatus, match=str(down)):
            await proxy.connect().__aenter__()
        await serve_again()
        assert (await proxy.ask())[0] == 200


@each_program
async def test_a_renewed_certificate_ends_no_connection(
    kind: str, node: Node, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    new = make_certificate(tmp_path / "new")
    own = make_certificate(tmp_path)
    async with start(kind, node, certificate=own) as proxy, proxy.connect() as websocket:
        proxy.certificate = new
        for fresh, old in zip(new, own, strict=True):
            old.write_bytes(fresh.read_bytes())
        with pytest.raises(ssl.SSLCertVerificationError):
            await proxy.ask()
        proxy.reload()
        with anyio.fail_after(20):
            while True:
                with suppress(ssl.SSLCertVerificationError):
                    assert (await proxy.ask())[0] == 200
                    break
        await websocket.send('{"method": "ping"}')
        assert await websocket.recv() == '{"channel":"pong"}'


@each_kind
async def test_a_sidecar_that_is_full(kind: str, node: Node, start: Start) -> None:
    async with start(kind, node, server__connections_max="1") as proxy, proxy.connect():
        assert (await proxy.ask(BOB))[0] == 503
        with pytest.raises(InvalidStatus, match="503"):
            await proxy.connect(BOB).__aenter__()


def orders_block(height: int, count: int) -> Block:
    """A block in which so many bids for TOYOTA come to rest."""
    status = replace(opened(0, px=1), market=TOYOTA)
    oids = [height * 1_000_000 + number for number in range(count)]
    placed = list[Transition]()
    for oid in oids:
        placed += (replace(status, oid=oid), bid(oid, 1, market=TOYOTA))
    return block(height, *placed)


async def read_l4(websocket: ClientConnection) -> list[str | bytes]:
    subscription = {"type": "l4Book", "coin": "TOYOTA"}
    await websocket.send(json.dumps({"method": "subscribe", "subscription": subscription}))
    with anyio.fail_after(20):
        return [await websocket.recv(), await websocket.recv()]


@each_kind
async def test_large_and_compressed_messages(
    kind: str, node: Node, start: Start, tmp_path: Path
) -> None:
    node.writer.append(orders_block(4, 10_000))
    async with start(kind, node) as proxy:
        if kind == "nginx-unix":
            direct = unix_connect(str(tmp_path / "api.sock"), "ws://x/ws", max_size=None)
        else:
            source: dict[str, Any] = {"local_addr": (DIRECT, 0)}
            direct = connect(proxy.sidecar.ws_url, max_size=None, proxy=None, **source)
        async with direct, proxy.connect() as deflated, proxy.connect(compression=None) as plain:
            clients = [await direct, deflated, plain]
            names = [[one.name for one in client.protocol.extensions] for client in clients]
            assert names == [["permessage-deflate"], ["permessage-deflate"], []]
            seen = [await read_l4(client) for client in clients]
            assert seen[0] == seen[1] == seen[2]
            assert len(seen[0][1]) > 2_000_000
            node.writer.append(orders_block(5, 5_000))
            with anyio.fail_after(20):
                updates = [await client.recv() for client in clients]
            assert updates[0] == updates[1] == updates[2]
            assert len(updates[0]) > 1_000_000
            for client in clients:
                await client.send(json.dumps({"method": "ping", "padding": "x" * 60_000}))
                assert await client.recv() == '{"channel":"pong"}'


HELD_BYTES_MAX = {"nginx-unix": 2 << 20, "haproxy": 2 << 20}  # nginx' TCP buffers are the kernel's


@each_kind
async def test_a_slow_reader_is_told(kind: str, node: Node, start: Start) -> None:
    """It reads for a while, so that buffers which grow have grown; what proxies hold back for it
    when it stops is bounded.
    """
    async with start(kind, node, server__outbox_bytes_max="1000000") as proxy:
        with await anyio.to_thread.run_sync(subscribe_to_l4, proxy) as sock:
            for height in range(4, 50):
                node.writer.append(orders_block(height, 150))
                await anyio.to_thread.run_sync(read_to, sock, height)
            for height in range(50, 120):
                node.writer.append(orders_block(height, 150))
                await proxy.sidecar.reaches(height)
            held = await anyio.to_thread.run_sync(read_all, sock)
        assert len(held) < HELD_BYTES_MAX.get(kind, len(held) + 1)
        reason = held[held.rindex(b"too slow on l4Book:TOYOTA: resume from height ") :]
        assert held.endswith(bytes((0x88, len(reason) + 2, 0x03, 0xF5)) + reason)


def subscribe_to_l4(proxy: Behind) -> ssl.SSLSocket:
    sock = proxy.open()
    text = b'{"method":"subscribe","subscription":{"type":"l4Book","coin":"TOYOTA"}}'
    sock.sendall(UPGRADE + bytes((0x81, 0x80 | len(text))) + bytes(4) + text)
    return sock


def read_to(sock: ssl.SSLSocket, height: int) -> None:
    """Up to the end of the message of that height."""
    end, seen = re.compile(rb'"height":%d,"prev":\d+}$' % height), b""
    while not end.search(seen):
        more = sock.recv(1 << 17)
        assert more, "ended early"
        seen = seen[-100:] + more


@pytest.mark.skipif(not all(map(program, PACKAGES)), reason="it takes both nginx and haproxy")
async def test_pings_keep_silent_connections(node: Node, start: Start) -> None:
    """With time-outs of 3 s, and pings a second instead of 20 s; without pings they are cut."""
    answered = set[tuple[str, str]]()

    async def stay_silent(kind: str, changes: dict[str, str], interval: str) -> None:
        async with (
            start(kind, node, changes, server__ping_interval_s=interval) as proxy,
            proxy.connect(ping_interval=None) as websocket,
        ):
            await anyio.sleep(4)
            with suppress(ConnectionClosed):
                await websocket.send('{"method": "ping"}')
                await websocket.recv()
                answered.add((kind, interval))

    async with anyio.create_task_group() as tasks:
        for kind, file, name in (
            ("nginx", "nginx.conf", "proxy_read_timeout"),
            ("haproxy", "haproxy.cfg", "timeout tunnel"),
        ):
            shipped = re.search(rf"{name} (\d+)s", (SHIPPED / file).read_text())
            assert shipped is not None
            assert float(shipped[1]) > PING_INTERVAL_S + PONG_TIMEOUT_S
            for interval in ("0.1", "60"):
                tasks.start_soon(stay_silent, kind, {shipped[0]: f"{name} 3s"}, interval)
    assert answered == {("nginx", "0.1"), ("haproxy", "0.1")}


def post(*headers: str, target: str = "/info", size: int = len(LIVE)) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {size}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + LIVE.ljust(size)


CHUNKED = (
    b"POST /info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)
CHUNK = b"4000\r\n" + b" " * 0x4000 + b"\r\n"

LIMITS = {
    "the longest body": (post(size=REQUEST_BODY_BYTES_MAX), 200),
    "a longer body": (post(size=REQUEST_BODY_BYTES_MAX + 1), 413),
    "a much longer body": (post(size=2 << 20), 413),
    "a longer body in chunks": (CHUNKED + CHUNK * 5, 413),
    "the longest line": (post("X: " + "x" * 4093), 200),
    "a longer line": (post("X: " + "x" * 4094), 431),
    "a longer target": (post(target="/info?" + "x" * 4096), 414),
    "a head of 24 KiB": (post(*(f"X{n}: " + "x" * 2042 for n in range(12))), 431),
    "the most headers": (post(*(f"X{n}: x" for n in range(95))), 200),
    "more headers": (post(*(f"X{n}: x" for n in range(99))), 431),
    "another path": (post(target="/"), 404),
    "a body that is encoded": (post("Content-Encoding: gzip"), 415),
    "no upgrade": (b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 426),
}


@each_kind
async def test_what_is_refused(kind: str, node: Node, start: Start) -> None:
    """With the sidecar's own status and form, whoever says it."""
    async with start(kind, node) as proxy:
        for what, (request, expected) in LIMITS.items():
            status, body = await proxy.answer(request)
            assert status == expected, (what, body)
            assert json.loads(body).get("code", 200) == status, what


@each_program
async def test_heads_that_no_proxy_reads(kind: str, node: Node, start: Start) -> None:
    """Beyond 16 KiB a line with nginx, beyond 31 KiB in all with haproxy, which always says 400."""
    async with start(kind, node) as proxy:
        status, _ = await proxy.answer(post(target="/info?" + "x" * 40_000))
        assert status == {"nginx": 414, "haproxy": 400}[kind]
        status, _ = await proxy.answer(post("X: " + "x" * 40_000))
        assert status == {"nginx": 431, "haproxy": 400}[kind]
