"""Topics and their subscribers: a block's frames are staged, then leave in one send a subscriber.

stage(trades:BTC, f1)  stage(l2Book:BTC, f2)  stage(blocks, f3)    encoded and framed once
           │                    │                  │
flush:  subscriber A reads all three  ─▶  send(f1 f2 f3)    one join for all who read the same
        subscriber B reads f2         ─▶  send(f2)          the very same bytes object
"""

import time
from collections.abc import Callable

from sidecar.api.topics import Topic
from sidecar.limits import TOPIC_LINGER_S, TOPICS_LINGERING_MAX
from sidecar.protocol import frames
from sidecar.server.recent import RecentFrames
from sidecar.server.subscriber import Subscriber


class Hub:
    """Who reads what. Everything here is synchronous: nothing comes between the messages of a
    block.
    """

    def __init__(self) -> None:
        self.recent = RecentFrames()
        self.flushed: Callable[[int], None] = lambda _: None  # called with each block's height
        self._lingering: dict[Topic, float] = {}  # read by nobody since then, longest first
        self._subscribers: dict[Topic, dict[Subscriber, None]] = {}
        self._staged: list[tuple[Topic, bytes]] = []

    def subscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """Adds a subscriber; False if it reads the topic already. Opens the topic for the first
        one.
        """
        subscribers = self._subscribers.get(topic)
        if subscribers is None:
            topic.channel.open(topic)
            subscribers = self._subscribers[topic] = {}
            if topic.resumable:
                self.recent.open(topic, topic.channel.state.height)
        elif subscriber in subscribers:
            return False
        self._lingering.pop(topic, None)
        subscribers[subscriber] = None
        return True

    def unsubscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """Removes a subscriber; False if it did not read the topic. After the last one the topic is
        closed, at once or, where a client may come back to it, after a while.
        """
        subscribers = self._subscribers.get(topic)
        if subscribers is None or subscriber not in subscribers:
            return False
        del subscribers[subscriber]
        if not subscribers:
            if topic.resumable and len(self._lingering) < TOPICS_LINGERING_MAX:
                self._lingering[topic] = time.monotonic()
            else:
                self._close(topic)
        return True

    def tick(self, now: float) -> None:
        """Closes what nobody has come back to. O(closed)."""
        while self._lingering:
            topic, since = next(iter(self._lingering.items()))
            if now - since < TOPIC_LINGER_S:
                return
            del self._lingering[topic]
            self._close(topic)

    def _close(self, topic: Topic) -> None:
        del self._subscribers[topic]
        self.recent.close(topic)
        topic.channel.close(topic)

    def reads(self, topic: Topic) -> bool:
        """Whether the topic is open."""
        return topic in self._subscribers

    @property
    def topics(self) -> int:
        """How many topics are open."""
        return len(self._subscribers)

    def stage(self, topic: Topic, frame: bytes) -> None:
        """Adds a frame to the block's."""
        self._staged.append((topic, frame))

    def flush(self, height: int) -> None:
        """Hands the block's frames to their subscribers. O(deliveries)."""
        staged, self._staged = self._staged, []
        if staged:
            self._flush(staged, height)
        self.flushed(height)

    def _flush(self, staged: list[tuple[Topic, bytes]], height: int) -> None:
        for topic, frame in staged:
            if topic.resumable:
                self.recent.add(topic, frame, height)
        if len(staged) == 1:
            self._flush_one(staged, height)
        else:
            self._flush_joined(staged, height)

    def _flush_one(self, staged: list[tuple[Topic, bytes]], height: int) -> None:
        topic, frame = staged[0]
        deflated: list[tuple[Topic, bytes]] = []  # made for the first who takes it
        for subscriber in self._subscribers.get(topic, ()):
            if subscriber.deflates:
                if not deflated:
                    deflated = [(topic, frames.deflated(frame))]
                subscriber.deliver(deflated[0][1], deflated, height)
            else:
                subscriber.deliver(frame, staged, height)

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """The topic goes on from `height` with what is in the frames; what was kept of it does not
        lead there.
        """
        if topic.resumable:
            self.recent.open(topic, height)
        for subscriber in self._subscribers.get(topic, ()):
            subscriber.restart(topic, restart_frames, height)

    def _flush_joined(self, staged: list[tuple[Topic, bytes]], height: int) -> None:
        wanted: dict[Subscriber, list[int]] = {}
        for index, (topic, _) in enumerate(staged):
            for subscriber in self._subscribers.get(topic, ()):
                if subscriber in wanted:
                    wanted[subscriber].append(index)
                else:
                    wanted[subscriber] = [index]
        deflated: dict[int, bytes] = {}
        joins: dict[tuple[int | bool, ...], tuple[bytes, list[tuple[Topic, bytes]]]] = {}
        for subscriber, indexes in wanted.items():
            key = (subscriber.deflates, *indexes)
            join = joins.get(key)
            if join is None:
                parts = [staged[index] for index in indexes]
                if subscriber.deflates:
                    for index in indexes:
                        if index not in deflated:
                            deflated[index] = frames.deflated(staged[index][1])
                    parts = [(staged[index][0], deflated[index]) for index in indexes]
                join = joins[key] = (b"".join([frame for _, frame in parts]), parts)
            subscriber.deliver(*join, height)
