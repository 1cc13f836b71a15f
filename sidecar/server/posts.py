"""The `post` requests of one WebSocket client: queries, and signed actions. Each answer carries the
request's id; none waits for another.
"""

import time
from functools import partial
from typing import Any

import msgspec

from sidecar.api.info import answer_info
from sidecar.api.messages import Reply
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import Outcome
from sidecar.api.requests import NO_ORDERS, Post, decode_json
from sidecar.errors import HttpRefused, Limited, NotInSource, RequestInvalid, StateUnavailable
from sidecar.server.connection import Connection
from sidecar.server.forwards import Forwards
from sidecar.server.message_limit import MessageLimit
from sidecar.server.outgoing import Outgoing
from sidecar.server.services import Services
from sidecar.server.tokens import TRADE
from sidecar.telemetry.tracecontext import continue_trace

_WASTED = (422, 429)


class Posts:
    """Answers them."""

    def __init__(
        self,
        connection: Connection,
        services: Services,
        outgoing: Outgoing,
        messages: MessageLimit,
    ) -> None:
        """`messages` counts each action that was unreadable, or one too many."""
        self._connection = connection
        self._services = services
        self._outgoing = outgoing
        self._messages = messages
        answer = partial(_answer, outgoing)
        self._forwards = Forwards(connection, services.pass_through, answer)

    def post(self, request: Post) -> None:
        """Sees to it that a request is answered."""
        if request.request.type == "action":
            self._act(request)
        else:
            self._inform(request)

    def cancel_all(self) -> None:
        """The client has gone. Actions that were sent on stay sent."""
        self._forwards.cancel_all()

    def _inform(self, request: Post) -> None:
        try:
            payload = decode_json(request.request.payload)
            self._services.unread_snapshots.check(self._connection.limit_key)
            with self._services.query_time.of(self._connection.limit_key):
                answer = answer_info(self._services.state, payload)
                told = {"type": payload["type"], "data": answer}
                _answer(self._outgoing, request, {"type": "info", "payload": told})
        except Limited as error:
            _answer(self._outgoing, request, {"type": "error", "payload": f"429: {error}"})
        except NotInSource as reason:
            self._forwards.post(request, payload, reason)
        except (RequestInvalid, StateUnavailable) as error:
            _answer(self._outgoing, request, {"type": "error", "payload": str(error)})

    def _act(self, request: Post) -> None:
        orders = self._services.orders
        if orders is None:
            _answer(self._outgoing, request, {"type": "error", "payload": f"501: {NO_ORDERS}"})
            return
        try:
            self._connection.grant.require(TRADE)
        except HttpRefused as error:
            _answer(
                self._outgoing, request, {"type": "error", "payload": f"{error.status}: {error}"}
            )
            return
        trace = continue_trace(request.traceparent)

        def told(outcome: Outcome) -> None:
            if outcome.code in _WASTED:
                self._messages.count()
            data = {"id": request.id, "response": outcome.as_post()}
            height = outcome.height or msgspec.UNSET
            self._outgoing.reply(Reply("post", data, height, trace.traceparent))

        body = bytes(request.request.payload)
        address = self._connection.limit_key
        orders.take(Incoming(body, address, self._connection, trace, time.time_ns(), told))


def _answer(outgoing: Outgoing, request: Post, response: dict[str, Any]) -> None:
    outgoing.reply(Reply("post", {"id": request.id, "response": response}))
