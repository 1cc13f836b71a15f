"""What waits for one slow client, bounded in bytes and in age.

A message of a LATEST topic takes the place of the one of its topic that still waits, at the end of
the queue: what a client reads never goes back in height. Everything else waits in order. A frame
that is partly sent is finished before anything else.

Snapshots do not count against the bound (nothing could be read without them), up to a bound of
their own, and what waits behind one does not age while it moves; it has to move as fast as an HTTP
answer. Likewise one answer that would go
beyond the bound: nobody could have read it yet. Those that wait with it count. Pings and pongs go
ahead of everything; only the newest of each waits (RFC 6455 5.5.3).
"""

import math
import time
from collections import OrderedDict
from itertools import islice

from sidecar.api.topics import Delivery, Topic
from sidecar.limits import ANSWER_BYTES_PER_S_MIN, WAITING_SNAPSHOT_BYTES_MAX
from sidecar.server.unread import Waiting


class _Entry:
    __slots__ = ("answer", "at", "counted", "frame", "height", "topic")

    def __init__(
        self,
        frame: bytes,
        topic: Topic | None,
        height: int,
        *,
        counted: bool,
        answer: bool = False,
    ) -> None:
        self.frame = frame
        self.topic = topic
        self.height = height
        self.counted = counted
        self.answer = answer  # the one that may not count
        self.at = time.monotonic()


class Outbox:
    """A queue of frames; `bytes` is what counts against the bound. All O(1) but where said."""

    __slots__ = (
        *("_answers", "_entries", "_of_address", "_sent", "_snapshot_at", "_uncounted"),
        "bytes",
    )

    def __init__(self) -> None:
        # By topic, or opcode, where a newer message may replace it, else by itself.
        self._entries: OrderedDict[Topic | int | _Entry, _Entry] = OrderedDict()
        self._answers = False  # one waits that does not count
        self._snapshot_at = 0.0  # when bytes of one last went
        self._sent = 0  # of the first entry
        self._uncounted = 0
        self._of_address: Waiting | None = None
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def count_for(self, address: Waiting | None) -> None:
        """What does not count against the bound counts there from now on, all that waits already
        included. With None for nobody: it will not be sent any more.
        """
        if self._of_address is not None:
            self._of_address.bytes -= self._uncounted
        self._of_address = address
        if address is not None:
            address.bytes += self._uncounted

    def push(
        self,
        frame: bytes,
        topic: Topic | None = None,
        height: int = 0,
        *,
        counted: bool = True,
        answer: bool = False,
    ) -> bool:
        """Queues a frame: of a topic and block height, or of none (replies, control frames).
        Whether it takes the place of an older one. An `answer` does not count unless another such
        one waits.
        """
        answer = answer and not self._answers
        if answer:
            counted, self._answers = False, True
        if not counted and self._uncounted + len(frame) > WAITING_SNAPSHOT_BYTES_MAX:
            counted = self._uncounted > 0
        entry = _Entry(frame, topic, height, counted=counted, answer=answer)
        key: Topic | int | _Entry = entry
        replaces = False
        if topic is not None and topic.delivery is Delivery.LATEST:
            key = topic
            replaces = topic in self._entries
            self._remove(topic)
        self._entries[key] = entry
        self._count(entry, len(frame))
        return replaces

    def push_control(self, frame: bytes) -> None:
        """Queues a ping or pong ahead of all that has not been started, in place of one that
        waits.
        """
        opcode = frame[0]
        self._remove(opcode)
        entry = self._entries[opcode] = _Entry(frame, None, 0, counted=True)
        self._count(entry, len(frame))
        first = next(iter(self._entries))
        self._entries.move_to_end(opcode, last=False)
        if self._sent:
            self._entries.move_to_end(first, last=False)

    def push_rest(
        self, data: bytes, sent: int, *, counted: bool = True, answer: bool = False
    ) -> None:
        """Queues what a partial `send` left of `data`, into an empty outbox."""
        assert not self._entries
        self.push(data, counted=counted, answer=answer)
        if sent:
            self.advance(sent)

    def drop(self, topic: Topic) -> None:
        """Forgets what waits of a topic that is not read any more. O(entries)."""
        keys = [key for key, entry in self._entries.items() if entry.topic is topic]
        for key in keys:
            if self._entries[key] is not self._started():
                self._remove(key)

    def head(self) -> memoryview:
        """The bytes to send next; not empty while the outbox is not."""
        return memoryview(self._first().frame)[self._sent :]

    def advance(self, sent: int) -> None:
        """`sent` bytes of `head()` are with the kernel."""
        key, entry = next(iter(self._entries.items()))
        if not self._sent:
            entry.at = time.monotonic()
        self._sent += sent
        self._count(entry, -sent)
        if not entry.counted:
            self._snapshot_at = time.monotonic()
        if self._sent == len(entry.frame):
            del self._entries[key]
            self._sent = 0
            self._answers = self._answers and not entry.answer
        elif key is not entry:  # partly sent: it can't be replaced any more
            del self._entries[key]
            self._entries[entry] = entry
            self._entries.move_to_end(entry, last=False)

    def clear_waiting(self) -> None:
        """Drops everything that has not been started, so that a close frame can go out next.
        O(entries).
        """
        started = self._started()
        for key in list(self._entries):
            if self._entries[key] is not started:
                self._remove(key)

    def oldest_height(self, topic: Topic) -> int | None:
        """The height of the topic's oldest frame that waits, None where none does. O(entries)."""
        waiting = (entry.height for entry in self._entries.values() if entry.topic is topic)
        return next(waiting, None)

    def oldest(self) -> tuple[Topic | None, int, float]:
        """Of what waits longest and has not been started: its topic, height, and since when it
        waits (monotonic seconds; infinity where nothing does).
        """
        entry = next(islice(self._entries.values(), 1 if self._sent else 0, None), None)
        if entry is None:
            return None, 0, math.inf
        return entry.topic, entry.height, max(entry.at, self._snapshot_at)

    def drags(self, now: float, seconds: float) -> bool:
        """Whether the one that has been started takes longer than so many seconds, and its bytes at
        `ANSWER_BYTES_PER_S_MIN`: whoever reads by drops holds a connection, and what waits in it.
        """
        entry = self._started()
        if entry is None:
            return False
        return now - entry.at > seconds + len(entry.frame) / ANSWER_BYTES_PER_S_MIN

    def _first(self) -> _Entry:
        return next(iter(self._entries.values()))

    def _started(self) -> _Entry | None:
        return self._first() if self._sent else None

    def _remove(self, key: Topic | int | _Entry) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._count(entry, -len(entry.frame))
            self._answers = self._answers and not entry.answer

    def _count(self, entry: _Entry, change: int) -> None:
        if entry.counted:
            self.bytes += change
        else:
            self._uncounted += change
            if self._of_address is not None:
                self._of_address.bytes += change
