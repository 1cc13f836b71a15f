"""How much a client may ask: token buckets by address, with a reserve that only cancels may use.

A bucket holds up to `burst` tokens and gets `per_s` back each second. Who has spent everything can
still cancel, out of a second bucket of the same size. A bucket that is full again is forgotten.
"""

import math
from collections.abc import Hashable
from typing import NoReturn

from sidecar.errors import Limited
from sidecar.limits import BUCKETS_KEPT


class _Bucket:
    """Tokens as of `at`, monotonic seconds."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


class Buckets:
    """One bucket for all and one for cancels, of each key. Pure: time is told."""

    def __init__(self, per_s: float, burst: int, what: str) -> None:
        """`what` names the owner of a bucket in refusals: "address", "account"."""
        self.burst = burst
        self._per_s = per_s
        self._what = what
        self._buckets: dict[tuple[Hashable, bool], _Bucket] = {}

    def adopt(self, per_s: float, burst: int) -> None:
        """Another rate and burst; what was taken of the old one stays taken. O(buckets)."""
        more = burst - self.burst
        self._per_s, self.burst = per_s, burst
        for bucket in self._buckets.values():
            bucket.tokens = max(bucket.tokens + more, -burst)

    def take(self, key: Hashable, weight: int, now: float, *, cancel: bool = False) -> None:
        """Takes so many tokens. Raises `Limited`; then nothing is taken. O(1)."""
        wanted = min(weight, self.burst)
        wait_s = self._take(key, wanted, now, reserve=False)
        if wait_s > 0 and cancel:
            wait_s = self._take(key, wanted, now, reserve=True)
        if wait_s > 0:
            self._refuse(wait_s)

    def charge(self, key: Hashable, weight: int, now: float) -> None:
        """Takes so many tokens from what nobody can refuse any more: a bucket may be in debt, by as
        much as it holds. O(1).
        """
        bucket = self._bucket(key, now, reserve=False)
        tokens = self._tokens(bucket, now) - weight
        bucket.tokens, bucket.at = max(tokens, -self.burst), now

    def check(self, key: Hashable, now: float) -> None:
        """Raises `Limited` where not even a cancel may be asked for. O(1)."""
        own, reserve = self._buckets.get((key, False)), self._buckets.get((key, True))
        if own is None or reserve is None:
            return
        most = max(self._tokens(own, now), self._tokens(reserve, now))
        if most < 1:
            self._refuse((1 - most) / self._per_s)

    def left(self, key: Hashable, now: float) -> int:
        """How many tokens there are. O(1)."""
        bucket = self._buckets.get((key, False))
        return self.burst if bucket is None else max(math.floor(self._tokens(bucket, now)), 0)

    def __len__(self) -> int:
        return len(self._buckets)

    def _refuse(self, wait_s: float) -> NoReturn:
        rate = f"{self._per_s:g} requests a second, {self.burst} at a time"
        raise Limited(f"Too many requests from this {self._what}: {rate}.", wait_s)

    def _take(self, key: Hashable, weight: int, now: float, *, reserve: bool) -> float:
        """Seconds until there is enough; 0 where there was, and it is taken."""
        bucket = self._bucket(key, now, reserve=reserve)
        tokens = self._tokens(bucket, now)
        if tokens < weight:
            return (weight - tokens) / self._per_s
        bucket.tokens, bucket.at = tokens - weight, now
        return 0.0

    def _bucket(self, key: Hashable, now: float, *, reserve: bool) -> _Bucket:
        bucket = self._buckets.get((key, reserve))
        if bucket is None:
            if len(self._buckets) >= BUCKETS_KEPT:
                self._forget(now)
            bucket = self._buckets[key, reserve] = _Bucket(self.burst, now)
        return bucket

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(bucket.tokens + max(now - bucket.at, 0.0) * self._per_s, self.burst)

    def _forget(self, now: float) -> None:
        """Those that are full again; if there are none, the half that was there first."""
        full = [key for key, one in self._buckets.items() if self._tokens(one, now) >= self.burst]
        for key in full or list(self._buckets)[: BUCKETS_KEPT // 2]:
            del self._buckets[key]
