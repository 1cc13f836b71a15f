"""Keeps garbage collections short: all stands still while there are objects to look at.

What is in use, the whole state and every connection, is freed by reference counts alone (a
connection that ends leaves no cycle behind). So whatever has survived a collection that took long
is not looked at again.
"""

import gc
import time
from typing import Literal

from sidecar.limits import GC_PAUSE_S
from sidecar.telemetry.counts import PAUSE_BOUNDS_S, Histogram


class Pauses:
    """The full collections of this process so far."""

    def __init__(self, *, freeze: bool = True) -> None:
        """`freeze`: a long one is the last of its kind; else they are only looked at."""
        self._freeze = freeze
        self.count = 0
        self.longest_s = 0.0
        self.seconds = Histogram(PAUSE_BOUNDS_S)
        self._began = 0.0

    def watch(self) -> None:
        """From now on."""
        gc.callbacks.append(self._on_collection)

    def unwatch(self) -> None:
        """No longer."""
        gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = time.perf_counter()
            return
        took_s = time.perf_counter() - self._began
        self.count += 1
        self.seconds.observe(took_s)
        self.longest_s = max(self.longest_s, took_s)
        if self._freeze and took_s >= GC_PAUSE_S:
            gc.freeze()


def settle() -> None:
    """Takes all that lives now, the whole state, out of what garbage collections go through. To be
    called before clients come: the last collection that sees the state takes a while. O(state).
    """
    gc.collect()
    gc.freeze()
