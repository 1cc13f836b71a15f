"""The server: accepts connections, gives each its task, looks after all of them once a second,
drains at the end.
"""

import itertools
import math
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from functools import partial

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from sidecar.errors import HttpRefused
from sidecar.limits import (
    CLOSE_TIMEOUT_S,
    DRAIN_TIMEOUT_S,
    EAGER_ACCEPTS_MAX,
    HEAR_OUT_S,
    LISTEN_BACKLOG,
    SESSIONS_PER_TURN,
)
from sidecar.protocol.closecodes import CloseCode
from sidecar.protocol.http import HttpConnection
from sidecar.server.connection import Connection
from sidecar.server.gate import Gate
from sidecar.server.http_session import HttpSession, Upgraded
from sidecar.server.listener import accept
from sidecar.server.refusals import Refusals
from sidecar.server.routes import Routes
from sidecar.server.services import Services
from sidecar.server.tokens import Tokens
from sidecar.server.websocket_session import WebSocketSession
from sidecar.settings import ServerSettings
from sidecar.telemetry.logs import get_log

_log = get_log("server")

_TICK_S = 1.0
_LOOKS = 50  # while the last ones are heard out


class Server:
    """All connections of one listening socket."""

    def __init__(
        self, listener: socket.socket, services: Services, *, hands_over: bool = False
    ) -> None:
        """`hands_over`: who connects while this one drains is left to the next one."""
        self._hands_over = hands_over
        self._accepting = anyio.CancelScope()
        self.listener = listener
        self._services = services
        self._sessions: dict[Connection, WebSocketSession] = {}
        self._gate = Gate(services.settings, services.tokens)
        self._refusals = Refusals(services.counts)
        self.opened = 0  # WebSocket connections so far
        self.closed: Counter[int] = Counter()  # each of them once, by close code
        self._drain_reason: tuple[int, str] | None = None
        self._gone = anyio.Event()  # set when the last session ends

    @property
    def port(self) -> int:
        """The port that is listened on; 0 for a unix socket."""
        name = self.listener.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    @property
    def connections(self) -> int:
        """How many are in, of any kind."""
        return len(self._gate.connections)

    @property
    def websockets(self) -> int:
        """How many of them speak WebSocket."""
        return len(self._sessions)

    def adopt(self, settings: ServerSettings, tokens: Tokens | None) -> None:
        """Other settings. Compression and messages a minute stay as a connection began with them;
        a WebSocket whose token is not given any more, or not as it was, ends.
        """
        self._services.settings, self._services.tokens = settings, tokens
        self._services.query_time.adopt(settings.query_share_per_ip)
        self._gate.adopt(settings, tokens)
        for connection, session in self._sessions.items():
            if tokens is not None and connection.grant not in tokens:
                session.close(CloseCode.POLICY_VIOLATION, "the token is not valid any more")

    def listen(self) -> None:
        """Clients can connect from now on."""
        self.listener.listen(LISTEN_BACKLOG)

    async def serve(self) -> None:
        """Accepts and serves until cancelled. `drain` first ends it politely."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick)
            with self._accepting:
                await self._accept_all(tasks)

    async def _accept_all(self, tasks: TaskGroup) -> None:
        for number in itertools.count(1):
            if number % EAGER_ACCEPTS_MAX == 0:
                await checkpoint()
            sock, address = await accept(self.listener)
            refusal = self._refusal(address)
            if refusal is None:
                self._start(tasks, sock, address)
            else:
                self._refusals.refuse(tasks, sock, refusal)

    async def drain(self, code: int, reason: str) -> None:
        """Refuses new connections, closes all with a code and reason, and waits until they have
        gone or time is up.
        """
        self._drain_reason = (code, reason)
        if self._hands_over:
            self._accepting.cancel()
        self._gone = anyio.Event()
        if self._hands_over:
            await self._hear_out()
        for connection in list(self._gate.connections):
            if connection not in self._sessions:
                connection.finish()  # HTTP: what was answered goes out, nothing more is answered
        async for session in _in_turns(self._sessions.values()):
            session.close(code, reason)
        with anyio.move_on_after(DRAIN_TIMEOUT_S):
            if self._sessions:
                await self._gone.wait()

    async def _hear_out(self) -> None:
        """Who came in last, and would have been the next one's, gets an answer all the same."""
        for _ in range(_LOOKS):
            waiting = (one for one in self._gate.connections if one not in self._sessions)
            if all(one.answered for one in waiting):
                return
            await anyio.sleep(HEAR_OUT_S / _LOOKS)

    def _refusal(self, address: str) -> HttpRefused | None:
        if self._drain_reason is not None:
            return HttpRefused(503, "the server is shutting down")
        return self._gate.refusal(address)

    def _start(self, tasks: TaskGroup, sock: socket.socket, address: str) -> None:
        connection = Connection(sock, address, tasks.start_soon)
        self._gate.enter(connection)
        tasks.start_soon(self._serve_connection, connection)

    async def _serve_connection(self, connection: Connection) -> None:
        """A fault of one connection ends that connection: ours is logged with its traceback,
        once.
        """
        try:
            with connection.scope:
                upgraded = await self._serve_http(connection)
                if upgraded is not None:
                    await self._serve_websocket(connection, upgraded)
                connection.finish()
                await connection.linger(math.inf if upgraded is None else CLOSE_TIMEOUT_S)
        except Exception:  # noqa: BLE001 - the one place where a bug in one connection is contained
            _log.exception("bug: connection ended", **connection.who)
        finally:
            connection.close()
            self._gate.leave(connection)

    async def _serve_http(self, connection: Connection) -> Upgraded | None:
        try:
            await self._gate.read_proxy_header(connection)
        except HttpRefused as error:
            self._services.counts.refusals[error.status] += 1
            connection.send(HttpConnection().refuse(error))
            return None
        http = HttpSession(
            connection,
            Routes(self._services, connection).respond,
            check=partial(self._gate.check, connection),
            upgrade_path="/ws",
            deflate=self._services.settings.deflate,
            refusals=self._services.counts.refusals,
            unread=self._services.unread_answers,
        )
        return await http.run()

    async def _serve_websocket(self, connection: Connection, upgraded: Upgraded) -> None:
        session = WebSocketSession(connection, self._services, deflate=upgraded.deflate)
        self._sessions[connection] = session
        self.opened += 1
        _log.debug("opened", **connection.who, deflate=upgraded.deflate)
        if self._drain_reason is not None:
            session.close(*self._drain_reason)
        try:
            await session.run(upgraded.leftover)
        except Exception:
            session.close(CloseCode.INTERNAL_ERROR, "an error of the server")
            raise
        finally:
            del self._sessions[connection]
            self.closed[session.code] += 1
            _log.debug("closed", **connection.who, code=session.code)
            if not self._sessions:
                self._gone.set()

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(_TICK_S)
            async for session in _in_turns(self._sessions.values()):
                session.tick(time.monotonic())
            self._services.hub.tick(time.monotonic())


async def _in_turns(sessions: Collection[WebSocketSession]) -> AsyncIterator[WebSocketSession]:
    """All there are now, with turns for others: thousands take a while."""
    for number, session in enumerate(list(sessions), 1):
        yield session
        if number % SESSIONS_PER_TURN == 0:
            await checkpoint()
