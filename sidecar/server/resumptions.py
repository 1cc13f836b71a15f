"""The topics that one client reads on from where it was: out of the recent frames where they reach
back so far, else out of the log, behind which the recent frames follow.
"""

from collections.abc import Callable

from sidecar.api.channels import gap_message
from sidecar.api.messages import encode
from sidecar.api.topics import Topic
from sidecar.protocol import frames
from sidecar.recovery.resume import Resumption
from sidecar.server.services import Services
from sidecar.server.subscriber import Nobody, Subscriber

Send = Callable[[bytes, Topic, int], None]
SendSnapshot = Callable[[Topic], None]


class Resumptions:
    """Is the `Client` of the resumer for one session."""

    def __init__(
        self, services: Services, subscriber: Subscriber, send: Send, send_snapshot: SendSnapshot
    ) -> None:
        self._services = services
        self._subscriber = subscriber
        self._send = send
        self._send_snapshot = send_snapshot
        self._held: dict[Topic, Nobody] = {}  # open, but not sent to the client yet

    def resume(self, topic: Topic, height: int) -> None:
        """Reads `topic` on from behind `height`. O(frames kept), or later and O(blocks missed)."""
        hub, resumer = self._services.hub, self._services.resumer
        since = hub.recent.since(topic)
        self._held[topic] = Nobody()
        hub.subscribe(self._held[topic], topic)
        if since is not None and since <= height <= self._services.state.height:
            self.resumed(topic, height)
        elif resumer is not None:
            resumer.add(Resumption(topic, height, self))
        else:
            self.lost(topic, height, "what was sent then is no longer held")

    def cancel(self, topic: Topic) -> None:
        """The client does not want it any more, or is gone."""
        nobody = self._held.pop(topic, None)
        if nobody is not None:
            self._services.hub.unsubscribe(nobody, topic)

    def cancel_all(self) -> None:
        """Likewise for all."""
        for topic in list(self._held):
            self.cancel(topic)

    def replay(self, topic: Topic, frame: bytes, height: int) -> None:
        """A message that it missed."""
        if topic in self._held:
            self._send(frame, topic, height)

    def resumed(self, topic: Topic, height: int) -> None:
        """It has all up to `height`: the rest is at hand, then it reads live."""
        if topic not in self._held:
            return
        recent, resumer = self._services.hub.recent, self._services.resumer
        since = recent.since(topic)
        if since is None or since > height:  # let go meanwhile, for want of room
            if resumer is not None:
                resumer.add(Resumption(topic, height, self))
            return
        for frame_height, frame in recent.above(topic, height):
            self._send(frame, topic, frame_height)
        self._go_live(topic)

    def lost(self, topic: Topic, height: int, reason: str) -> None:
        """What came behind `height` can't be had: says so, then begins anew."""
        if topic not in self._held:
            return
        newest = self._services.state.height
        gap = gap_message(topic, min(height, newest) + 1, newest, reason)
        self._send(frames.text(encode(gap)), topic, newest)
        self._go_live(topic)
        self._send_snapshot(topic)

    def _go_live(self, topic: Topic) -> None:
        self._services.hub.subscribe(self._subscriber, topic)
        self.cancel(topic)
