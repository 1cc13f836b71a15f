"""Topics and their subscribers: a block's frames are staged, then leave in one send a subscriber.

stage(trades:BTC, f1)  stage(l2Book:BTC, f2)  stage(blocks, f3)    encoded and framed once
           │                    │                  │
flush:  subscriber A reads all three  ─▶  send(f1 f2 f3)    one join for all who read the same
        subscriber B reads f2         ─▶  send(f2)          the very same bytes object
"""

from sidecar.api.topics import Topic
from sidecar.server.subscriber import Subscriber


class Hub:
    """Who reads what. Everything here is synchronous: nothing comes between the messages of a
    block.
    """

    def __init__(self) -> None:
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
        elif subscriber in subscribers:
            return False
        subscribers[subscriber] = None
        return True

    def unsubscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """Removes a subscriber; False if it did not read the topic. Closes the topic after the
        last one.
        """
        subscribers = self._subscribers.get(topic)
        if subscribers is None or subscriber not in subscribers:
            return False
        del subscribers[subscriber]
        if not subscribers:
            del self._subscribers[topic]
            topic.channel.close(topic)
        return True

    def reads(self, topic: Topic) -> bool:
        """Whether somebody reads the topic."""
        return topic in self._subscribers

    @property
    def topics(self) -> int:
        """How many topics are read."""
        return len(self._subscribers)

    def stage(self, topic: Topic, frame: bytes) -> None:
        """Adds a frame to the block's."""
        self._staged.append((topic, frame))

    def flush(self, height: int) -> None:
        """Hands the block's frames to their subscribers. O(deliveries)."""
        staged = self._staged
        if not staged:
            return
        self._staged = []
        if len(staged) == 1:
            topic, frame = staged[0]
            for subscriber in self._subscribers.get(topic, ()):
                subscriber.deliver(frame, staged, height)
            return
        self._flush_joined(staged, height)

    def _flush_joined(self, staged: list[tuple[Topic, bytes]], height: int) -> None:
        wanted: dict[Subscriber, list[int]] = {}
        for index, (topic, _) in enumerate(staged):
            for subscriber in self._subscribers.get(topic, ()):
                if subscriber in wanted:
                    wanted[subscriber].append(index)
                else:
                    wanted[subscriber] = [index]
        joins: dict[tuple[int, ...], tuple[bytes, list[tuple[Topic, bytes]]]] = {}
        for subscriber, indexes in wanted.items():
            key = tuple(indexes)
            join = joins.get(key)
            if join is None:
                parts = [staged[index] for index in indexes]
                join = joins[key] = (b"".join([frame for _, frame in parts]), parts)
            subscriber.deliver(*join, height)
