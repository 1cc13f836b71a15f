"""What the parts of a process count as they go: plain numbers, which whoever is asked for metrics
reads. Counting is an addition; nothing here knows what it is shown as.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from sidecar.telemetry.traced import BlockTimes, Tracing

STAGES = ("read", "decode", "apply", "publish", "send")
ORDER_STAGES = ("admit", "submit", "execute", "visible")
STAGE_BOUNDS_S = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3),
    *(5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0),
)
PAUSE_BOUNDS_S = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0)


class Histogram:
    """How many values are at most each bound, as Prometheus counts them but not yet summed up."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` rise; there is one more bucket for what is above all of them."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more. O(log bounds), about 0.3 us."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class StageClock:
    """The way of each block, stage by stage."""

    def __init__(self) -> None:
        self.seconds = {stage: Histogram(STAGE_BOUNDS_S) for stage in STAGES}
        self.read_lag_s = 0.0  # of the newest block: from the node's write to the end of our sends
        self.blocks = 0
        self.transitions: Counter[type] = Counter()
        self.tracing: Tracing | None = None
        self._written_ns = 0
        self._read_ns = 0
        self._at_ns = 0
        self._decoding_ns = 0  # when that began
        self._ends: dict[str, int] = {}  # of the present block's stages

    def decoded(self, began_ns: int) -> None:
        """A block was taken out of the log and decoded since then, of `time.perf_counter_ns()`."""
        self._decoding_ns = began_ns
        self.seconds["decode"].observe((time.perf_counter_ns() - began_ns) / 1e9)

    def begin(self, height: int, written_ns: int) -> None:
        """A block comes, that the node wrote at that time (ns since the epoch; 0: unknown)."""
        self._written_ns = written_ns
        if self.tracing is not None:
            self.tracing.begin_block(height)
        self._read_ns = 0  # from the node's write until decoding began
        if written_ns:
            since_ns = time.perf_counter_ns() - self._decoding_ns
            self._read_ns = max(time.time_ns() - since_ns - written_ns, 0)
            self.seconds["read"].observe(self._read_ns / 1e9)
        self._at_ns = self._ends["decode"] = time.perf_counter_ns()

    def lap(self, stage: str) -> None:
        """That stage has ended; the next one begins."""
        now = time.perf_counter_ns()
        self.seconds[stage].observe((now - self._at_ns) / 1e9)
        self._at_ns = self._ends[stage] = now

    def end(self, height: int, transitions: Sequence[object], messages: int) -> None:
        """The block has left, in so many messages to subscribers. O(transitions), after all that
        clients wait for.
        """
        if self.tracing is not None:
            self._trace(self.tracing, height, len(transitions), messages)
        self.blocks += 1
        self.transitions.update(map(type, transitions))
        if self._written_ns:
            self.read_lag_s = max(time.time_ns() - self._written_ns, 0) / 1e9

    def _trace(self, tracing: Tracing, height: int, transitions: int, messages: int) -> None:
        since_epoch = time.time_ns() - time.perf_counter_ns()
        at = self._decoding_ns + since_epoch
        stages = {"read": (at - self._read_ns, at)}
        for stage, end in self._ends.items():
            stages[stage] = at, end + since_epoch
            at = end + since_epoch
        tracing.end_block(BlockTimes(height, stages, transitions, messages))


class Counts:
    """Of one process."""

    def __init__(self) -> None:
        self.clock = StageClock()
        self.gaps = 0  # in the node's log
        self.resumptions: Counter[str] = Counter()  # by outcome
        self.refusals: Counter[int] = Counter()  # of HTTP requests and connections, by status
        self.conflated = 0  # messages in whose place a newer one came
        self.slow_closes = 0
        self.outcomes: Counter[str] = Counter()  # of orders
        self.order_seconds = {stage: Histogram(STAGE_BOUNDS_S) for stage in ORDER_STAGES}
        self.loop_lag = Histogram(PAUSE_BOUNDS_S)
