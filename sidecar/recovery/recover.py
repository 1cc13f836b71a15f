"""From places to start to a state: the first whose rows make one."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.errors import SidecarError, SnapshotInvalid, StateMismatch
from sidecar.node.starts import Start
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import restore_rows
from sidecar.telemetry.logs import get_log

_log = get_log("app")


def recover(starts: Iterator[Start]) -> tuple[Start, ChainState]:
    """The first start whose rows can be restored, and the state that they make. O(rows).

    One that can't is logged and closed, its half-built state dropped. Raises what the last one
    failed with where none is left, and what `starts` raises.
    """
    failure: SidecarError | None = None
    for start in starts:
        try:
            with _uncollected():
                return start, _restore(start)
        except (SnapshotInvalid, StateMismatch) as error:
            failure = error.with_traceback(None)
            failure.__context__ = failure.__cause__ = None  # frames keep the half-built state alive
        start.reader.close()
        gc.collect()
        _log.warning(f"{start.origin} not used", height=start.height, reason=str(failure))
    assert failure is not None, "a source has at least one start"
    raise failure


def _restore(start: Start) -> ChainState:
    began = time.monotonic()
    state = ChainState(strict=False)
    restore_rows(state, start.height, start.time_ns, start.rows)
    state.block = start.block
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
