"""The time of a simulated world: it passes when nothing can happen, and a little while the code
under test looks at it.

All clocks of the `time` module read it, so the product's code runs as it is. Looking at a clock
costs some virtual time, more now and then, so that work that is done in slices is cut at places
that differ from seed to seed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest import mock

NS_PER_S = 1_000_000_000


class Clock:
    """Monotonic nanoseconds, and a wall clock that may be stepped."""

    def __init__(self, rng: Random, epoch_ns: int, *, slow: float) -> None:
        """`epoch_ns`: the wall clock's start. `slow`: how likely a look at the clock takes long."""
        self.now_ns = 1_000 * NS_PER_S
        self.wall_offset_ns = self._true_offset_ns = epoch_ns - self.now_ns
        self.slow = slow
        self._rng = rng

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.now_ns / NS_PER_S

    def advance_to(self, when_ns: int) -> None:
        """Time passes; never backwards."""
        self.now_ns = max(self.now_ns, when_ns)

    def advance(self, seconds: float) -> None:
        """So much time passes."""
        self.now_ns += round(seconds * NS_PER_S)

    def look(self) -> float:
        """What the code under test reads: it took a moment to get there."""
        self.now_ns += 1_000
        if self.slow and self._rng.random() < self.slow:
            self.now_ns += self._rng.randrange(8_000_000)
        return self.now

    def true_ns(self) -> int:
        """Nanoseconds since the epoch, as consensus has it."""
        return self.now_ns + self._true_offset_ns

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, by a clock that may be wrong."""
        return self.now_ns + self.wall_offset_ns

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While this holds, every clock of the process is this one."""
        clocks: dict[str, Any] = {
            "monotonic": self.look,
            "monotonic_ns": lambda: self.now_ns,
            "perf_counter": lambda: self.now,
            "perf_counter_ns": lambda: self.now_ns,
            "thread_time_ns": lambda: self.now_ns,
            "time": lambda: self.wall_ns() / NS_PER_S,
            "time_ns": self.wall_ns,
        }
        with mock.patch.multiple(time, **clocks):
            yield
