"""A signed action that is sent when its WebSocket connection ends, once at most, however it ends:
closed, reset, silent to pings, or with the server.
"""

import time
from collections.abc import Callable
from functools import partial

from sidecar.api.messages import Reply
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import Outcome
from sidecar.api.requests import NO_ORDERS, OnDisconnect
from sidecar.errors import HttpRefused, Limited, PeerError, RequestInvalid
from sidecar.server.connection import Connection
from sidecar.server.nonce_watch import Watch
from sidecar.server.order_entry import OrderEntry
from sidecar.server.tokens import TRADE
from sidecar.telemetry.logs import get_log
from sidecar.telemetry.tracecontext import continue_trace

_log = get_log("orders")

_NULL = b"null"


class SafetyNet:
    """What one connection has laid out for its end."""

    def __init__(self, connection: Connection, orders: OrderEntry | None) -> None:
        self._connection = connection
        self._orders = orders
        self._body: bytes | None = None
        self._watch: Watch | None = None  # of its nonce

    def lay(self, request: OnDisconnect, tell: Callable[[Reply], None]) -> Reply:
        """Keeps an action in place of the one before, or none. Raises `RequestInvalid` for one that
        would be refused if it were sent now; the one before stays. When it can't be good any more,
        the client is told.
        """
        if self._orders is None:
            raise RequestInvalid(NO_ORDERS)
        try:
            self._connection.grant.require(TRADE)
        except HttpRefused as error:
            raise RequestInvalid(str(error)) from None
        body = bytes(request.action)
        if body == _NULL:
            self._take()
            return Reply("onDisconnect", None)
        try:
            action, key = self._orders.lay(body, self._connection.limit_key)
        except Limited as error:
            again = f"Try again in {error.retry_after_s:.3g} s."
            raise RequestInvalid(f"onDisconnect: {error} {again}") from error
        except PeerError as error:
            raise RequestInvalid(f"onDisconnect: {error}") from error
        self._take()
        data = {"type": action.kind, "nonce": key[1]}
        self._body = body
        self._watch = Watch(key, partial(tell, Reply("onDisconnect", {**data, "expired": True})))
        self._orders.flights.nonces.begin(self._watch)
        return Reply("onDisconnect", data)

    def _take(self) -> bytes | None:
        """What was laid out; it is no longer."""
        if self._watch is not None and self._orders is not None:
            self._orders.flights.nonces.end(self._watch)
        body, self._body, self._watch = self._body, None, None
        return body

    def fire(self) -> None:
        """The connection ends: sends what was laid out. The second time there is nothing left."""
        body = self._take()
        if body is None or self._orders is None:
            return
        trace = continue_trace(None)
        log = _log.bind(**self._connection.who, trace_id=trace.trace_id)

        def told(outcome: Outcome) -> None:
            log.info(
                "on disconnect",
                status=outcome.status or outcome.code,
                height=outcome.height,
                answer=outcome.body[:200].decode(errors="replace"),
            )

        peer, now = self._connection, time.time_ns()
        self._orders.take(Incoming(body, peer.limit_key, peer, trace, now, told, urgent=True))
