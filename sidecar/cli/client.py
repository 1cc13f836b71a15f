"""A small WebSocket client for the terminal commands, on wsproto and anyio: what the server
speaks, from the other end.
"""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
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

_PORTS = {"ws": 80, "wss": 443}
_SHOWN = 200  # bytes of a refusal that is no JSON
_UNAUTHORIZED = 401


class ConnectionFailed(SidecarError):
    """A server that can't be reached, refuses, or ends the connection; the message says why."""


class Place(NamedTuple):
    """A server, and what it needs to let us in."""

    url: str  # ws://127.0.0.1:8010/ws, or wss://
    token: str | None = None
    authorities: Path | None = None  # certificates to trust in place of the system's


class Client:
    """One connection: `async with Client(place) as client`, `subscribe`, then `async for message
    in client.messages()`.
    """

    def __init__(self, place: Place) -> None:
        """Raises `ConnectionFailed` where its URL is none."""
        self._place, self._url = place, place.url
        self._address = _parse(place.url)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._stream: anyio.abc.ByteStream | None = None
        self._status, self._refusal = 0, b""  # of an upgrade that was refused

    async def __aenter__(self) -> Self:
        host, port, authority, path = self._address
        try:
            if self._url.startswith("wss:"):
                trusted = ssl.create_default_context(cafile=self._place.authorities)
                self._stream = await anyio.connect_tcp(
                    host,
                    port,
                    ssl_context=trusted,
                    tls_hostname=host,
                    tls_standard_compatible=False,
                )
            else:
                self._stream = await anyio.connect_tcp(host, port)
        except ssl.SSLCertVerificationError as error:
            what = f"{self._url} has no certificate that is trusted: {error.verify_message}"
            raise ConnectionFailed(f"{what}; --ca-file names others to trust") from error
        except OSError as error:  # ssl.SSLError is one
            reason = error.__cause__ or error
            raise ConnectionFailed(f"no server at {self._url}: {reason}") from error
        token = self._place.token
        headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
        upgrade = Upgrade(host=authority, target=path, extra_headers=headers)
        await self._send(self._protocol.send(upgrade))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            await anyio.aclose_forcefully(self._stream)

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
            self._status = event.status_code
            if not event.has_body:
                raise self._refused()
        elif isinstance(event, RejectData):
            self._refusal += bytes(event.data)
            if event.body_finished:
                raise self._refused()

    def _refused(self) -> ConnectionFailed:
        """With what the server says, which is JSON unless a proxy says it."""
        try:
            said = msgspec.json.decode(self._refusal)["msg"]
        except (msgspec.DecodeError, KeyError, TypeError):
            said = self._refusal[:_SHOWN].decode(errors="replace").strip()
        hint = "; --token-file names a file that has one" if self._status == _UNAUTHORIZED else ""
        reason = f": {said}" if said else ""
        return ConnectionFailed(f"{self._url} refused with status {self._status}{reason}{hint}")

    async def _send(self, data: bytes) -> None:
        assert self._stream is not None
        try:
            await self._stream.send(data)
        except anyio.BrokenResourceError as error:
            raise ConnectionFailed(f"{self._url}: the connection is lost") from error


class _Address(NamedTuple):
    host: str
    port: int
    authority: str  # of the Host header
    path: str


def _parse(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        if parts.scheme in _PORTS and parts.hostname is not None:
            port = parts.port or _PORTS[parts.scheme]
            authority = parts.netloc.rpartition("@")[2]
            path = parts.path or "/ws"
            return _Address(parts.hostname, port, authority, path)
    except ValueError:
        pass  # a port that is none, a bracket too few
    raise ConnectionFailed(f"{url!r} is not an address such as ws://127.0.0.1:8010/ws")
