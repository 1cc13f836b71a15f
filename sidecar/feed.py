"""The node's blocks as one stream that does not end with the node's troubles.

A log that can't be read on (a hole, a corrupt record, a file that is gone) is said on `status`, and
tried again: where it was, in case the trouble has passed, else from a newer snapshot, over the gap.
The height never goes back: a node that starts again from an older state is waited for. One that
comes back another way, with another block of our height, is found out by that block: then all that
is known is wrong, and everything is rebuilt from what the node has.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing

import anyio

from sidecar.errors import LogCorrupt, LogForked, LogGap, NodeError, SidecarError, StateMismatch
from sidecar.limits import REBUILD_RETRY_MAX_S, REBUILD_RETRY_S
from sidecar.node.follow import Follower, Reader
from sidecar.node.starts import Origin, Start
from sidecar.node.transitions import Block
from sidecar.recovery.repair import refresh, tell_markets
from sidecar.recovery.replica import Replica
from sidecar.recovery.slices import Slices
from sidecar.state.chain import ChainState
from sidecar.state.health import GAP, RESYNCING, Health
from sidecar.telemetry.counts import Counts
from sidecar.telemetry.logs import get_log

_log = get_log("feed")

Rebuilt = Callable[[int, str], None]  # the first height that was missed, and why


class Feed:
    """Follows the node for as long as the process runs."""

    def __init__(
        self,
        reader: Reader,
        origin: Origin,
        state: ChainState,
        health: Health,
        on_rebuilt: Rebuilt,
        counts: Counts,
        *,
        busy_poll: bool = False,
    ) -> None:
        """`on_rebuilt` is told when the state was replaced by one behind a gap."""
        self.at_head = anyio.Event()  # set once everything that the node had written has been read
        self.rebuilds = 0
        self._reader = reader
        self._origin = origin
        self._state = state
        self._health = health
        self._on_rebuilt = on_rebuilt
        self._counts = counts
        self._busy_poll = busy_poll
        self._stuck_at = -1  # the height at which it could not go on last
        self._pause_s = 0.0  # before it is tried again at the same height

    async def blocks(self) -> AsyncIterator[Block]:
        """Every block above the state's height, for ever. The state has applied a block when it
        asks for the next.
        """
        while True:
            try:
                follower = Follower(
                    self._reader,
                    self.at_head,
                    busy_poll=self._busy_poll,
                    on_read=self._counts.clock.decoded,
                )
                async with aclosing(follower.blocks()) as blocks:
                    async for block in blocks:
                        self._health.note_block(time.monotonic_ns(), time.time_ns(), block.time_ns)
                        yield block
                        if (wrong := self._state.faults.everything) is not None:
                            raise StateMismatch(wrong.what, height=wrong.height)  # noqa: TRY301
            except (NodeError, StateMismatch) as error:
                self._reader.close()
                await self._recover(error)

    def close(self) -> None:
        """Gives the files back."""
        self._reader.close()

    async def _recover(self, error: SidecarError) -> None:
        """Until there is a reader that goes on. One that fails at once, again and again, is tried
        with growing pauses.
        """
        retry_s = REBUILD_RETRY_S / 4
        condition = GAP if isinstance(error, LogCorrupt | LogGap) else RESYNCING
        self._counts.gaps += condition is GAP
        self._health.break_feed(condition, str(error))
        _log.error("the feed can't go on", reason=str(error), height=self._state.height)
        if self._state.height != self._stuck_at:
            self._stuck_at, self._pause_s = self._state.height, retry_s
        else:
            await anyio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, REBUILD_RETRY_MAX_S / 4)
        tell_markets(self._origin, self._state)
        while not (self._go_on(error) or await self._jump(error)):
            await anyio.sleep(retry_s)
            retry_s = min(2 * retry_s, REBUILD_RETRY_MAX_S / 4)
            await refresh(self._origin, self._state)
        self._health.mend_feed()
        _log.warning("the feed goes on", height=self._state.height)

    def _go_on(self, error: SidecarError) -> bool:
        """Whether the next block can be read now, where it could not before, and follows ours."""
        if self._state.faults.everything is not None:
            return False
        try:
            with closing(self._reader_behind(self._state)) as reader:
                if reader.next_block() is None and not reader.is_at_head():
                    return False
            self._reader = self._reader_behind(self._state)
        except LogForked as found:
            self._note_fork(found)
            return False
        except LogGap:
            if isinstance(error, LogForked):  # and what it would be compared with is gone
                self._note_fork(error)
            return False
        except NodeError:
            return False
        return True

    def _note_fork(self, error: LogForked) -> None:
        self._state.mark_everything(str(error))
        self._health.break_feed(RESYNCING, str(error))
        _log.error("the node went another way", reason=str(error), height=self._state.height)

    def _reader_behind(self, state: ChainState) -> Reader:
        """Where its last blocks are known the log is seen to hold these very ones, and held to the
        last: a node may be set back before the next one is read.
        """
        if not state.way:
            return self._origin.reader(state.height)
        return self._origin.reader_behind(list(state.way))

    def _is_on_its_way(self) -> bool:
        """Whether the log is seen to hold the blocks that were read last: else those behind a gap
        may be of another way.
        """
        try:
            self._reader_behind(self._state).close()
        except NodeError:
            return False
        return True

    async def _jump(self, error: SidecarError) -> bool:
        """Whether a snapshot leads on; then the state is that one's."""
        wrong = self._state.faults.everything
        reason = str(error) if wrong is None else wrong.what
        try:
            for start in self._origin.starts():
                if start.height <= self._state.height and wrong is None:
                    start.reader.close()
                elif await self._rebuild(start, reason):
                    return True
        except NodeError as missing:
            _log.warning("no place to start from", reason=str(missing))
        return False

    async def _rebuild(self, start: Start, reason: str) -> bool:
        wrong = self._state.faults.everything
        first_missed = self._state.height + 1 if wrong is None else wrong.height
        try:
            replica = Replica(None, Slices())
            await replica.restore(start)
            async for _ in replica.run(start.reader, lambda: self._state.height):
                if replica.state.faults.everything:
                    break
            if replica.state.faults.everything:
                raise StateMismatch("the log behind it contradicts it")
            if start.reader.next_block() is None and not start.reader.is_at_head():
                raise LogGap("the log does not go on from there", height=start.height + 1)
            self._reader = self._reader_behind(replica.state)
        except SidecarError as error:
            _log.warning("snapshot not used", height=start.height, reason=str(error))
            return False
        finally:
            start.reader.close()
        self._state.adopt(replica.state, doubted=wrong is not None or not self._is_on_its_way())
        self.rebuilds += 1
        _log.warning("rebuilt", snapshot=start.height, height=self._state.height)
        self._on_rebuilt(first_missed, reason)
        return True
