"""One TCP connection from its first byte: HTTP requests one after another, until one of them
upgrades.

    GET /ws           the WebSocket upgrade
    POST /info        JSON in, JSON out
    POST /exchange    refused: this sidecar does not take orders
"""

import anyio
from anyio.lowlevel import checkpoint

from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.api.requests import NO_ORDERS, decode_json
from sidecar.errors import HttpRefused, NotInSource, RequestInvalid, StateUnavailable
from sidecar.limits import IDLE_HTTP_TIMEOUT_S, RECV_BYTES, REQUEST_HEAD_TIMEOUT_S
from sidecar.protocol import upgrade
from sidecar.protocol.http import HttpConnection, Request
from sidecar.server.connection import Connection
from sidecar.server.services import Services


class HttpSession:
    """Answers HTTP on one connection."""

    def __init__(self, connection: Connection, services: Services) -> None:
        self._connection = connection
        self._services = services
        self._http = HttpConnection()

    async def run(self) -> bytes | None:
        """Serves until the peer ends (None) or upgrades: then the bytes that followed its
        request.
        """
        connection, first_byte_s = self._connection, REQUEST_HEAD_TIMEOUT_S
        try:
            while (request := await self._next_request(first_byte_s)) is not None:
                first_byte_s = IDLE_HTTP_TIMEOUT_S
                if request.path == "/ws":
                    connection.send(upgrade.accept(request))
                    return self._http.leftover()
                connection.send(await self._respond(request))
                await checkpoint()  # a client that pipelines for ever must not keep the loop
                if self._http.should_close or not await connection.drained(IDLE_HTTP_TIMEOUT_S):
                    break
        except HttpRefused as error:
            connection.send(self._http.refuse(error))
        except Exception:
            connection.send(self._http.refuse(HttpRefused(500, "an error of the server")))
            raise
        return None

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

    async def _respond(self, request: Request) -> bytes:
        try:
            status, body = self._route(request)
        except NotInSource as reason:
            return await self._forward(request, reason)
        except HttpRefused as error:
            message = encode({"code": error.status, "msg": str(error)})
            return self._http.respond(error.status, message, headers=error.headers)
        return self._http.respond(status, body)

    async def _forward(self, request: Request, reason: NotInSource) -> bytes:
        try:
            if self._services.pass_through is None:
                raise reason
            answer = await self._services.pass_through.ask(decode_json(request.body), reason)
        except (HttpRefused, NotInSource) as error:
            status = error.status if isinstance(error, HttpRefused) else 422
            return self._http.respond(status, encode({"code": status, "msg": str(error)}))
        return self._http.respond(answer.status, answer.body, content_type=answer.content_type)

    def _route(self, request: Request) -> tuple[int, bytes]:
        if request.path not in ("/info", "/exchange"):
            raise HttpRefused(
                404, f"no {request.path[:64]!r} here; there are /ws, /info, /exchange"
            )
        if request.method != "POST":
            allow = (("Allow", "POST"),)
            raise HttpRefused(405, f"{request.path} takes POST with a JSON body", allow)
        if request.path == "/exchange":
            raise HttpRefused(501, NO_ORDERS)
        try:
            return 200, encode(answer_info(self._services.state, decode_json(request.body)))
        except NotInSource:
            raise
        except RequestInvalid as error:
            raise HttpRefused(422, str(error)) from None
        except StateUnavailable as error:
            raise HttpRefused(503, str(error)) from None
