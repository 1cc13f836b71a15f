"""What waits for one slow client, bounded in bytes.

A message of a LATEST topic replaces the one of its topic that still waits, in that one's place.
Everything else waits in order and counts against the bound. A snapshot is taken whole, whatever its
size (nothing could be read without it), and does not count. A frame that is partly sent is finished
before anything else.
"""

from collections import deque

from sidecar.api.topics import Delivery, Topic


class _Entry:
    __slots__ = ("counted", "frame", "height", "topic")

    def __init__(self, frame: bytes, topic: Topic | None, height: int, *, counted: bool) -> None:
        self.frame = frame
        self.topic = topic
        self.height = height
        self.counted = counted


class Outbox:
    """A queue of frames; `bytes` is what counts against the bound."""

    __slots__ = ("_entries", "_latest", "_sent", "bytes", "conflated")

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._latest: dict[Topic, _Entry] = {}
        self._sent = 0  # of the first entry
        self.bytes = 0
        self.conflated = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def push(
        self, frame: bytes, topic: Topic | None = None, height: int = 0, *, counted: bool = True
    ) -> None:
        """Queues a frame: of a topic and block height, or of none (replies, control frames).
        O(1).
        """
        if topic is not None and topic.delivery is Delivery.LATEST:
            waiting = self._latest.get(topic)
            if waiting is not None:
                self._count(waiting, -len(waiting.frame))
                waiting.frame = frame
                waiting.height = height
                waiting.counted = counted
                self._count(waiting, len(frame))
                self.conflated += 1
                return
        entry = _Entry(frame, topic, height, counted=counted)
        if topic is not None and topic.delivery is Delivery.LATEST:
            self._latest[topic] = entry
        self._entries.append(entry)
        self._count(entry, len(frame))

    def push_rest(self, data: bytes, sent: int, *, counted: bool = True) -> None:
        """Queues what a partial `send` left of `data`, into an empty outbox."""
        assert not self._entries
        entry = _Entry(data, None, 0, counted=counted)
        self._entries.append(entry)
        self._sent = sent
        self._count(entry, len(data) - sent)

    def settle(self, topic: Topic) -> None:
        """What waits of a topic keeps its place: what follows, a snapshot first, comes after it."""
        self._latest.pop(topic, None)

    def head(self) -> memoryview:
        """The bytes to send next; not empty while the outbox is not."""
        return memoryview(self._entries[0].frame)[self._sent :]

    def advance(self, sent: int) -> None:
        """`sent` bytes of `head()` are with the kernel."""
        entry = self._entries[0]
        if entry.topic is not None and self._latest.get(entry.topic) is entry:
            del self._latest[entry.topic]  # partly sent: it can't be replaced any more
        self._sent += sent
        self._count(entry, -sent)
        if self._sent == len(entry.frame):
            self._entries.popleft()
            self._sent = 0

    def clear_waiting(self) -> None:
        """Drops everything that has not been started, so that a close frame can go out next."""
        started = self._entries[0] if self._sent else None
        self._entries.clear()
        self._latest.clear()
        self.bytes = 0
        if started is not None:
            self._entries.append(started)
            self._count(started, len(started.frame) - self._sent)

    def oldest_height(self, topic: Topic) -> int | None:
        """The height of the topic's oldest frame that waits, None where none does. O(entries)."""
        return next((entry.height for entry in self._entries if entry.topic is topic), None)

    def _count(self, entry: _Entry, change: int) -> None:
        if entry.counted:
            self.bytes += change
