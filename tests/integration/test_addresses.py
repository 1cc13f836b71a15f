"""Clients over IPv6, over a unix socket, behind proxies, from pages of other sites."""

import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import InvalidStatus

from rig import Node, Sidecar, sidecar_of
from sidecar.protocol.proxy import SIGNATURE

pytestmark = pytest.mark.anyio
V4 = bytes((203, 0, 113, 7, 127, 0, 0, 1)) + b"\x12\x34\x1f\x4a"
HEADER = SIGNATURE + b"\x21\x11\x00\x0c" + V4

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def port_of(sidecar: Sidecar) -> int:
    return int(sidecar.ws_url.rsplit(":", 1)[1].split("/")[0])


def exchange(port: int, data: bytes) -> bytes:
    """What comes back until the server ends it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        answer = b""
        while more := sock.recv(1 << 16):
            answer += more
        return answer


def info_request(*headers: str) -> bytes:
    body = b'{"type": "serverInfo"}'
    lines = ["POST /info HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def status_of(sidecar: Sidecar, data: bytes) -> int:
    answer = await anyio.to_thread.run_sync(exchange, port_of(sidecar), data)
    return int(answer.split(b" ", 2)[1])


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    for _ in range(2):  # the second one finds what the first one left
        with Node(tmp_path / f"node-{path.exists()}") as node:
            node.step(2)
            async with (
                sidecar_of(node, server__host=f"unix:{path}"),
                unix_connect(str(path), "ws://x/ws") as websocket,
            ):
                await websocket.send('{"method": "ping"}')
                assert await websocket.recv() == '{"channel":"pong"}'
                assert path.stat().st_mode & 0o777 == 0o660


async def test_over_ipv6(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.step(2)
        async with sidecar_of(node, server__host="::1") as sidecar:
            url = f"ws://[::1]:{port_of(sidecar)}/ws"
            async with connect(url) as websocket:
                await websocket.send('{"method": "ping"}')
                assert await websocket.recv() == '{"channel":"pong"}'


async def test_pages_of_other_sites(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.step(2)
        origins = "https://app.example, https://Other.example"
        async with sidecar_of(node, server__origins=origins) as sidecar:
            for origin in (None, "https://app.example", "https://OTHER.example"):
                async with connect(sidecar.ws_url, origin=origin):  # type: ignore[arg-type]
                    pass
            with pytest.raises(InvalidStatus, match="403"):
                await connect(sidecar.ws_url, origin="https://evil.example").__aenter__()  # type: ignore[arg-type]
            assert await status_of(sidecar, info_request("Origin: https://evil.example")) == 403
            assert await status_of(sidecar, info_request("Origin: https://app.example")) == 200


async def test_limits_count_by_the_client_behind_a_proxy(tmp_path: Path) -> None:
    """Here the proxy is 127.0.0.1, and each client may have two connections."""
    with Node(tmp_path) as node:
        node.step(2)
        limits = {"server__connections_per_ip": "2", "server__trusted_proxies": "127.0.0.1"}
        async with sidecar_of(node, **limits) as sidecar:

            def headers(last: str) -> dict[str, str]:
                return {"X-Forwarded-For": f"198.51.100.99, {last}"}

            async with (
                connect(sidecar.ws_url, additional_headers=headers("203.0.113.7")),
                connect(sidecar.ws_url, additional_headers=headers("203.0.113.7")),
                connect(sidecar.ws_url, additional_headers=headers("203.0.113.8")),
            ):
                with pytest.raises(InvalidStatus, match="429"):
                    await connect(
                        sidecar.ws_url, additional_headers=headers("203.0.113.7")
                    ).__aenter__()
                async with connect(sidecar.ws_url, additional_headers=headers("203.0.113.8")):
                    pass
            async with connect(sidecar.ws_url, additional_headers=headers("203.0.113.7")):
                pass  # they have gone


async def test_nobody_else_is_believed(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.step(2)
        limits = {"server__connections_per_ip": "1", "server__trusted_proxies": "10.0.0.1"}
        async with sidecar_of(node, **limits) as sidecar, connect(sidecar.ws_url):
            answer = await anyio.to_thread.run_sync(exchange, port_of(sidecar), b"")
            assert b" 429 " in answer  # before it could say anything


async def test_the_proxy_protocol(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.step(2)
        flags = {"server__proxy_protocol": "true", "server__trusted_proxies": "127.0.0.0/8"}
        async with sidecar_of(node, server__connections_per_ip="1", **flags) as sidecar:
            assert await status_of(sidecar, HEADER + info_request()) == 200
            assert await status_of(sidecar, info_request()) == 400
            port = port_of(sidecar)

            def hold_one_and_try_another() -> bytes:
                with socket.create_connection(("127.0.0.1", port), timeout=20) as first:
                    for byte in HEADER + UPGRADE:  # however it comes
                        first.sendall(bytes((byte,)))
                    assert b"101" in first.recv(1000)
                    other = HEADER.replace(bytes((203, 0, 113, 7)), bytes((203, 0, 113, 8)))
                    assert b" 200 " in exchange(port, other + info_request())
                    return exchange(port, HEADER + info_request())

            assert b" 429 " in await anyio.to_thread.run_sync(hold_one_and_try_another)
