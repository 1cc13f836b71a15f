"""What is to happen in the world at some time: a heap of callbacks, the earliest first, those of
the same time in the order in which they were planned.
"""

import heapq
from collections.abc import Callable
from itertools import count

from tests.simulation.clock import NS_PER_S, Clock


class Events:
    """Of one world."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Plans `what` for `when`, monotonic seconds. O(log n)."""
        heapq.heappush(self._heap, (round(when * NS_PER_S), next(self._numbers), what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        """Plans `what` for so many seconds from now."""
        self.at(self._clock.now + delay_s, what)

    @property
    def next_ns(self) -> int | None:
        """When the next thing happens, monotonic ns; None for nothing planned."""
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Lets happen what is due."""
        while self._heap and self._heap[0][0] <= self._clock.now_ns:
            heapq.heappop(self._heap)[2]()
