"""Who waits to read on: those whose height this sidecar has reached, and those that are ahead of
it, having read from another one. Both are bounded, in all and by address. Where there is no room,
one that is ahead, and waits for blocks anyway, gives way to one that is due.
"""

import time
from collections import Counter
from typing import Protocol

from sidecar.api.topics import Topic
from sidecar.limits import (
    RESUME_AHEAD_S,
    RESUMPTIONS_WAITING_MAX,
    RESUMPTIONS_WAITING_PER_IP,
)


class Client(Protocol):
    """Who reads a topic again. None of this waits or raises; a resumption that it has given up
    meanwhile is of no meaning to it.
    """

    def replay(self, resumption: "Resumption", frame: bytes, height: int) -> None:
        """A message that it missed."""

    def resumed(self, resumption: "Resumption") -> None:
        """It has all messages up to the resumption's height."""

    def lost(self, resumption: "Resumption", reason: str) -> None:
        """What came behind the resumption's height can't be made again."""


class Resumption:
    """One topic that one client has read up to `height`, which moves on with what it is sent."""

    __slots__ = ("address", "by", "client", "height", "topic", "wanted")

    def __init__(self, topic: Topic, height: int, client: Client, address: str) -> None:
        """`address`: by which limits count the client."""
        self.topic = topic
        self.height = height
        self.client = client
        self.address = address
        self.by = time.monotonic() + RESUME_AHEAD_S
        self.wanted = True  # until the client gives it up

    def lost(self, reason: str) -> None:
        """Tells the client."""
        self.client.lost(self, reason)


class Waiting:
    """Those that wait. All O(1) but where said."""

    def __init__(self) -> None:
        self._due: dict[Resumption, None] = {}
        self._ahead: dict[Resumption, None] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._due) + len(self._ahead)

    def add(self, one: Resumption, height: int) -> tuple[Resumption, str] | None:
        """Takes one in, at that height of the state. Who has no room instead, and why: it, or the
        one in whose place it is; None where there is room.
        """
        due = one.height <= height
        if self._by_address[one.address] >= RESUMPTIONS_WAITING_PER_IP:
            return one, f"{RESUMPTIONS_WAITING_PER_IP} topics of this address wait already"
        no_room = None
        if len(self) >= RESUMPTIONS_WAITING_MAX:
            no_room = next(reversed(self._ahead), one) if due else one
            self.discard(no_room)
        if no_room is not one:
            (self._due if due else self._ahead)[one] = None
            self._by_address[one.address] += 1
        return None if no_room is None else (no_room, "too many clients are coming back at once")

    def discard(self, one: Resumption) -> None:
        """It waits no more, if it did."""
        for ones in (self._due, self._ahead):
            if one in ones:
                del ones[one]
                self._count_down(one)

    def take_due(self, height: int) -> list[Resumption]:
        """Those that are due at that height; they wait no more. O(waiting)."""
        due = [*self._due, *(one for one in self._ahead if one.height <= height)]
        for one in due:
            self.discard(one)
        return due

    def take_late(self, now: float) -> list[Resumption]:
        """Those that have waited for their height for too long; they wait no more. O(waiting)."""
        late = [one for one in self._ahead if now >= one.by]
        for one in late:
            self.discard(one)
        return late

    def _count_down(self, one: Resumption) -> None:
        self._by_address[one.address] -= 1
        if not self._by_address[one.address]:
            del self._by_address[one.address]
