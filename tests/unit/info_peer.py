"""An info server of a node for tests: what it says, down to the bytes, and what it was asked."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from anyio.abc import SocketStream

Answer = Callable[[SocketStream, bytes], Awaitable[None]]


class InfoPeer:
    """What a test sees of the server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/info"


def http(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def says(*parts: bytes) -> Answer:
    """Sends that, then ends the connection."""

    async def answer(stream: SocketStream, body: bytes) -> None:
        for part in parts:
            await stream.send(part)

    return answer


async def stays_silent(stream: SocketStream, body: bytes) -> None:
    await anyio.sleep_forever()


@asynccontextmanager
async def info_peer(answer: Answer, port: int = 0) -> AsyncIterator[InfoPeer]:
    """Answers every request in that way."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    peer = InfoPeer(listener.extra(anyio.abc.SocketAttribute.local_port))

    async def serve(stream: SocketStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream):  # who hangs up has asked for nothing
                body = await _body(stream)
                peer.requests.append(msgspec.json.decode(body))
                await answer(stream, body)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield peer
        tasks.cancel_scope.cancel()


async def _body(stream: SocketStream) -> bytes:
    text = b""
    while (end := text.find(b"\r\n\r\n")) < 0 or len(text) < end + 4 + _length(text[:end]):
        text += await stream.receive()
    return text[end + 4 :]


def _length(head: bytes) -> int:
    fields = head.lower().split(b"\r\n")
    return next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
