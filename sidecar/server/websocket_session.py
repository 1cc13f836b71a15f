"""One WebSocket client: its requests, its subscriptions, its end.

A bad request is answered and costs nothing; a broken protocol, a limit passed or a slow reader ends
the connection with a close frame that says why. Whoever ends it, everything goes through `_close`.
"""

import time

from sidecar.api.messages import Reply, encode
from sidecar.api.requests import (
    OnDisconnect,
    Ping,
    Post,
    Request,
    Subscribe,
    Unsubscribe,
    decode_request,
)
from sidecar.api.topics import Delivery, Topic
from sidecar.errors import RequestInvalid
from sidecar.limits import CLOSE_TIMEOUT_S, CONTROL_FRAMES_PER_S, TOPICS_MAX
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
from sidecar.server.resumptions import Resumptions
from sidecar.server.safety_net import SafetyNet
from sidecar.server.services import Services
from sidecar.telemetry.logs import get_log

_log = get_log("server")


class WebSocketSession:
    """Speaks with one client. Is a `Subscriber` of the hub."""

    def __init__(
        self, connection: Connection, services: Services, *, deflate: bool = False
    ) -> None:
        """`deflate`: messages may be compressed, both ways."""
        self.deflates = deflate
        self._connection = connection
        self._services = services
        self._websocket = WebSocketConnection(deflate=deflate)
        self._topics: dict[Topic, None] = {}
        self._resumptions = Resumptions(
            services, self, self._send_beyond_bound, self._send_snapshot
        )
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
            self._resumptions.cancel_all()
            self._posts.cancel_all()
            for topic in self._topics:
                self._services.hub.unsubscribe(self, topic)
            self._topics.clear()

    def deliver(self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int) -> None:
        """Sends a block's frames (see `Subscriber`)."""
        connection = self._connection
        if connection.clear:
            try:
                sent = connection.kernel_send(joined)
            except OSError as error:
                sent = connection.not_sent(error, joined)
            if sent == len(joined):
                return
            connection.start_draining()
            if sent:
                connection.outbox.push_rest(joined, sent)
                return
        elif self._close_by is not None or connection.lost:
            return
        outbox = connection.outbox
        for topic, frame in parts:
            outbox.push(frame, topic, height)
            if outbox.bytes > self._services.settings.outbox_bytes_max:
                self._close_slow(topic, height)
                return

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Sends what a topic goes on from (see `Subscriber`); what waits of it comes before."""
        if self._close_by is None:
            self._send_beyond_bound(restart_frames, topic, height)

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
            self._connection.send(self._websocket.ping(b""))

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
            self._connection.send(self._websocket.pong(event.payload))

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
                self._subscribe(request)
            case Unsubscribe():
                self._unsubscribe(request)
            case Post():
                self._posts.post(request)
            case OnDisconnect():
                self._reply(self._safety_net.lay(request))
            case Ping():
                self._connection.send(_PONG)

    def _subscribe(self, request: Subscribe) -> None:
        services = self._services
        topic = services.channels.resolve(request.subscription)
        limit = services.settings.subscriptions_per_connection
        if topic in self._topics:
            raise RequestInvalid(f"already subscribed: {topic.name}")
        if len(self._topics) >= limit:
            raise RequestInvalid(f"a connection may have {limit} subscriptions")
        if services.hub.topics >= TOPICS_MAX and not services.hub.reads(topic):
            raise RequestInvalid("this server has too many distinct subscriptions; try again later")
        self._topics[topic] = None
        self._reply(_subscription_response("subscribe", topic, request.subscription))
        if request.resume is not None and topic.resumable:
            self._resumptions.resume(topic, request.resume.height)
        else:
            services.hub.subscribe(self, topic)
            self._send_snapshot(topic)

    def _send_snapshot(self, topic: Topic) -> None:
        snapshot = self._services.channels.snapshot(topic)
        if snapshot is not None:
            self._send_beyond_bound(frames.text(encode(snapshot)), topic, snapshot.height)

    def _send_beyond_bound(self, frame: bytes, topic: Topic, height: int) -> None:
        self._connection.send(frame, topic, height, counted=False)
        if self._connection.outbox.bytes > self._services.settings.outbox_bytes_max:
            self._close_slow(topic, height)

    def _unsubscribe(self, request: Unsubscribe) -> None:
        topic = self._services.channels.resolve(request.subscription)
        if topic not in self._topics:
            raise RequestInvalid(f"not subscribed: {topic.name}")
        del self._topics[topic]
        self._resumptions.cancel(topic)
        self._services.hub.unsubscribe(self, topic)
        self._connection.outbox.drop(topic)
        self._reply(_subscription_response("unsubscribe", topic, request.subscription))

    def _reply(self, reply: Reply) -> None:
        self._connection.send(frames.text(encode(reply)))
        self._check_outbox("answers")

    def _check_outbox(self, what: str) -> None:
        if self._connection.outbox.bytes > self._services.settings.outbox_bytes_max:
            self._connection.outbox.clear_waiting()
            self.close(CloseCode.TRY_AGAIN_LATER, f"too slow: the {what} asked for are not read")

    def _close_slow(self, topic: Topic, height: int) -> None:
        oldest = self._connection.outbox.oldest_height(topic)
        resume = (height if oldest is None else oldest) - 1
        what = "resume from height" if topic.delivery is Delivery.EVERY else "was at height"
        self._connection.outbox.clear_waiting()
        self.close(CloseCode.TRY_AGAIN_LATER, f"too slow on {topic.name[:48]}: {what} {resume}")

    def _close(self, frame: bytes, reason: str) -> None:
        self._safety_net.fire()
        _log.debug("closing", address=self._connection.address, reason=reason)
        self._close_by = time.monotonic() + CLOSE_TIMEOUT_S
        self._connection.send(frame)
        self._connection.finish()


_PONG = frames.text(b'{"channel":"pong"}')


def _subscription_response(method: str, topic: Topic, asked: dict[str, object]) -> Reply:
    """Echoes what was asked for, as far as it means something."""
    known = ("type", *topic.channel.parameters.__struct_encode_fields__)
    subscription = {name: asked[name] for name in known if name in asked}
    return Reply("subscriptionResponse", {"method": method, "subscription": subscription})
