"""When a signed action that is kept for later can't be good any more: the chain keeps each signer's
highest nonces, and takes none that is below all of them.
"""

from collections.abc import Callable
from heapq import heappush, heapreplace

from sortedcontainers import SortedDict

from sidecar.api.orders.sent import Key
from sidecar.limits import NONCES_KEPT


class Watch:
    """One of those actions. `told` is called once, when it is too old."""

    __slots__ = ("key", "told")

    def __init__(self, key: Key, told: Callable[[], None]) -> None:
        self.key = key
        self.told = told


class _Signer:
    """The highest nonces that were sent since the first action was kept, and what is kept."""

    __slots__ = ("highest", "kept")

    def __init__(self) -> None:
        self.highest: list[int] = []  # a heap
        self.kept: SortedDict[tuple[int, int], Watch] = SortedDict()  # by nonce, and id


class NonceWatch:
    """Of all signers. It knows what goes through this sidecar."""

    def __init__(self) -> None:
        self._signers: dict[bytes, _Signer] = {}

    def __len__(self) -> int:
        return len(self._signers)

    def begin(self, watch: Watch) -> None:
        """It is kept from now on. O(log n)."""
        signer, nonce = watch.key
        self._signers.setdefault(signer, _Signer()).kept[nonce, id(watch)] = watch

    def end(self, watch: Watch) -> None:
        """It is not kept any more; said again, nothing is new. O(log n)."""
        signer, nonce = watch.key
        one = self._signers.get(signer)
        if one is not None:
            one.kept.pop((nonce, id(watch)), None)
            if not one.kept:
                del self._signers[signer]

    def sent(self, key: Key) -> None:
        """An action goes to the node. O(1) for a signer of whom nothing is kept, else
        O(`NONCES_KEPT`).
        """
        signer, nonce = key
        one = self._signers.get(signer)
        if one is None or nonce in one.highest:
            return
        if len(one.highest) < NONCES_KEPT:
            heappush(one.highest, nonce)
        elif nonce > one.highest[0]:
            heapreplace(one.highest, nonce)
        if len(one.highest) == NONCES_KEPT:
            self._tell_old(one)
            if not one.kept:
                self._signers.pop(signer, None)  # who is told may have ended the last one

    def _tell_old(self, one: _Signer) -> None:
        while one.kept and one.kept.peekitem(0)[0][0] < one.highest[0]:
            one.kept.popitem(0)[1].told()
