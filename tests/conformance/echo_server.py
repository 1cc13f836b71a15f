"""An echo server for conformance suites: the protocol and the connections of the product, with
another session on top.

    python -m tests.conformance.echo_server --port 9001 --deflate

Text and binary messages come back with their type, compressed where that was agreed on. What is
not the product's: messages may have 16 MiB and a hundred thousand fragments, binary ones are
taken, WebSocket is spoken at "/", and nothing is counted in time.
"""

import argparse
import contextlib
import socket
from functools import partial

import anyio

from sidecar.cli.signals import end_signals
from sidecar.errors import ConfigInvalid, HttpRefused
from sidecar.limits import CLOSE_TIMEOUT_S, LISTEN_BACKLOG
from sidecar.protocol import frames
from sidecar.protocol.closecodes import CloseCode
from sidecar.protocol.request import Request
from sidecar.protocol.websocket import (
    BinaryMessage,
    CloseReceived,
    Event,
    Message,
    PingReceived,
    Violation,
    WebSocketConnection,
)
from sidecar.server.connection import Connection
from sidecar.server.http_session import HttpAnswer, HttpSession
from sidecar.server.listener import accept, bind
from sidecar.telemetry.logs import configure_logs, get_log

MESSAGE_BYTES_MAX = 16 << 20  # cases 9.1.6 and 9.2.6
FRAGMENTS_MAX = 1 << 17  # cases 9.3.1 and 9.4.1: 4 MiB in fragments of 64 bytes
UNREAD_TIMEOUT_S = 30.0  # for a client that takes nothing of its echo

_BINARY = 0x2
_RSV_AND_FIN = 0xF0

_log = get_log("server")


class EchoSession:
    """Says to one client what it says."""

    def __init__(self, connection: Connection, *, deflate: bool) -> None:
        self._connection = connection
        self._deflate = deflate
        self._websocket = WebSocketConnection(
            deflate=deflate,
            binary=True,
            message_bytes_max=MESSAGE_BYTES_MAX,
            fragments_max=FRAGMENTS_MAX,
        )

    async def run(self, leftover: bytes) -> None:
        """Until our Close is sent or the client has gone. Reads on when the echo has been read."""
        data = leftover
        while True:
            for event in self._websocket.receive(data):
                self._on_event(event)
            if self._websocket.close_sent:
                return
            if not await self._connection.drained(UNREAD_TIMEOUT_S):
                return
            data = await self._connection.receive()
            if not data:
                return

    def close(self) -> None:
        """The server is ending."""
        self._connection.send(self._websocket.close(CloseCode.GOING_AWAY, "the server is ending"))

    def _on_event(self, event: Event) -> None:
        match event:
            case Message():
                self._connection.send(self._frame(event.data.encode()))
            case BinaryMessage():
                frame = self._frame(event.data)
                first = frame[0] & _RSV_AND_FIN | _BINARY
                self._connection.send(bytes((first,)) + frame[1:])
            case PingReceived():
                self._connection.send(self._websocket.pong(event.payload))
            case CloseReceived():
                self._connection.send(self._websocket.close_reply(event))
            case Violation():
                self._connection.send(self._websocket.close(event.code, event.reason))

    def _frame(self, payload: bytes) -> bytes:
        frame = frames.text(payload)
        return frames.deflated(frame) if self._deflate else frame


async def serve(listener: socket.socket, *, deflate: bool) -> None:
    """Accepts and serves until cancelled."""
    async with anyio.create_task_group() as tasks:
        while True:
            sock, address = await accept(listener)
            connection = Connection(sock, address, tasks.start_soon)
            tasks.start_soon(partial(_serve_connection, connection, deflate=deflate))


async def _serve_connection(connection: Connection, *, deflate: bool) -> None:
    session: EchoSession | None = None
    try:
        with connection.scope:
            http = HttpSession(connection, _not_found, upgrade_path="/", deflate=deflate)
            upgraded = await http.run()
            if upgraded is not None:
                session = EchoSession(connection, deflate=upgraded.deflate)
                await session.run(upgraded.leftover)
            with anyio.move_on_after(CLOSE_TIMEOUT_S):
                connection.finish()
                await connection.linger()
    except Exception:  # noqa: BLE001 - one connection's bug is logged and ends that connection
        _log.exception("bug: connection ended")
    finally:
        if session is not None:
            session.close()
        connection.close()


async def _not_found(_: Request) -> HttpAnswer:
    raise HttpRefused(404, 'here is a WebSocket at "/" and nothing else')


async def run(host: str, port: int, *, deflate: bool) -> None:
    """Listens, says where, and serves until SIGINT or SIGTERM."""
    with end_signals() as signals, contextlib.closing(bind(host, port)) as listener:
        listener.listen(LISTEN_BACKLOG)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"echoing at ws://{shown}:{port}/", flush=True)  # noqa: T201 - what it is told by
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, listener, deflate=deflate))
            async for _ in signals:
                tasks.cancel_scope.cancel()
                return


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.echo_server",
        description="A WebSocket echo server for conformance suites. Ends on SIGINT or SIGTERM.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0: any that is free")
    parser.add_argument("--deflate", action="store_true", help="take permessage-deflate offers")
    options = parser.parse_args()
    configure_logs("info", "text")
    try:
        anyio.run(
            partial(run, options.host, options.port, deflate=options.deflate),
            backend_options={"use_uvloop": True},
        )
    except ConfigInvalid as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
