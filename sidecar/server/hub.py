"""Topics and their subscribers: a block's frames are staged, then leave in one send a subscriber.

stage(trades:BTC, f1)  stage(l2Book:BTC, f2)  stage(blocks, f3)    encoded and framed once
           │                    │                  │
flush:  subscriber A reads all three  ─▶  send(f1 f2 f3)    one join for all who read the same
        subscriber B reads f2         ─▶  send(f2)          the very same bytes object
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

from anyio.lowlevel import checkpoint

from sidecar.api.topics import Topic
from sidecar.limits import FLUSH_SLICE_S, TOPIC_LINGER_S, TOPICS_LINGERING_MAX
from sidecar.server.breaks import Breaks
from sidecar.server.flush import Flush, make_batches
from sidecar.server.readers import Readers
from sidecar.server.recent import RecentFrames
from sidecar.server.subscriber import Nobody, Subscriber


class Sent:
    """What a channel's subscribers were sent, as it is before compression."""

    __slots__ = ("bytes", "frames", "readers")

    def __init__(self) -> None:
        self.readers = 0  # subscriptions now
        self.frames = 0
        self.bytes = 0

    def count(self, size: int, readers: int) -> None:
        """A frame goes to so many."""
        self.frames += readers
        self.bytes += size * readers


class Hub:
    """Who reads what. Nothing comes between the messages of a block: whoever subscribes,
    unsubscribes or is restarted while one goes out gets its part of it first.
    """

    def __init__(self) -> None:
        self.recent = RecentFrames()
        self.breaks = Breaks()
        self.flushed: Callable[[int], None] = lambda _: None  # called with each block's height
        self._lingering: dict[Topic, float] = {}  # read by nobody since then, longest first
        self.slow: set[Subscriber] = set()  # something waits for them, or they have ended
        self._topics: dict[Topic, tuple[Readers, Readers]] = {}  # as it is, and compressed
        self.uncommon = 0  # topics that are not one of a few of each market
        self._held: Counter[Topic] = Counter()  # for whom it is sent later: they don't count
        self._staged: list[tuple[Topic, bytes]] = []
        self._flush = Flush([], 0, ())  # the newest block's
        self._blocks = 0
        self.sent: dict[str, Sent] = {}  # by channel
        self.messages = 0  # of the newest block, to all subscribers

    def subscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """Adds a subscriber; False if it reads the topic already. Opens the topic for the first
        one.
        """
        self._flush.settle(subscriber)
        readers = self._topics.get(topic)
        if readers is None:
            topic.channel.open(topic)
            self.uncommon += not topic.common
            readers = self._topics[topic] = (Readers(), Readers())
            if topic.resumable:
                self.recent.open(topic, topic.channel.state.height)
        if not readers[subscriber.deflates].add(subscriber):
            return False
        self._sent_of(topic).readers += 1
        if isinstance(subscriber, Nobody):
            self._held[topic] += 1
        self._lingering.pop(topic, None)
        return True

    def unsubscribe(self, subscriber: Subscriber, topic: Topic) -> bool:
        """Removes a subscriber; False if it did not read the topic. After the last one the topic is
        closed, at once or, where a client may come back to it, after a while.
        """
        self._flush.settle(subscriber)
        readers = self._topics.get(topic)
        if readers is None or not readers[subscriber.deflates].remove(subscriber):
            return False
        self._sent_of(topic).readers -= 1
        if isinstance(subscriber, Nobody):
            self._held -= Counter((topic,))
        if not any(readers):
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
        del self._topics[topic]
        self.uncommon -= not topic.common
        self.recent.close(topic)
        topic.channel.close(topic)

    def reads(self, topic: Topic) -> bool:
        """Whether the topic is open."""
        return topic in self._topics

    @property
    def topics(self) -> int:
        """How many topics are open."""
        return len(self._topics)

    def stage(self, topic: Topic, frame: bytes) -> None:
        """Adds a frame to the block's."""
        self._staged.append((topic, frame))

    async def flush(self, height: int) -> None:
        """Hands the block's frames to their subscribers, and lets others run in between where they
        are many. O(deliveries).
        """
        self._finish()
        staged, self._staged = self._staged, []
        messages = []
        self.messages = 0
        for topic, frame in staged:
            if topic.resumable:
                self.recent.add(topic, frame, height)
            readers = self._topics.get(topic)
            if readers is not None:
                messages.append((topic, frame, *readers))
                count = len(readers[0]) + len(readers[1])
                if self._held:
                    count -= self._held[topic]
                self.messages += count
                self._sent_of(topic).count(len(frame), count)
        if messages:
            self._blocks += 1
            flush = self._flush = Flush(make_batches(messages, self._blocks), height, self.slow)
            while not flush.run(FLUSH_SLICE_S):
                await checkpoint()
        self.flushed(height)

    def count(self, topic: Topic, frame: bytes) -> None:
        """One more frame of it went to one subscriber by another way: a snapshot, or what it had
        missed.
        """
        self._sent_of(topic).count(len(frame), 1)

    def restart(self, topic: Topic, restart_frames: Sequence[bytes], height: int) -> None:
        """The topic goes on from `height` with those frames; what was kept of it does not lead
        there.
        """
        self._finish()
        if topic.resumable:
            self.recent.open(topic, height)
        both = self._topics.get(topic, ())
        joined, count = b"".join(restart_frames), sum(map(len, both)) - self._held[topic]
        for frame in restart_frames if both else ():
            self._sent_of(topic).count(len(frame), count)
        for readers in both:
            for subscriber in readers:
                subscriber.restart(topic, joined, height)

    def _sent_of(self, topic: Topic) -> Sent:
        name = topic.channel.name
        found = self.sent.get(name)
        if found is None:
            found = self.sent[name] = Sent()
        return found

    def _finish(self) -> None:
        """The block before goes out before what comes now."""
        self._flush.run(math.inf)
