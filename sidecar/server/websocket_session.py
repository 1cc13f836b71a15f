"""One WebSocket client: its requests and its end.

A bad request is answered and costs nothing; a broken protocol, a limit passed or a slow reader ends
the connection with a close frame that says why. Whoever ends it, everything goes through `_close`.
"""

import time

from sidecar.api.messages import Reply
from sidecar.api.requests import (
    OnDisconnect,
    Ping,
    Post,
    Request,
    Subscribe,
    Unsubscribe,
    decode_request,
)
from sidecar.errors import RequestInvalid
from sidecar.limits import CLOSE_TIMEOUT_S, CONTROL_FRAMES_PER_S
from sidecar.protocol import frames
from sidecar.protocol.closecodes import CloseCode
from sidecar.protocol.websocket import (
    CloseReceived,
    Event,
    Message,
    PingReceived,
    Violation,
    WebSocketConnection,
)
from sidecar.server.connection import Connection
from sidecar.server.posts import Posts
from sidecar.server.rates import Rate
from sidecar.server.safety_net import SafetyNet
from sidecar.server.services import Services
from sidecar.server.subscriptions import Subscriptions
from sidecar.telemetry.logs import get_log

_log = get_log("server")


class WebSocketSession:
    """Speaks with one client."""

    def __init__(
        self, connection: Connection, services: Services, *, deflate: bool = False
    ) -> None:
        """`deflate`: messages may be compressed, both ways."""
        self._connection = connection
        self._services = services
        self._websocket = WebSocketConnection(deflate=deflate)
        self._subscriptions = Subscriptions(connection, services, self.close, deflates=deflate)
        self._reply = self._subscriptions.reply
        self._safety_net = SafetyNet(connection, services.orders)
        settings = services.settings
        self._messages = Rate(settings.messages_per_minute, 60.0)
        self._posts = Posts(connection, services, self._reply, self._count_message)
        self._controls = Rate(CONTROL_FRAMES_PER_S, 1.0)
        self._heard_at = time.monotonic()
        self._pinged_at = 0.0
        self._close_by: float | None = None

    async def run(self, leftover: bytes) -> None:
        """Until the client has gone. `leftover`: what it sent right behind its upgrade request."""
        try:
            data = leftover
            while True:
                if data:
                    self._hear(data)
                data = await self._connection.receive()
                if not data:
                    return
        finally:
            self._safety_net.fire()
            self._subscriptions.end()
            self._posts.cancel_all()

    def tick(self, now: float) -> None:
        """Called about once a second: pings a silent client, ends a dead one or one that does
        not close.
        """
        if self._close_by is not None:
            if now >= self._close_by:
                self._connection.abort()
            return
        settings = self._services.settings
        heard_at = max(self._heard_at, self._connection.sent_at)  # reading is a sign of life, too
        if self._pinged_at > heard_at:
            if now - self._pinged_at >= settings.pong_timeout_s:
                _log.info("client gone", address=self._connection.address, reason="no pong")
                self._connection.abort()
        elif now - heard_at >= settings.ping_interval_s:
            self._pinged_at = now
            self._connection.send_control(self._websocket.ping(b""))
        self._subscriptions.check_age(now)

    def close(self, code: int, reason: str) -> None:
        """Tells the client why it is let go, and ends the connection when it answers or time is
        up.
        """
        if self._close_by is None:
            self._close(self._websocket.close(code, reason), reason)

    def _hear(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        for event in self._websocket.receive(data):
            if self._close_by is None:
                self._on_event(event)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Message):
            self._on_message(event.data)
        elif isinstance(event, CloseReceived):
            self._close(self._websocket.close_reply(event), "closed by the client")
        elif isinstance(event, Violation):
            self.close(event.code, event.reason)
        elif self._controls.exceeded(self._heard_at):
            reason = f"more than {CONTROL_FRAMES_PER_S} control frames a second"
            self.close(CloseCode.POLICY_VIOLATION, reason)
        elif isinstance(event, PingReceived):
            self._connection.send_control(self._websocket.pong(event.payload))

    def _on_message(self, text: str) -> None:
        try:
            request = decode_request(text)
        except RequestInvalid as error:
            if self._count_message():
                self._reply(Reply("error", str(error)))
            return
        if not self._is_action(request) and not self._count_message():
            return
        try:
            self._answer(request)
        except RequestInvalid as error:
            self._reply(Reply("error", str(error)))

    def _is_action(self, request: Request) -> bool:
        """Those have limits of their own, where any are taken."""
        takes_any = self._services.orders is not None
        return takes_any and isinstance(request, Post) and request.request.type == "action"

    def _count_message(self) -> bool:
        """False once there are too many, and the connection ends."""
        if self._messages.exceeded(self._heard_at):
            limit = self._services.settings.messages_per_minute
            self.close(CloseCode.POLICY_VIOLATION, f"more than {limit} messages a minute")
            return False
        return True

    def _answer(self, request: Request) -> None:
        match request:
            case Subscribe():
                self._subscriptions.subscribe(request)
            case Unsubscribe():
                self._subscriptions.unsubscribe(request)
            case Post():
                self._posts.post(request)
            case OnDisconnect():
                self._reply(self._safety_net.lay(request))
            case Ping():
                self._connection.send(_PONG)

    def _close(self, frame: bytes, reason: str) -> None:
        self._safety_net.fire()
        _log.debug("closing", address=self._connection.address, reason=reason)
        self._close_by = time.monotonic() + CLOSE_TIMEOUT_S
        self._connection.send(frame)
        self._connection.finish()


_PONG = frames.text(b'{"channel":"pong"}')
