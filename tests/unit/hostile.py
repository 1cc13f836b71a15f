"""Peers that keep to no rules, over raw sockets, and what tests of them share."""

import contextlib
import socket
import struct
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any, Self

import anyio
import pytest

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A  # whole frames
FIRST, MORE, LAST = 0x01, 0x00, 0x80  # a text in fragments
RSV1 = 0x40


def frame(first: int, payload: bytes = b"") -> bytes:
    """A client's frame. Its mask is zero, so that its payload is what it says."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def frames_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """First byte and payload of each whole frame of a server."""
    at = 0
    while len(data) - at >= 2:
        size, head = data[at + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if len(data) - at < head + size:
            return
        yield data[at], data[at + head : at + head + size]
        at += head + size


class Peer:
    """A client's end of one TCP connection, in the hands of the test."""

    def __init__(self, port: int, *, recv_buffer: int = 0, source: str = "") -> None:
        """`recv_buffer`: bytes that the kernel may keep of what is not read, about."""
        self.sock = socket.socket()
        if recv_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, recv_buffer)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    async def send(self, data: bytes) -> None:
        """All of it, however long that takes. Raises OSError once the server has gone."""
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self.sock)

    async def receive(self, size: int = 1 << 16) -> bytes:
        """What is there next; empty at the end, be it a reset."""
        while True:
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                await anyio.wait_readable(self.sock)
            except OSError:
                return b""

    async def rest(self) -> bytes:
        """Everything until the server ends."""
        data = b""
        while more := await self.receive():
            data += more
        return data

    async def upgrade(self, headers: bytes = b"") -> None:
        """A WebSocket from here on."""
        await self.send(UPGRADE + headers + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await self.receive(1)
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    async def close_frame(self) -> tuple[int, str]:
        """Reads up to the server's end; code and reason of the Close that came before it."""
        *_, (first, payload) = frames_of(await self.rest())
        assert first == CLOSE
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def reset(self) -> None:
        """Ends with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def shorten(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """Other limits than the product's, wherever they are used."""
    for name, value in limits.items():
        users = [
            module
            for path, module in list(sys.modules.items())
            if path.startswith("sidecar.") and hasattr(module, name)
        ]
        assert users, name
        for module in users:
            monkeypatch.setattr(module, name, value)


async def all_gone(server: Any) -> None:
    """Until the server has no connection left, and no count of one."""
    gate = server._gate
    while gate.connections:
        await anyio.sleep(0.01)
    assert not server._sessions
    assert not +gate._by_address


@contextlib.contextmanager
def memory_flat(bytes_max: int) -> Iterator[None]:
    """Never more memory than so much beyond what was there before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < bytes_max
