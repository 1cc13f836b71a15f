"""A small WebSocket client for the terminal commands, on wsproto and anyio: what the server
speaks, from the other end.
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import msgspec
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    TextMessage,
)
from wsproto.events import Request as Upgrade
from wsproto.utilities import RemoteProtocolError

from sidecar.errors import SidecarError


class ConnectionFailed(SidecarError):
    """A server that can't be reached, refuses, or ends the connection; the message says why."""


class Client:
    """One connection: `async with Client(url) as client`, `subscribe`, then `async for message
    in client.messages()`.
    """

    def __init__(self, url: str) -> None:
        """`url` as in ws://127.0.0.1:8010/ws."""
        self._url = url
        self._host, self._port, self._path = _parse(url)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._stream: anyio.abc.SocketStream | None = None

    async def __aenter__(self) -> Self:
        try:
            self._stream = await anyio.connect_tcp(self._host, self._port)
        except OSError as error:
            reason = error.__cause__ or error
            raise ConnectionFailed(f"no server at {self._url}: {reason}") from error
        await self._send(self._protocol.send(Upgrade(host=self._host, target=self._path)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    async def subscribe(self, **subscription: Any) -> None:
        """Asks for a topic; what the server thinks of it comes with the messages."""
        request = {"method": "subscribe", "subscription": subscription}
        text = msgspec.json.encode(request).decode()
        await self._send(self._protocol.send(TextMessage(text)))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Every message of the server, for ever. Raises `ConnectionFailed` when it ends."""
        parts: list[str] = []
        while True:
            for event in await self._receive():
                if isinstance(event, TextMessage):
                    parts.append(event.data)
                    if event.message_finished:
                        yield msgspec.json.decode("".join(parts))
                        parts = []
                else:
                    await self._on_control(event)

    async def connect(self) -> None:
        """Waits for the server to accept the upgrade. Raises `ConnectionFailed`."""
        while True:
            for event in await self._receive():
                if isinstance(event, AcceptConnection):
                    return
                await self._on_control(event)

    async def _receive(self) -> list[Event]:
        assert self._stream is not None
        try:
            self._protocol.receive_data(await self._stream.receive())
            return list(self._protocol.events())
        except anyio.EndOfStream:
            raise ConnectionFailed(f"{self._url} ended the connection") from None
        except (anyio.BrokenResourceError, RemoteProtocolError) as error:
            raise ConnectionFailed(f"{self._url}: {error}") from error

    async def _on_control(self, event: object) -> None:
        if isinstance(event, Ping):
            await self._send(self._protocol.send(event.response()))
        elif isinstance(event, CloseConnection):
            raise ConnectionFailed(f"{self._url} closed with {event.code}: {event.reason}")
        elif isinstance(event, RejectConnection):
            raise ConnectionFailed(f"{self._url} refused with status {event.status_code}")
        elif isinstance(event, RejectData):
            raise ConnectionFailed(f"{self._url} said: {bytes(event.data)[:200]!r}")

    async def _send(self, data: bytes) -> None:
        assert self._stream is not None
        try:
            await self._stream.send(data)
        except anyio.BrokenResourceError as error:
            raise ConnectionFailed(f"{self._url}: the connection is lost") from error


def _parse(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        if parts.scheme == "ws" and parts.hostname is not None:
            return parts.hostname, parts.port or 80, parts.path or "/ws"
    except ValueError:
        pass  # a port that is none, a bracket too few
    raise ConnectionFailed(f"{url!r} is not an address such as ws://127.0.0.1:8010/ws")
