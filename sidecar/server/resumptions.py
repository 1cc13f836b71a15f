"""The topics that one client reads on from where it was: out of the recent frames where they reach
back so far, else out of the log, behind which the recent frames follow.
"""

from sidecar.api.channels import gap_message
from sidecar.api.messages import encode
from sidecar.api.topics import Topic
from sidecar.protocol import frames
from sidecar.recovery.waiting import Resumption
from sidecar.server.outgoing import Outgoing
from sidecar.server.services import Services
from sidecar.server.subscriber import Nobody

_DOUBTED = "what was sent up to there may be wrong, or of another way that the chain went"


class Resumptions:
    """Is the `Client` of the resumer for one session."""

    def __init__(self, services: Services, outgoing: Outgoing) -> None:
        self._services = services
        self._outgoing = outgoing
        self._held: dict[Topic, _Held] = {}  # open, but not sent to the client yet

    def resume(self, topic: Topic, height: int) -> None:
        """Reads `topic` on from behind `height`. O(frames kept), or later and O(blocks missed)."""
        held = self._held[topic] = _Held(Resumption(topic, height, self, self._outgoing.address))
        since = self._services.hub.recent.since(topic)
        self._services.hub.subscribe(held.nobody, topic)
        if self._is_doubted(held.resumption):
            self.lost(held.resumption, _DOUBTED)
        elif since is not None and since <= height <= self._services.state.height:
            self.resumed(held.resumption)
        elif self._services.resumer is not None:
            self._services.resumer.add(held.resumption)
        else:
            self.lost(held.resumption, "what was sent then is no longer held")

    def cancel(self, topic: Topic) -> None:
        """The client does not want it any more, or is gone."""
        held = self._held.pop(topic, None)
        if held is not None:
            if self._services.resumer is not None:
                self._services.resumer.forget(held.resumption)
            self._services.hub.unsubscribe(held.nobody, topic)

    def cancel_all(self) -> None:
        """Likewise for all."""
        for topic in list(self._held):
            self.cancel(topic)

    def replay(self, resumption: Resumption, frame: bytes, height: int) -> None:
        """A message that the client missed."""
        if not self._is_held(resumption):
            return
        if self._is_doubted(resumption):  # meanwhile
            self.lost(resumption, _DOUBTED)
        else:
            self._outgoing.send_beyond_bound(frame, resumption.topic, height)

    def resumed(self, resumption: Resumption) -> None:
        """It has all up to the resumption's height: the rest is at hand, then it reads live."""
        if not self._is_held(resumption):
            return
        if self._is_doubted(resumption):
            self.lost(resumption, _DOUBTED)
            return
        topic, height = resumption.topic, resumption.height
        recent, resumer = self._services.hub.recent, self._services.resumer
        since = recent.since(topic)
        if resumer is not None and (since is None or since > height):
            resumer.add(resumption)  # let go meanwhile, for want of room
            return
        self._services.counts.resumptions["replayed"] += 1
        for frame_height, frame in recent.above(topic, height):
            self._outgoing.send_beyond_bound(frame, topic, frame_height)
        self._go_live(topic)

    def lost(self, resumption: Resumption, reason: str) -> None:
        """What came behind its height can't be had: says so, then begins anew."""
        if not self._is_held(resumption):
            return
        topic, newest = resumption.topic, self._services.state.height
        self._services.counts.resumptions["lost"] += 1
        gap = gap_message(topic, min(resumption.height, newest) + 1, newest, reason)
        self._outgoing.send_beyond_bound(frames.text(encode(gap)), topic, newest)
        self._go_live(topic)
        with self._services.query_time.measured(self._outgoing.address, comes_back=True):
            self._outgoing.send_snapshot(topic)

    def _is_held(self, resumption: Resumption) -> bool:
        """Not if the client has given it up, and perhaps subscribed anew."""
        held = self._held.get(resumption.topic)
        return held is not None and held.resumption is resumption

    def _is_doubted(self, resumption: Resumption) -> bool:
        """What the client has read up to there may be wrong: nothing makes it right but a new
        beginning.
        """
        of_all = self._services.state.doubted
        return resumption.height <= max(of_all, self._services.hub.breaks.height(resumption.topic))

    def _go_live(self, topic: Topic) -> None:
        self._services.hub.subscribe(self._outgoing, topic)
        self.cancel(topic)


class _Held:
    """A topic that is kept open for one resumption."""

    __slots__ = ("nobody", "resumption")

    def __init__(self, resumption: Resumption) -> None:
        self.nobody = Nobody()
        self.resumption = resumption
