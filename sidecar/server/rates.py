"""Counting what a peer does against an allowance per time."""


class Rate:
    """At most `limit` events in each window of `window_s` seconds. O(1), no timer."""

    __slots__ = ("_count", "_limit", "_window_end", "_window_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._window_end = 0.0
        self._count = 0

    def exceeded(self, now: float) -> bool:
        """Counts one event at `now` (monotonic seconds); True if it is one too many."""
        if now >= self._window_end:
            self._window_end = now + self._window_s
            self._count = 0
        self._count += 1
        return self._count > self._limit
