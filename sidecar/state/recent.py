"""What is kept of the past: the newest entries of each user, bounded for each and for all.

    user's deque     oldest ─ ... ─ newest          at most `per_user`
    owners           user, user, ...                once for each entry, at most `overall`

Where all are too many, the user at the front of `owners` gives its oldest entry away: whoever has
had something kept for the longest time. A user at its own bound keeps its places in `owners`, so
that a busy one never pushes others out with entries that it has lost itself.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from sidecar.state.users import User

T = TypeVar("T")


class Recent(Generic[T]):
    """The entries in one slot of all users (`User.fills` and the like)."""

    __slots__ = ("_evicted", "_overall", "_owners", "_per_user", "_slot")

    def __init__(
        self,
        slot: str,
        per_user: int,
        overall: int,
        evicted: Callable[[User, T], None] | None = None,
    ) -> None:
        """`evicted` is told of each entry that is kept no more."""
        self._slot = slot
        self._per_user = per_user
        self._overall = overall
        self._evicted = evicted
        self._owners: deque[User] = deque()

    def __len__(self) -> int:
        """How many entries are kept."""
        return len(self._owners)

    def add(self, user: User, entry: T) -> None:
        """Keeps an entry, and lets one go where that is too many. O(1)."""
        kept: deque[T] | None = getattr(user, self._slot)
        if kept is None:
            kept = deque()
            setattr(user, self._slot, kept)
        kept.append(entry)
        if len(kept) > self._per_user:
            self._evict(user, kept)
            return
        owners = self._owners
        owners.append(user)
        if len(owners) > self._overall:
            oldest = owners.popleft()
            self._evict(oldest, getattr(oldest, self._slot))

    def entries(self) -> Iterator[tuple[User, T]]:
        """All of them, in an order in which adding them to an empty one gives the same again.
        O(entries).
        """
        read: dict[bytes, Iterator[T]] = {}
        for user in self._owners:
            entries = read.get(user.address)
            if entries is None:
                entries = read[user.address] = iter(getattr(user, self._slot))
            yield user, next(entries)

    def _evict(self, user: User, kept: deque[T]) -> None:
        entry = kept.popleft()
        if not kept:
            setattr(user, self._slot, None)  # an empty deque has 760 bytes
        if self._evicted is not None:
            self._evicted(user, entry)
