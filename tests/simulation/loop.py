"""An event loop that a seed moves: virtual time, simulated descriptors, no kernel.

It is asyncio's own loop over a selector of ours, so tasks, cancellation, timeouts and anyio are the
real ones. The selector asks the network which descriptors are ready; where none is, time goes on to
the next thing that happens. A loop in which nothing can ever happen again is an error.
"""

import asyncio
import math
import selectors
from collections.abc import Mapping
from typing import Any

from tests.simulation.clock import NS_PER_S, Clock
from tests.simulation.events import Events
from tests.simulation.network import Network


class Deadlock(Exception):
    """Everybody waits, for nothing."""


class SimulatedSelector(selectors.BaseSelector):
    """Readiness as the simulated network has it."""

    def __init__(self, clock: Clock, events: Events, network: Network) -> None:
        self._clock = clock
        self._events = events
        self._network = network
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._nothing_at = -1  # the network's version at which nothing was ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"{fd} is registered")
        self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._nothing_at = -1
        return self._keys[fd]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj if isinstance(fileobj, int) else fileobj.fileno()]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready by `timeout`; time passes only where nothing is ready now."""
        now_ns = self._clock.now_ns
        until = None if timeout is None else now_ns + math.ceil(max(timeout, 0) * NS_PER_S)
        while True:
            self._events.run_due()
            ready = self._ready()
            if ready or (until is not None and self._clock.now_ns >= until):
                return ready
            due = self._events.next_ns
            if due is None and until is None:
                raise Deadlock("nothing can happen any more, and everybody waits")
            self._clock.advance_to(min(one for one in (due, until) if one is not None))

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Not looked for where nothing can have changed since nothing was ready."""
        if self._network.version == self._nothing_at:
            return []
        ready = []
        for key in self._keys.values():
            mask = key.events & self._network.ready(key.fd)
            if mask:
                ready.append((key, mask))
        self._nothing_at = -1 if ready else self._network.version
        return ready

    def close(self) -> None:
        self._keys.clear()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """asyncio's loop in virtual time."""

    def __init__(self, clock: Clock, events: Events, network: Network) -> None:
        self._sim_clock = clock
        super().__init__(SimulatedSelector(clock, events, network))

    def time(self) -> float:
        """Monotonic seconds of the simulated world."""
        return self._sim_clock.now
