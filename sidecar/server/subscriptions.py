"""What one client reads: its topics, how their messages reach it, and what happens when it does not
keep up. Is the `Subscriber` of the hub.
"""

from collections.abc import Callable

from sidecar.api.messages import Reply, encode
from sidecar.api.requests import Subscribe, Unsubscribe
from sidecar.api.topics import Delivery, Topic
from sidecar.errors import RequestInvalid
from sidecar.limits import TOPICS_MAX
from sidecar.protocol import frames
from sidecar.protocol.closecodes import CloseCode
from sidecar.server.connection import Connection, ignore
from sidecar.server.resumptions import Resumptions
from sidecar.server.services import Services
from sidecar.server.subscriber import Send

Close = Callable[[int, str], None]


class Subscriptions:
    """Of one connection."""

    def __init__(
        self, connection: Connection, services: Services, close: Close, *, deflates: bool
    ) -> None:
        """`close` ends the connection with a code and reason."""
        self.deflates = deflates
        self.send: Send = connection.kernel_send
        self._connection = connection
        self._services = services
        self._close = close
        self._topics: dict[Topic, None] = {}
        self._resumptions = Resumptions(
            services, self, self._send_beyond_bound, self._send_snapshot
        )
        connection.on_clear = self._on_clear
        self._on_clear(connection.clear)

    def end(self) -> None:
        """The client has gone."""
        self._resumptions.cancel_all()
        for topic in self._topics:
            self._services.hub.unsubscribe(self, topic)
        self._topics.clear()
        self._connection.on_clear = ignore
        self._services.hub.slow.discard(self)

    def subscribe(self, request: Subscribe) -> None:
        """Answers, sends what the topic begins with, and what comes from then on. Raises
        `RequestInvalid`.
        """
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
        self._respond("subscribe", topic, request.subscription)
        if request.resume is not None and topic.resumable:
            self._resumptions.resume(topic, request.resume.height)
        else:
            services.hub.subscribe(self, topic)
            self._send_snapshot(topic)

    def unsubscribe(self, request: Unsubscribe) -> None:
        """Answers; what waits of the topic is dropped. Raises `RequestInvalid`."""
        topic = self._services.channels.resolve(request.subscription)
        if topic not in self._topics:
            raise RequestInvalid(f"not subscribed: {topic.name}")
        del self._topics[topic]
        self._resumptions.cancel(topic)
        self._services.hub.unsubscribe(self, topic)
        self._connection.outbox.drop(topic)
        self._respond("unsubscribe", topic, request.subscription)

    def reply(self, reply: Reply) -> None:
        """Sends an answer, behind what waits."""
        self._connection.send(frames.text(encode(reply)))
        if self._is_too_much():
            self._close_unread("the answers asked for are not read")

    def deliver(
        self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int, sent: int = 0
    ) -> None:
        """Sends a block's frames (see `Subscriber`)."""
        connection = self._connection
        if connection.clear and not sent:
            sent = connection.try_send(joined)
        if sent == len(joined) or connection.ended:
            return
        connection.start_draining()
        if sent:
            connection.outbox.push_rest(joined, sent)
            return
        for topic, frame in parts:
            connection.outbox.push(frame, topic, height)
            if self._is_too_much():
                self._close_slow(topic, height)
                return

    def lose(self, error: OSError) -> None:
        """The connection broke as the hub sent (see `Subscriber`)."""
        self._connection.lose(error)

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Sends what a topic goes on from (see `Subscriber`); what waits of it comes before."""
        self._send_beyond_bound(restart_frames, topic, height)

    def check_age(self, now: float) -> None:
        """Ends the connection if what it has not read is too old."""
        topic, height, since = self._connection.outbox.oldest()
        if now - since < self._services.settings.outbox_age_max_s:
            return
        if topic is None:
            self._close_unread(f"nothing was read for {now - since:.0f} s")
        else:
            self._close_slow(topic, height)

    def _on_clear(self, clear: bool) -> None:
        """The hub sends straight to those for whom nothing waits."""
        slow = self._services.hub.slow
        if clear:
            slow.discard(self)
        else:
            slow.add(self)

    def _send_snapshot(self, topic: Topic) -> None:
        snapshot = self._services.channels.snapshot(topic)
        if snapshot is not None:
            self._send_beyond_bound(frames.text(encode(snapshot)), topic, snapshot.height)

    def _send_beyond_bound(self, frame: bytes, topic: Topic, height: int) -> None:
        self._connection.send(frame, topic, height, counted=False)
        if self._is_too_much():
            self._close_slow(topic, height)

    def _is_too_much(self) -> bool:
        return self._connection.outbox.bytes > self._services.settings.outbox_bytes_max

    def _close_unread(self, what: str) -> None:
        self._connection.outbox.clear_waiting()
        self._close(CloseCode.TRY_AGAIN_LATER, f"too slow: {what}")

    def _close_slow(self, topic: Topic, height: int) -> None:
        oldest = self._connection.outbox.oldest_height(topic)
        resume = (height if oldest is None else oldest) - 1
        what = "resume from height" if topic.delivery is Delivery.EVERY else "was at height"
        self._connection.outbox.clear_waiting()
        self._close(CloseCode.TRY_AGAIN_LATER, f"too slow on {topic.name[:48]}: {what} {resume}")

    def _respond(self, method: str, topic: Topic, asked: dict[str, object]) -> None:
        """Echoes what was asked for, as far as it means something."""
        known = ("type", *topic.channel.parameters.__struct_encode_fields__)
        subscription = {name: asked[name] for name in known if name in asked}
        self.reply(Reply("subscriptionResponse", {"method": method, "subscription": subscription}))
