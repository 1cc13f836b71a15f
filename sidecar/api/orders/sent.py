"""What was sent of late, by signer and nonce: the same signed action twice is one order and one
answer, another action with a nonce that is known to be used is refused.

What is on its way is kept; of what has its answer the newest.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sidecar.api.orders.by_height import ByHeight
from sidecar.api.orders.outcomes import Outcome
from sidecar.errors import NotAdmitted
from sidecar.limits import SENT_ACTIONS_KEPT

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

    @property
    def holds_nonce(self) -> bool:
        """Whether no other action with its nonce can be good: it is on its way, or was executed.
        Of any other the chain alone knows whether its nonce is used.
        """
        return self.outcome is None or self.outcome.status == "ok"


class SentActions:
    """The newest actions. Memory is bounded by `kept` in number and `bytes_max` of their answers,
    beside what is on its way.
    """

    def __init__(self, kept: int, bytes_max: int) -> None:
        self._kept = kept
        self._bytes_max = bytes_max
        self._bytes = 0
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
        if refuse and known.holds_nonce:
            raise NotAdmitted("nonce", f"Invalid nonce: duplicate nonce {key[1]}.")
        return None

    def send(self, key: Key, sent: SentAction) -> None:
        """A new one is on its way."""
        self._drop(key)
        self._on_its_way[key] = sent

    def over(self, key: Key, sent: SentAction, outcome: Outcome) -> None:
        """It has its answer, or may never get one; who waits is told. O(1)."""
        if self._on_its_way.get(key) is sent:
            del self._on_its_way[key]
            self._over[key] = sent
            self._bytes += len(outcome.body)
        elif self._over.get(key) is sent:
            self._bytes += len(outcome.body) - _size(sent)
        sent.tell(outcome)
        while len(self._over) > self._kept or self._bytes > self._bytes_max:
            self._bytes -= _size(self._over.popitem(last=False)[1])

    def forget(self, key: Key, sent: SentAction, outcome: Outcome) -> None:
        """No block saw it: its nonce is free. Who waits is told."""
        if self._on_its_way.get(key) is sent:
            del self._on_its_way[key]
        elif self._over.get(key) is sent:
            self._drop(key)
        sent.tell(outcome)

    def _drop(self, key: Key) -> None:
        sent = self._over.pop(key, None)
        if sent is not None:
            self._bytes -= _size(sent)


def _size(sent: SentAction) -> int:
    """Bytes of an answer."""
    return 0 if sent.outcome is None else len(sent.outcome.body)


class Unsettled:
    """Addresses that something on its way touches, until its block is applied: what is known of
    them is not what the chain will look at.
    """

    def __init__(self, height: int = 0) -> None:
        """`height`: of the last block that was applied."""
        self._height = height
        self._addresses: dict[bytes, int] = {}
        self._settling: ByHeight[tuple[bytes, ...]] = ByHeight()

    def __contains__(self, address: bytes) -> bool:
        return address in self._addresses

    def add(self, addresses: Iterable[bytes]) -> None:
        """An action is sent."""
        counts = self._addresses
        for address in addresses:
            counts[address] = counts.get(address, 0) + 1

    def settle(self, height: int, addresses: tuple[bytes, ...]) -> None:
        """Its answer came, of the block `height`; 0 where no block saw it, or will. O(log n).

        Of too many that wait the first is settled: the feed stands still, and no rule is asked.
        """
        if height <= self._height:
            self._settle(addresses)
            return
        self._settling.add(height, addresses)
        if len(self._settling) > SENT_ACTIONS_KEPT:
            self._settle(self._settling.take())

    def applied(self, height: int) -> None:
        """The state is that of `height`. O(settled)."""
        self._height = max(height, self._height)
        for addresses in self._settling.take_up_to(height):
            self._settle(addresses)

    def _settle(self, addresses: tuple[bytes, ...]) -> None:
        for address in addresses:
            decrement(self._addresses, address)


def decrement(counts: dict[Any, int], key: object) -> None:
    """One less; what is none is forgotten."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
