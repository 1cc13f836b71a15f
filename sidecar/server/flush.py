"""One block's frames on their way to their subscribers, in slices of a few milliseconds.

A batch is all who get the same bytes. Whoever the kernel has taken everything from so far is sent
to straight from here, without a look at the subscriber itself: at thousands of them, what is not in
the cache costs more than the code. Everybody else is asked to `deliver`.
"""

import time
from collections.abc import Collection, Iterator
from itertools import chain, islice

from sidecar.api.topics import Topic
from sidecar.limits import FLUSH_LOOK_DELIVERIES
from sidecar.protocol import frames
from sidecar.server.readers import Readers
from sidecar.server.subscriber import Subscriber

Part = tuple[Topic, bytes]
_Shared = tuple[tuple[int, ...], Readers]  # messages by their index, and all who read just those

_TURN = 0x9E3779B1  # of 2**32, the golden ratio: starts spread evenly, however many read


class Batch:
    """The same bytes for many."""

    __slots__ = ("_done", "_first", "_places", "joined", "parts", "sends", "subscribers")

    def __init__(self, parts: list[Part], readers: Readers, turn: int) -> None:
        """`turn` counts blocks: each has another who comes first. O(parts), unless the readers
        have changed.
        """
        self.parts = parts
        self.joined = parts[0][1] if len(parts) == 1 else b"".join([frame for _, frame in parts])
        self.subscribers, self.sends = readers.lists()
        count = len(self.sends)
        self._first = (turn * _TURN % (1 << 32)) * count >> 32
        self._places = chain(range(self._first, count), range(self._first))
        self._done = 0

    def some(self, count: int) -> Iterator[int]:
        """The next `count`, as places in `subscribers` and `sends`; they count as done."""
        self._done += count
        return islice(self._places, count)

    @property
    def left(self) -> list[Subscriber]:
        """Those that are not done."""
        turned = self.subscribers[self._first :] + self.subscribers[: self._first]
        return turned[self._done :]

    @property
    def is_done(self) -> bool:
        """Whether all are."""
        return self._done >= len(self.sends)


class Flush:
    """What is still to be delivered of one block."""

    def __init__(self, batches: list[Batch], height: int, slow: Collection[Subscriber]) -> None:
        """`slow`: those that can't be sent to straight, as of each moment."""
        self._batches = batches
        self._height = height
        self._slow = slow
        self._settled: set[Subscriber] = set()  # got theirs out of turn
        self._left: dict[Subscriber, Batch] | None = None  # made when it is asked for

    def run(self, seconds: float) -> bool:
        """Delivers for so long; whether that was all. O(deliveries)."""
        until = time.monotonic() + seconds
        self._left = None
        while self._batches:
            batch = self._batches[-1]
            self._run_some(batch)
            if batch.is_done:
                self._batches.pop()
            if time.monotonic() >= until:
                break
        return not self._batches

    def settle(self, subscriber: Subscriber) -> None:
        """Delivers one subscriber's now, before anything else happens to it. O(1), the first time
        after `run` O(what is left).
        """
        if self._left is None:
            self._left = {one: batch for batch in self._batches for one in batch.left}
        batch = self._left.pop(subscriber, None)
        if batch is not None and subscriber not in self._settled:
            self._settled.add(subscriber)
            subscriber.deliver(batch.joined, batch.parts, self._height)

    def _run_some(self, batch: Batch) -> None:
        slow, settled = self._slow, self._settled
        subscribers, sends = batch.subscribers, batch.sends
        joined, parts, size = batch.joined, batch.parts, len(batch.joined)
        for at in batch.some(FLUSH_LOOK_DELIVERIES):
            if settled and subscribers[at] in settled:
                continue
            sent = 0
            if not slow or subscribers[at] not in slow:
                try:
                    sent = sends[at](joined)
                except BlockingIOError:
                    pass
                except OSError as error:
                    subscribers[at].lose(error)
                    continue
                if sent == size:
                    continue
            subscribers[at].deliver(joined, parts, self._height, sent)


def make_batches(staged: list[tuple[Topic, bytes, Readers, Readers]], turn: int) -> list[Batch]:
    """Who gets what of a block: `staged` has each message's topic and frame, who reads it as it is,
    and who reads it compressed. O(topics), and O(readers) of those that are read with others.
    """
    plain = [((topic, frame), readers) for topic, frame, readers, _ in staged if readers]
    deflated = [
        ((topic, frames.deflated(frame)), readers) for topic, frame, _, readers in staged if readers
    ]
    return [*_join(plain, turn), *_join(deflated, turn)]


def _join(messages: list[tuple[Part, Readers]], turn: int) -> list[Batch]:
    """Batches of those messages. What is read by the same subscribers is joined before anybody is
    looked at, as far as it is next to each other among those that begin with the same one.
    """
    alike: dict[tuple[int, Subscriber], list[_Shared]] = {}
    for index, (_, readers) in enumerate(messages):
        found = alike.setdefault((len(readers), next(iter(readers))), [])
        if found and found[-1][1].members() == readers.members():
            found[-1] = (*found[-1][0], index), readers
        else:
            found.append(((index,), readers))
    shared = [one for found in alike.values() for one in found]
    if len(shared) > 1:
        shared = _take_apart(shared)
    return [Batch([messages[at][0] for at in sorted(which)], who, turn) for which, who in shared]


def _take_apart(shared: list[_Shared]) -> list[_Shared]:
    """Readers that overlap: those who read the same messages come together."""
    wanted: dict[Subscriber, tuple[int, ...]] = {}
    for indexes, readers in shared:
        for subscriber in readers:
            wanted[subscriber] = wanted.get(subscriber, ()) + indexes
    together: dict[tuple[int, ...], list[Subscriber]] = {}
    for subscriber, indexes in wanted.items():
        together.setdefault(indexes, []).append(subscriber)
    return [(indexes, Readers(subscribers)) for indexes, subscribers in together.items()]
