"""Who reads a topic, as the hub sends to them.

Blocks come more often than readers change: the lists that a block is sent along are made once, and
nobody who can be sent to straight is looked at. At thousands of readers a look costs more than code
does: none of them is in the cache any more.
"""

from collections.abc import Iterable, Iterator, KeysView

from sidecar.server.subscriber import Send, Subscriber


class Readers:
    """A set in the order of arrival. What `lists` has given out never changes."""

    __slots__ = ("_lists", "_sends")

    def __init__(self, subscribers: Iterable[Subscriber] = ()) -> None:
        """O(subscribers)."""
        self._sends = {one: one.send for one in subscribers}
        self._lists: tuple[list[Subscriber], list[Send]] | None = None

    def __len__(self) -> int:
        return len(self._sends)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._sends)

    def add(self, subscriber: Subscriber) -> bool:
        """False if it is in already."""
        if subscriber in self._sends:
            return False
        self._sends[subscriber] = subscriber.send
        self._lists = None
        return True

    def remove(self, subscriber: Subscriber) -> bool:
        """False if it was not in."""
        if self._sends.pop(subscriber, None) is None:
            return False
        self._lists = None
        return True

    def members(self) -> KeysView[Subscriber]:
        """As a set that compares."""
        return self._sends.keys()

    def lists(self) -> tuple[list[Subscriber], list[Send]]:
        """All of them, and how each is sent to. O(readers) after a change."""
        if self._lists is None:
            self._lists = list(self._sends), list(self._sends.values())
        return self._lists
