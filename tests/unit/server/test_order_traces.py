"""One id, and the times, from an action's bytes to the messages that show it."""

import time

import pytest

from sidecar.limits import ORDER_TRACES_KEPT, ORDER_TRACES_WAITING_MAX
from sidecar.server.order_traces import OrderTrace, OrderTraces
from sidecar.telemetry.counts import Counts
from sidecar.telemetry.tracecontext import continue_trace


def submitted() -> OrderTrace:
    now = time.time_ns()
    trace = OrderTrace(continue_trace(None), received_ns=now, turn_ns=now, admitted_ns=now + 1)
    trace.submitted_ns = now + 2
    return trace


@pytest.mark.parametrize("answer_first", [True, False])
def test_it_is_complete_once_its_block_is_shown(answer_first: bool) -> None:
    traces, trace = OrderTraces(4, Counts().order_seconds), submitted()
    if answer_first:
        traces.answered(trace, 5)
        assert not traces.recent
        assert trace.visible_ns == 0
    traces.applied(5)
    traces.applied(5)  # status messages leave between blocks, too
    if not answer_first:
        traces.answered(trace, 5)
    assert list(traces.recent) == [trace]
    assert trace.height == 5
    assert trace.received_ns < trace.admitted_ns < trace.submitted_ns
    assert trace.submitted_ns <= min(trace.answered_ns, trace.visible_ns)
    assert (trace.answered_ns <= trace.visible_ns) == answer_first


def test_one_that_no_block_saw_is_never_shown() -> None:
    traces, trace = OrderTraces(4, Counts().order_seconds), submitted()
    traces.answered(trace, 0)
    traces.applied(5)
    assert not traces.recent
    assert (trace.height, trace.visible_ns) == (0, 0)


def test_they_are_bounded() -> None:
    traces = OrderTraces(0, Counts().order_seconds)
    for height in range(1, 3 * ORDER_TRACES_KEPT):
        traces.answered(submitted(), height)
        traces.applied(height)
    assert len(traces.recent) == ORDER_TRACES_KEPT
    assert [one.height for one in traces.recent][-1] == 3 * ORDER_TRACES_KEPT - 1


def test_those_that_wait_for_a_block_are_bounded() -> None:
    """None is shown while the feed stands still; the first ones are given up."""
    traces, trace = OrderTraces(0, Counts().order_seconds), submitted()
    for height in range(1, ORDER_TRACES_WAITING_MAX + 3):
        traces.answered(trace, height)
    assert len(traces._waiting) == ORDER_TRACES_WAITING_MAX
    traces.applied(2)
    assert not traces.recent
    traces.applied(3)
    assert len(traces.recent) == 1
