"""What was sent of late, by signer and nonce: the same signed action twice is one order and one
answer, another action with that nonce is refused.

What is on its way is kept; of what has its answer the newest.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sidecar.api.orders.outcomes import Outcome
from sidecar.errors import NotAdmitted

Key = tuple[bytes, int]
Told = Callable[[Outcome], None]


class SentAction(msgspec.Struct, gc=False):
    """An action and who waits for its answer; `outcome` is the newest that is known, None while
    nothing is.
    """

    digest: bytes
    waiting: tuple[Told, ...] = ()
    outcome: Outcome | None = None

    def ask(self, told: Told) -> None:
        """Somebody wants to know, too: now, if anything is known."""
        if self.outcome is None:
            self.waiting = (*self.waiting, told)
        else:
            told(self.outcome)

    def tell(self, outcome: Outcome) -> None:
        """Answers everybody who waits."""
        self.outcome = outcome
        waiting, self.waiting = self.waiting, ()
        for told in waiting:
            told(outcome)


class SentActions:
    """The newest actions. Memory is bounded by `kept`, beside what is on its way."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._on_its_way: dict[Key, SentAction] = {}
        self._over: OrderedDict[Key, SentAction] = OrderedDict()

    def __len__(self) -> int:
        return len(self._on_its_way) + len(self._over)

    def find(self, key: Key, digest: bytes, *, refuse: bool = True) -> SentAction | None:
        """The same action as it was sent before, None for a new one. O(1).

        Raises `NotAdmitted` where another one has used that nonce, unless `refuse` is False.
        """
        known = self._on_its_way.get(key) or self._over.get(key)
        if known is None or known.digest == digest:
            return known
        if refuse:
            raise NotAdmitted("nonce", f"Invalid nonce: duplicate nonce {key[1]}.")
        return None

    def send(self, key: Key, sent: SentAction) -> None:
        """A new one is on its way."""
        self._over.pop(key, None)
        self._on_its_way[key] = sent

    def over(self, key: Key, sent: SentAction) -> None:
        """It has its answer, or may never get one. O(1)."""
        if self._on_its_way.get(key) is sent:
            del self._on_its_way[key]
            self._over[key] = sent
            if len(self._over) > self._kept:
                self._over.popitem(last=False)

    def forget(self, key: Key, sent: SentAction) -> None:
        """No block saw it: its nonce is free."""
        for kept in (self._on_its_way, self._over):
            if kept.get(key) is sent:
                del kept[key]


class Unsettled:
    """Addresses that something on its way touches, until its block is applied: what is known of
    them is not what the chain will look at.
    """

    def __init__(self) -> None:
        self._addresses: dict[bytes, int] = {}
        self._settling: deque[tuple[int, tuple[bytes, ...]]] = deque()

    def __contains__(self, address: bytes) -> bool:
        return address in self._addresses

    def add(self, addresses: Iterable[bytes]) -> None:
        """An action is sent."""
        counts = self._addresses
        for address in addresses:
            counts[address] = counts.get(address, 0) + 1

    def settle(self, height: int, addresses: tuple[bytes, ...]) -> None:
        """Its answer came, of the block `height`."""
        self._settling.append((height, addresses))

    def applied(self, height: int) -> None:
        """The state is that of `height`. O(settled)."""
        settling = self._settling
        while settling and settling[0][0] <= height:
            for address in settling.popleft()[1]:
                decrement(self._addresses, address)


def decrement(counts: dict[Any, int], key: object) -> None:
    """One less; what is none is forgotten."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
