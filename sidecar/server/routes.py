"""What clients ask over HTTP.

POST /info        JSON in, JSON out
POST /exchange    a signed action; answered with the block that executed it
"""

import math
import time

import anyio

from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import Outcome
from sidecar.api.requests import NO_ORDERS, decode_json
from sidecar.errors import HttpRefused, Limited, NotInSource, RequestInvalid, StateUnavailable
from sidecar.protocol.http import Request
from sidecar.server.connection import Connection
from sidecar.server.http_session import HttpAnswer
from sidecar.server.services import Services
from sidecar.server.tokens import TRADE
from sidecar.telemetry.tracecontext import continue_trace


def retry_after(error: Limited) -> tuple[tuple[str, str], ...]:
    """The header that says when to ask again."""
    return (("Retry-After", str(math.ceil(error.retry_after_s))),)


class Routes:
    """The paths, for one client."""

    def __init__(self, services: Services, connection: Connection) -> None:
        self._services = services
        self._connection = connection

    async def respond(self, request: Request) -> HttpAnswer:
        """Answers a request. Raises `HttpRefused`."""
        if request.path not in ("/info", "/exchange"):
            raise HttpRefused(
                404, f"no {request.path[:64]!r} here; there are /ws, /info, /exchange"
            )
        if request.method != "POST":
            allow = (("Allow", "POST"),)
            raise HttpRefused(405, f"{request.path} takes POST with a JSON body", allow)
        if request.path == "/exchange":
            return await self._exchange(request)
        return await self._info(request)

    async def _info(self, request: Request) -> HttpAnswer:
        try:
            asked = decode_json(request.body)
            with self._services.query_time.of(self._connection.limit_key):
                body = encode(answer_info(self._services.state, asked))
            return self._within(HttpAnswer(200, body))
        except Limited as error:
            raise HttpRefused(429, str(error), retry_after(error)) from None
        except NotInSource as reason:
            return self._within(await self._forward(asked, reason))
        except RequestInvalid as error:
            raise HttpRefused(422, str(error)) from None
        except StateUnavailable as error:
            raise HttpRefused(503, str(error)) from None

    def _within(self, answer: HttpAnswer) -> HttpAnswer:
        """The answer, if not too many wait to be read already. Raises `HttpRefused`."""
        try:
            self._services.unread_answers.check(self._connection.limit_key, len(answer.body))
        except Limited as error:
            raise HttpRefused(429, str(error), retry_after(error)) from None
        return answer

    async def _forward(self, asked: object, reason: NotInSource) -> HttpAnswer:
        pass_through = self._services.pass_through
        try:
            if pass_through is None:
                raise reason
            answer = await pass_through.ask(asked, reason)
        except NotInSource as error:
            raise HttpRefused(422, str(error)) from None
        return HttpAnswer(answer.status, answer.body, answer.content_type)

    async def _exchange(self, request: Request) -> HttpAnswer:
        """Waits for the action's answer; others are served meanwhile."""
        orders = self._services.orders
        if orders is None:
            raise HttpRefused(501, NO_ORDERS)
        self._connection.grant.require(TRADE)
        trace = continue_trace(request.header("traceparent"))
        answered, answers = anyio.Event(), list[Outcome]()

        def told(outcome: Outcome) -> None:
            answers.append(outcome)
            answered.set()

        peer, now = self._connection, time.time_ns()
        orders.take(Incoming(request.body, peer.limit_key, peer, trace, now, told))
        if not answers:
            await answered.wait()
        outcome = answers[0]
        headers = [("Traceparent", trace.traceparent), *outcome.headers()]
        if outcome.height:
            headers.append(("Sidecar-Height", str(outcome.height)))
        return HttpAnswer(outcome.code, outcome.body, headers=tuple(headers))
