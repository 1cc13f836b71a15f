"""One id from the request to the block and the messages that show it, with the times in between."""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Mapping

from sidecar.api.orders.by_height import ByHeight
from sidecar.limits import ORDER_TRACES_KEPT, ORDER_TRACES_WAITING_MAX
from sidecar.telemetry.counts import Histogram
from sidecar.telemetry.logs import get_log
from sidecar.telemetry.tracecontext import TraceContext
from sidecar.telemetry.traced import OrderTimes, Tracing

_log = get_log("orders")

_HEIGHTS_KEPT = 256  # blocks whose messages left before their answers were read


class OrderTrace:
    """An action's way; times in ns since the epoch, 0 for not yet. `visible_ns`: the messages of
    its block, book updates among them, have left.
    """

    __slots__ = (
        *("admitted_ns", "answered_ns", "context", "height", "received_ns"),
        *("ok", "submitted_ns", "turn_ns", "visible_ns"),
    )

    def __init__(
        self, context: TraceContext, received_ns: int, turn_ns: int, admitted_ns: int
    ) -> None:
        self.context = context
        self.received_ns = received_ns
        self.turn_ns = turn_ns
        self.ok = False  # the chain executed it
        self.admitted_ns = admitted_ns
        self.submitted_ns = 0
        self.answered_ns = 0
        self.height = 0
        self.visible_ns = 0


class OrderTraces:
    """Those whose block is not applied yet, and the newest complete ones."""

    def __init__(self, height: int, seconds: Mapping[str, Histogram]) -> None:
        """`seconds` takes the times of each stage (see `sidecar.telemetry.counts`)."""
        self._seconds = seconds
        self.tracing: Tracing | None = None
        self.recent: deque[OrderTrace] = deque(maxlen=ORDER_TRACES_KEPT)
        self._waiting: ByHeight[OrderTrace] = ByHeight()
        self._visible: OrderedDict[int, int] = OrderedDict()  # height -> when, ns
        self._height = height

    def answered(self, trace: OrderTrace, height: int) -> None:
        """It was executed or refused in a block (0: in none). O(log n)."""
        trace.answered_ns = time.time_ns()
        trace.height = height
        if not height:
            return
        if height > self._height:
            self._waiting.add(height, trace)
            if len(self._waiting) > ORDER_TRACES_WAITING_MAX:
                self._waiting.take()  # no block comes
            return
        trace.visible_ns = self._visible.get(height, trace.answered_ns)
        self._complete(trace)

    def applied(self, height: int) -> None:
        """The messages of a block have left; said again, nothing is new. O(its actions)."""
        if height <= self._height:
            return
        now = time.time_ns()
        self._height = height
        self._visible[height] = now
        if len(self._visible) > _HEIGHTS_KEPT:
            self._visible.popitem(last=False)
        for trace in self._waiting.take_up_to(height):
            trace.visible_ns = now
            self._complete(trace)

    def _complete(self, trace: OrderTrace) -> None:
        self.recent.append(trace)
        seconds = self._seconds
        seconds["admit"].observe((trace.admitted_ns - trace.received_ns) / 1e9)
        seconds["submit"].observe((trace.submitted_ns - trace.admitted_ns) / 1e9)
        seconds["execute"].observe((trace.answered_ns - trace.submitted_ns) / 1e9)
        seconds["visible"].observe((trace.visible_ns - trace.received_ns) / 1e9)
        if self.tracing is not None:
            self.tracing.order(_times(trace))
        if not _log.is_enabled_for(logging.DEBUG):
            return
        _log.debug(
            "order",
            trace_id=trace.context.trace_id,
            span_id=trace.context.span_id,
            height=trace.height,
            admitted_us=(trace.admitted_ns - trace.received_ns) // 1000,
            submitted_us=(trace.submitted_ns - trace.received_ns) // 1000,
            answered_us=(trace.answered_ns - trace.received_ns) // 1000,
            visible_us=(trace.visible_ns - trace.received_ns) // 1000,
        )


def _times(trace: OrderTrace) -> OrderTimes:
    stages = {
        "receive": (trace.received_ns, trace.turn_ns),
        "admit": (trace.turn_ns, trace.admitted_ns),
        "submit": (trace.admitted_ns, trace.submitted_ns),
        "execute": (trace.submitted_ns, trace.answered_ns),
        "visible": (trace.answered_ns, max(trace.visible_ns, trace.answered_ns)),
    }
    return OrderTimes(trace.context, stages, trace.height, trace.ok)
