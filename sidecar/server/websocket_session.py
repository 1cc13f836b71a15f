"""One WebSocket client: its requests and its end.

A bad request is answered and costs nothing; a broken protocol, a limit passed or a slow reader ends
the connection with a close frame that says why.
"""

import time

from anyio.lowlevel import checkpoint

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
from sidecar.limits import CONTROL_FRAMES_PER_S, HEAR_SLICE_S
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
from sidecar.server.closing import Closing
from sidecar.server.connection import Connection
from sidecar.server.message_limit import MessageLimit
from sidecar.server.outgoing import Outgoing
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
        self._safety_net = SafetyNet(connection, services.orders)
        self._closing = Closing(connection, self._websocket, self._safety_net)
        self._outgoing = Outgoing(connection, services, self._closing, deflates=deflate)
        self._subscriptions = Subscriptions(services, self._outgoing)
        self._messages = MessageLimit(services.settings.messages_per_minute, self._closing)
        self._posts = Posts(connection, services, self._outgoing, self._messages)
        self._controls = Rate(CONTROL_FRAMES_PER_S, 1.0)
        self._heard_at = time.monotonic()
        self._pinged_at = 0.0
        self._busy_s = 0.0  # with what it sent, since others had their turn

    async def run(self, leftover: bytes) -> None:
        """Until the client has gone. `leftover`: what it sent right behind its upgrade request."""
        try:
            data = leftover
            while data or (data := await self._connection.receive()):
                if self._closing.begun:
                    self._closing.discard(data)
                else:
                    await self._hear(data)
                data = b""
        finally:
            self._safety_net.fire()
            self._subscriptions.end()
            self._posts.cancel_all()

    def tick(self, now: float) -> None:
        """Called about once a second: pings a silent client, ends a dead one or one that does
        not close.
        """
        if self._closing.begun:
            self._closing.enforce(now)
            return
        settings = self._services.settings
        heard_at = max(self._heard_at, self._connection.sent_at)  # reading is a sign of life, too
        if self._pinged_at > heard_at:
            if now - self._pinged_at >= settings.pong_timeout_s:
                _log.info("client gone", **self._connection.who, reason="no pong")
                self._connection.abort()
        elif now - heard_at >= settings.ping_interval_s:
            self._pinged_at = now
            self._connection.send_control(self._websocket.ping(b""))
        self._outgoing.check_age(now)

    def close(self, code: int, reason: str) -> None:
        """Lets the client go (see `Closing`)."""
        self._closing.close(code, reason)

    @property
    def code(self) -> int:
        """Why it ended: the code of the first close frame, of either side; 1006 without any."""
        return self._closing.code

    async def _hear(self, data: bytes) -> None:
        """Thousands of frames may come at once: others have their turn in between."""
        self._heard_at = since = time.monotonic()
        for event in self._websocket.read(data):
            self._on_event(event)
            now = time.monotonic()
            self._busy_s += now - since
            if self._busy_s > HEAR_SLICE_S and not self._closing.begun:
                self._busy_s = 0.0
                await checkpoint()
                now = time.monotonic()
            if self._closing.begun:
                return
            since = now

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Message):
            self._on_message(event.data)
        elif isinstance(event, CloseReceived):
            self._closing.answer(event)
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
            if self._messages.count():
                self._outgoing.reply(Reply("error", str(error)))
            return
        if not self._is_action(request) and not self._messages.count():
            return
        try:
            self._answer(request)
        except RequestInvalid as error:
            self._outgoing.reply(Reply("error", str(error)))

    def _is_action(self, request: Request) -> bool:
        """Those have limits of their own, where any are taken."""
        takes_any = self._services.orders is not None
        return takes_any and isinstance(request, Post) and request.request.type == "action"

    def _answer(self, request: Request) -> None:
        match request:
            case Subscribe():
                self._subscriptions.subscribe(request)
            case Unsubscribe():
                self._subscriptions.unsubscribe(request)
            case Post():
                self._posts.post(request)
            case OnDisconnect():
                self._outgoing.reply(self._safety_net.lay(request, self._outgoing.reply))
            case Ping():
                self._outgoing.answer(_PONG)


_PONG = frames.text(b'{"channel":"pong"}')
