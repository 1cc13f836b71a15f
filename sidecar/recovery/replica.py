"""A second state beside the one that is served: rebuilt from a snapshot and the log behind it, in
slices, until it is as high as the first.
"""

from collections.abc import AsyncGenerator, Callable

import anyio

from sidecar.errors import LogGap
from sidecar.limits import REBUILD_POLL_S, REBUILD_QUIET_S
from sidecar.node.follow import Reader
from sidecar.node.starts import Start
from sidecar.recovery.scope import Scope
from sidecar.recovery.slices import Slices
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes
from sidecar.state.checkpoint import restorer
from sidecar.state.way import Way


class Replica:
    """A state of a part of the exchange (`scope`; None: all of it), or of no part so far."""

    def __init__(self, scope: Scope | None, slices: Slices) -> None:
        self.state = ChainState(strict=False)
        self._scope = scope
        self._slices = slices

    async def restore(self, start: Start) -> None:
        """From a snapshot's rows. Raises `SnapshotInvalid`, `StateMismatch`. O(rows)."""
        state = self.state
        restore_row = restorer(state, start.height, start.time_ns).row
        rows = start.rows if self._scope is None else self._scope.rows(start.rows)
        for row in rows:
            restore_row(row)
            await self._slices.breathe()
        state.way = Way(start.way)

    def list_markets(self, like: ChainState, height: int) -> None:
        """Without a snapshot: nothing but the listings of another state, at a height whose past
        is not known.
        """
        self.state.restore(height, like.time_ns, like.listings())
        self.state.users.unknown_past = True

    async def run(self, reader: Reader, height: Callable[[], int]) -> AsyncGenerator[Changes, None]:
        """Block after block until the state is at `height()` or above, then ends in that very
        moment: nothing else has run since.

        Raises what the reader raises, and `LogGap` where the log ends below, though somebody has
        read it up to there: it was cut.
        """
        quiet_s = 0.0
        while self.state.height < height():
            block = reader.next_block()
            if block is None:
                if quiet_s >= REBUILD_QUIET_S:
                    what = f"the log ends at height {self.state.height}, below {height()}"
                    raise LogGap(what, height=self.state.height + 1)
                await anyio.sleep(REBUILD_POLL_S)
                quiet_s += REBUILD_POLL_S
                continue
            quiet_s = 0.0
            yield self.state.apply(block if self._scope is None else self._scope.block(block))
            await self._slices.breathe()
