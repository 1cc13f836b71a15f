"""The frames of EVERY topics of late, so that a client that comes back reads on where it was.

    topic A   since 90    [91: f] [95: f] [97: f]      all its frames above 90 are here
    topic B   since 96    [99: f]

All share one bound in bytes; over it the oldest frames of all go first, and the topic they were of
is complete from there on only.
"""

from collections import deque

from sidecar.api.topics import Topic
from sidecar.limits import RECENT_BYTES_MAX

_ORDER_SLACK = 1024  # entries of closed topics that may lie around


class _Recent:
    __slots__ = ("frames", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.frames: deque[tuple[int, bytes]] = deque()


class RecentFrames:
    """What was sent of late, by topic. All O(1) but where said."""

    def __init__(self, bytes_max: int = RECENT_BYTES_MAX) -> None:
        self.bytes = 0
        self._bytes_max = bytes_max
        self._topics: dict[Topic, _Recent] = {}
        self._order: deque[_Recent] = deque()  # an entry for each frame, oldest first
        self._kept = 0  # frames

    def open(self, topic: Topic, height: int) -> None:
        """From now on the topic's frames are kept: those above `height`. Also forgets older ones,
        which what comes does not continue.
        """
        self.close(topic)
        self._topics[topic] = _Recent(height)

    def close(self, topic: Topic) -> None:
        """They are no longer kept. O(frames of the topic), now and then O(all)."""
        recent = self._topics.pop(topic, None)
        if recent is not None:
            self.bytes -= sum(len(frame) for _, frame in recent.frames)
            self._kept -= len(recent.frames)
            recent.frames.clear()
            if len(self._order) > 2 * self._kept + _ORDER_SLACK:
                self._order = deque(entry for entry in self._order if entry.frames)

    def add(self, topic: Topic, frame: bytes, height: int) -> None:
        """Keeps a frame of a topic that is open."""
        recent = self._topics.get(topic)
        if recent is None:
            return
        recent.frames.append((height, frame))
        self._order.append(recent)
        self._kept += 1
        self.bytes += len(frame)
        while self.bytes > self._bytes_max:
            self._drop_oldest()

    def since(self, topic: Topic) -> int | None:
        """The height above which all frames of the topic are here; None where none are kept."""
        recent = self._topics.get(topic)
        return None if recent is None else recent.since

    def above(self, topic: Topic, height: int) -> list[tuple[int, bytes]]:
        """The topic's frames above a height with their heights, oldest first. O(frames of the
        topic).
        """
        recent = self._topics[topic]
        return [entry for entry in recent.frames if entry[0] > height]

    def _drop_oldest(self) -> None:
        recent = self._order.popleft()
        if not recent.frames:  # its topic was closed
            return
        recent.since, frame = recent.frames.popleft()
        self._kept -= 1
        self.bytes -= len(frame)
