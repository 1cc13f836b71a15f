"""One TCP connection from its first byte: HTTP requests one after another, until one of them
upgrades.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from sidecar.api.messages import encode
from sidecar.errors import HttpRefused
from sidecar.limits import (
    ANSWER_BYTES_PER_S_MIN,
    IDLE_HTTP_TIMEOUT_S,
    RECV_BYTES,
    REQUEST_HEAD_TIMEOUT_S,
)
from sidecar.protocol import upgrade
from sidecar.protocol.deflate import negotiate
from sidecar.protocol.http import HttpConnection, Request
from sidecar.server.connection import Connection
from sidecar.server.unread import Unread, answers


class HttpAnswer(NamedTuple):
    """What a request is answered with."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Upgraded(NamedTuple):
    """A connection that speaks WebSocket: what came behind its request, and whether messages may be
    compressed.
    """

    leftover: bytes
    deflate: bool


Respond = Callable[[Request], Awaitable[HttpAnswer]]


class HttpSession:
    """Answers HTTP on one connection."""

    def __init__(
        self,
        connection: Connection,
        respond: Respond,
        *,
        check: Callable[[Request], None] = lambda _: None,
        upgrade_path: str | None = None,
        deflate: bool = False,
        refusals: Counter[int] | None = None,
        unread: Unread | None = None,
    ) -> None:
        """`respond` and `check`, which sees each request first, may raise `HttpRefused`: counted in
        `refusals` by status. `upgrade_path` is where WebSocket is spoken, with compressed messages
        if `deflate`. What is not read at once is held in `unread`.
        """
        self._unread = answers() if unread is None else unread
        self._refusals = Counter[int]() if refusals is None else refusals
        self._check = check
        self._deflate = deflate
        self._connection = connection
        self._respond = respond
        self._upgrade_path = upgrade_path
        self._http = HttpConnection()

    async def run(self) -> Upgraded | None:
        """Serves until the peer ends (None) or upgrades."""
        connection, first_byte_s = self._connection, REQUEST_HEAD_TIMEOUT_S
        try:
            while (request := await self._next_request(first_byte_s)) is not None:
                first_byte_s = IDLE_HTTP_TIMEOUT_S
                if request.path == self._upgrade_path:
                    self._check(request)
                    extension = self._negotiate(request)
                    connection.send(upgrade.accept(request, extension))
                    return Upgraded(self._http.leftover(), extension is not None)
                connection.send(await self._answer(request))
                connection.answered = True
                if not await self._is_taken() or self._http.should_close:
                    break
        except HttpRefused as error:
            self._refusals[error.status] += 1
            connection.send(self._http.refuse(error))
        except Exception:
            connection.send(self._http.refuse(HttpRefused(500, "an error of the server")))
            raise
        return None

    async def _is_taken(self) -> bool:
        """Waits until the client has its answer. One that takes too long has no connection any
        more.
        """
        connection = self._connection
        waiting = connection.outbox.bytes
        with self._unread.held(connection.limit_key, waiting):
            await checkpoint()  # a client that pipelines for ever must not keep the loop
            if not waiting:
                return not connection.lost
            with anyio.move_on_after(IDLE_HTTP_TIMEOUT_S + waiting / ANSWER_BYTES_PER_S_MIN):
                if await connection.drained(IDLE_HTTP_TIMEOUT_S):
                    return True
        connection.abort()
        return False

    def _negotiate(self, request: Request) -> str | None:
        return negotiate(request.header("sec-websocket-extensions")) if self._deflate else None

    async def _next_request(self, first_byte_s: float) -> Request | None:
        request = self._http.next_request()
        if request is not None or self._http.closed:
            return request
        started = not self._http.idle  # the rest of a pipelined read may have begun the next one
        with anyio.move_on_after(REQUEST_HEAD_TIMEOUT_S if started else first_byte_s) as scope:
            while request is None and not self._http.closed:
                self._connection.send(self._http.interim())
                data = await self._connection.receive(min(self._http.room(), RECV_BYTES))
                if not started:
                    started = True
                    scope.deadline = anyio.current_time() + REQUEST_HEAD_TIMEOUT_S
                self._http.receive(data)
                request = self._http.next_request()
        if scope.cancelled_caught and started:
            raise HttpRefused(408, f"the request took more than {REQUEST_HEAD_TIMEOUT_S:.0f} s")
        return request

    async def _answer(self, request: Request) -> bytes:
        try:
            self._check(request)
            answer = await self._respond(request)
        except HttpRefused as error:
            self._refusals[error.status] += 1
            message = encode({"code": error.status, "msg": str(error)})
            return self._http.respond(error.status, message, headers=error.headers)
        status, body, content_type, headers = answer
        return self._http.respond(status, body, content_type=content_type, headers=headers)
