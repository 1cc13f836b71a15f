"""From places to start to a state: the first whose rows make one. In slices: the state of a large
exchange takes minutes, in which the process answers operators, and signals.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sidecar.errors import SidecarError, SnapshotInvalid, StateMismatch
from sidecar.node.starts import Start
from sidecar.recovery.slices import Slices
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import restorer
from sidecar.state.way import Way
from sidecar.telemetry.logs import get_log

_log = get_log("app")


_ROWS_AT_ONCE = 16  # 5 us each
_Note = Callable[[int], None]


async def recover(
    starts: Iterator[Start], note: _Note = lambda _: None
) -> tuple[Start, ChainState]:
    """The first start whose rows can be restored, and the state that they make. O(rows). `note` is
    told how many rows more have been read, now and then.

    One that can't is logged and closed, its half-built state dropped. Raises what the last one
    failed with where none is left, and what `starts` raises.
    """
    failure: SidecarError | None = None
    for start in starts:
        try:
            with _uncollected():
                return start, await _restore(start, note)
        except (SnapshotInvalid, StateMismatch) as error:
            failure = error.with_traceback(None)
            failure.__context__ = failure.__cause__ = None  # frames keep the half-built state alive
        except BaseException:  # the end, in the middle of it
            start.reader.close()
            raise
        start.reader.close()
        gc.collect()
        _log.warning(f"{start.origin} not used", height=start.height, reason=str(failure))
    assert failure is not None, "a source has at least one start"
    raise failure


async def _restore(start: Start, note: _Note) -> ChainState:
    began = time.monotonic()
    state, slices = ChainState(strict=False), Slices()
    restore_row = restorer(state, start.height, start.time_ns).row
    for number, row in enumerate(start.rows, 1):
        restore_row(row)
        if number % _ROWS_AT_ONCE == 0:
            note(_ROWS_AT_ONCE)
            await slices.breathe()
    state.way, state.doubted = Way(start.way), start.doubted
    orders = sum(len(market.book.orders) for market in state.markets.values())
    seconds = round(time.monotonic() - began, 3)
    _log.info(
        "state restored",
        chain=start.chain,
        origin=start.origin,
        height=state.height,
        orders=orders,
        seconds=seconds,
    )
    return state


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection while millions of objects are made of which none is garbage, and none
    of them looked at ever after: a full collection would take seconds (gc.freeze).
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
