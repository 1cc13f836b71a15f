"""What goes out to one WebSocket client, and what happens when it does not keep up. Is the
`Subscriber` of the hub.
"""

from sidecar.api.messages import Reply, encode
from sidecar.api.topics import Delivery, Topic
from sidecar.limits import ANSWER_BYTES_PER_S_MIN
from sidecar.protocol import frames
from sidecar.protocol.closecodes import CloseCode
from sidecar.server.closing import Closing
from sidecar.server.connection import Connection, ignore
from sidecar.server.services import Services
from sidecar.server.subscriber import Send


class Outgoing:
    """Of one connection."""

    def __init__(
        self, connection: Connection, services: Services, closing: Closing, *, deflates: bool
    ) -> None:
        self.deflates = deflates
        self.send: Send = connection.kernel_send
        self._connection = connection
        self._services = services
        self._closing = closing
        connection.outbox.count_for(services.unread_snapshots.of(connection.limit_key))
        connection.on_clear = self._on_clear
        self._on_clear(connection.clear)

    @property
    def address(self) -> str:
        """By which limits count the client."""
        return self._connection.limit_key

    def end(self) -> None:
        """The client has gone, and reads no topic any more."""
        self._connection.on_clear = ignore
        self._services.hub.slow.discard(self)

    def reply(self, reply: Reply) -> None:
        """Sends an answer, behind what waits."""
        self.answer(frames.text(encode(reply)))

    def answer(self, frame: bytes) -> None:
        """Likewise, of a text frame. One may go beyond the bound: it has not been unread yet."""
        beyond = self._connection.outbox.bytes + len(frame) > self._bound
        self._connection.send(frame, answer=beyond)
        if self._is_too_much():
            self._close_unread("the answers asked for are not read")

    def send_snapshot(self, topic: Topic) -> None:
        """Sends what the topic begins with."""
        snapshot = self._services.channels.snapshot(topic)
        if snapshot is not None:
            self.send_beyond_bound(frames.text(encode(snapshot)), topic, snapshot.height)

    def send_beyond_bound(self, frame: bytes, topic: Topic, height: int) -> None:
        """Sends what does not count against the bound: nothing can be read without it."""
        self._services.hub.count(topic, frame)
        self._send_beyond_bound(frame, topic, height)

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
            self._services.counts.conflated += connection.outbox.push(frame, topic, height)
            if self._is_too_much():
                self._close_slow(topic, height)
                return

    def lose(self, error: OSError) -> None:
        """The connection broke as the hub sent (see `Subscriber`)."""
        self._connection.lose(error)

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Sends what a topic goes on from (see `Subscriber`); what waits of it comes before."""
        self._send_beyond_bound(restart_frames, topic, height)

    def drop(self, topic: Topic) -> None:
        """Forgets what waits of a topic that is not read any more. O(what waits)."""
        self._connection.outbox.drop(topic)

    def check_age(self, now: float) -> None:
        """Ends the connection if what it has not read is too old."""
        outbox, age_max_s = self._connection.outbox, self._services.settings.outbox_age_max_s
        topic, height, since = outbox.oldest()
        if now - since < age_max_s:
            if outbox.drags(now, age_max_s):
                self._close_unread(f"less than {ANSWER_BYTES_PER_S_MIN} bytes a second were read")
        elif topic is None:
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

    def _send_beyond_bound(self, frame: bytes, topic: Topic, height: int) -> None:
        self._connection.send(frame, topic, height, counted=False)
        if self._is_too_much():
            self._close_slow(topic, height)

    def _is_too_much(self) -> bool:
        return self._connection.outbox.bytes > self._bound

    @property
    def _bound(self) -> int:
        return self._services.settings.outbox_bytes_max

    def _close_unread(self, what: str) -> None:
        self._services.counts.slow_closes += 1
        self._connection.outbox.clear_waiting()
        self._closing.close(CloseCode.TRY_AGAIN_LATER, f"too slow: {what}")

    def _close_slow(self, topic: Topic, height: int) -> None:
        self._services.counts.slow_closes += 1
        oldest = self._connection.outbox.oldest_height(topic)
        resume = (height if oldest is None else oldest) - 1
        what = "resume from height" if topic.delivery is Delivery.EVERY else "was at height"
        self._connection.outbox.clear_waiting()
        reason = f"too slow on {topic.name[:48]}: {what} {resume}"
        self._closing.close(CloseCode.TRY_AGAIN_LATER, reason)
