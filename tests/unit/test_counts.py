"""The times of a block: its stages follow each other, from the node's write to our last send."""

import time

import pytest

from sidecar.telemetry.counts import STAGES, StageClock
from sidecar.telemetry.traced import BlockTimes, OrderTimes

S = 1_000_000_000


class Traced:
    """Keeps what it is told of blocks."""

    def __init__(self) -> None:
        self.blocks: list[BlockTimes] = []

    def begin_block(self, height: int) -> None:
        pass

    def end_block(self, times: BlockTimes) -> None:
        self.blocks.append(times)

    def order(self, times: OrderTimes) -> None:
        pass

    def close(self) -> None:
        pass


def passed(clock: StageClock, *, written_s: float) -> None:
    """A block that was written so long ago (0: unknown), and took 50 s to decode."""
    clock.decoded(time.perf_counter_ns() - 50 * S)
    clock.begin(7, time.time_ns() - int(written_s * S) if written_s else 0)
    for stage in ("apply", "publish", "send"):
        clock.lap(stage)
    clock.end(7, [], 3)


def test_the_stages_add_up_to_the_lag() -> None:
    clock = StageClock()
    passed(clock, written_s=80)
    assert clock.seconds["read"].sum == pytest.approx(30, abs=5)
    assert clock.seconds["decode"].sum == pytest.approx(50, abs=5)
    assert sum(clock.seconds[stage].sum for stage in STAGES) == pytest.approx(
        clock.read_lag_s, abs=5
    )


def test_a_trace_has_them_one_behind_the_other() -> None:
    clock, traced = StageClock(), Traced()
    clock.tracing = traced
    for written_s in (80, 0, 20):  # 20: its clock is ahead of ours
        passed(clock, written_s=written_s)
    took = []
    for times in traced.blocks:
        assert tuple(times.stages) == STAGES
        ends = [0, *(end for _, end in times.stages.values())]
        assert [begin for begin, _ in times.stages.values()][1:] == ends[1:-1]
        begin, end = times.stages["read"]
        took.append((end - begin) / S)
    assert took == [pytest.approx(30, abs=5), 0, 0]
