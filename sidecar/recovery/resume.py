"""Makes the messages that a client missed again, by running the log again on a replica.

    client read up to 90      node's log  ... 90 [91 92 ... 97] 98 ...
                              replica        ─▶  messages of 91 to 97, the very same as then
                              recent frames  ─▶  98 ...  and on with the live ones

Who misses something of the same kind is served by one run. What can't be made again is told as a
gap, then the client gets a fresh snapshot.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, closing

import anyio

from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.api.topics import Message, Needs, Topic
from sidecar.errors import LogGap, NodeError, SidecarError, StateMismatch
from sidecar.limits import (
    REBUILD_POLL_S,
    RESUME_AHEAD_BLOCKS_MAX,
    RESUME_BLOCKS_MAX,
)
from sidecar.node.starts import Origin, Start
from sidecar.protocol import frames
from sidecar.recovery.replica import Replica
from sidecar.recovery.scope import Scope
from sidecar.recovery.slices import Slices
from sidecar.recovery.waiting import Resumption, Waiting
from sidecar.state.chain import ChainState
from sidecar.telemetry.logs import get_log

_log = get_log("recovery")


Since = Callable[[Topic], int | None]


class Resumer:
    """Takes resumptions, and works them off one run after another."""

    def __init__(self, state: ChainState, origin: Origin, since: Since) -> None:
        """`since`: above which height the live messages of a topic are at hand; the topic is kept
        open while it is resumed.
        """
        self.runs = 0
        self._state = state
        self._origin = origin
        self._since = since
        self._waiting = Waiting()
        self._wake = anyio.Event()

    def add(self, resumption: Resumption) -> None:
        """Sees to it that the client hears of `resumption` again, in one way or the other."""
        if resumption.height > self._state.height + RESUME_AHEAD_BLOCKS_MAX:
            resumption.lost(self._not_there_yet(resumption))
            return
        refused = self._waiting.add(resumption, self._state.height)
        self._wake.set()
        if refused is not None:
            one, reason = refused
            one.lost(reason)

    def forget(self, resumption: Resumption) -> None:
        """Its client has given it up. O(1)."""
        resumption.wanted = False
        self._waiting.discard(resumption)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            while self._waiting:
                await self._work_off()

    async def _work_off(self) -> None:
        due = self._waiting.take_due(self._state.height)
        for one in self._waiting.take_late(time.monotonic()):
            one.lost(self._not_there_yet(one))
        for needs in Needs:
            if group := [one for one in due if one.topic.channel.needs is needs]:
                await self._rerun(group, needs)
        if not due:
            await anyio.sleep(REBUILD_POLL_S)

    def _not_there_yet(self, one: Resumption) -> str:
        return f"this sidecar is at height {self._state.height}, below {one.height}"

    async def _rerun(self, group: list[Resumption], needs: Needs) -> None:
        """Sends each what it missed, or tells it that this can't be."""
        markets = self._state.markets.values()
        self._origin.know({market.symbol: market.id for market in markets})
        oldest = self._state.height - RESUME_BLOCKS_MAX
        group = await _without(group, oldest, "too long ago to run the log again from there")
        while group:
            reached = self._reach(sorted({one.height for one in group}), needs)
            group = await _without(group, reached, "no snapshot and no log reach back so far")
            if not group:
                return
            failure = await self._run_again(group, needs)
            if failure is None:
                self.runs += 1
                return
            first = min(one.height for one in group)
            passable = max(failure.height, first + 1) if failure.height else math.inf
            group = await _without(group, passable, str(failure))

    def _reach(self, heights: list[int], needs: Needs) -> float:
        """The lowest of the heights that some start and the log behind it reach back to; infinity
        for none. O(log heights) looks.
        """
        low, high = 0, len(heights)
        while low < high:
            middle = (low + high) // 2
            if self._is_reached(heights[middle], needs):
                high = middle
            else:
                low = middle + 1
        return heights[low] if low < len(heights) else math.inf

    def _is_reached(self, height: int, needs: Needs) -> bool:
        for start in self._starts(height, needs):
            with closing(start.reader):
                try:
                    start.reader.next_block()
                except NodeError as error:
                    _log.debug("not reached", height=height, reason=str(error))
                    return False
            return True
        return False

    async def _run_again(self, group: list[Resumption], needs: Needs) -> LogGap | None:
        """One run for all of the group, from the best start that leads to the end. Why there is
        none, with the height that none gets past.
        """
        first = min(one.height for one in group)
        failure = LogGap("no snapshot and no log reach back so far", height=first + 1)
        for start in self._starts(first, needs):
            try:
                with closing(start.reader):
                    await _Run(self._state, self._since, group, self._check_way).go(start, needs)
            except LogGap as error:
                _log.debug("run again in part", start=start.height, reason=str(error))
                return error
            except SidecarError as error:  # of this start, perhaps: another may do
                where, reason = start.height, str(error)
                _log.warning(f"{start.origin or 'log'} not used", start=where, reason=reason)
                failure = LogGap(str(error), height=getattr(error, "height", None))
            else:
                return None
        return failure

    def _check_way(self) -> None:
        """Raises `NodeError` where the log is not, or no more, of the way that the live messages
        are of: the feed will find out, too.
        """
        if way := list(self._state.way):
            self._origin.reader_behind(way).close()

    def _starts(self, height: int, needs: Needs) -> Iterator[Start]:
        try:
            if needs is Needs.NOTHING:
                after = max(height - 1, 0)  # its messages say what the first missed one follows
                yield Start("", after, self._state.time_ns, (), self._origin.reader(after))
                return
            for start in self._origin.starts(height):
                if needs is Needs.BOOKS or start.whole:
                    yield start
                else:
                    start.reader.close()
        except NodeError as error:
            _log.info("no place to start from", height=height, reason=str(error))


class _Run:
    """One run over the log, for all of a group."""

    def __init__(
        self,
        state: ChainState,
        since: Since,
        group: list[Resumption],
        check_way: Callable[[], None],
    ) -> None:
        self._check_way = check_way
        self._live = state
        self._since = since
        self._group = group

    async def go(self, start: Start, needs: Needs) -> None:
        began = time.monotonic()
        replica = Replica(_scope_of(self._group, needs), Slices())
        if needs is Needs.NOTHING:
            replica.list_markets(self._live, start.height)
        else:
            await replica.restore(start)
            self._know_as_little(replica.state)
        channels = Channels(replica.state)
        topics = {one.topic: channels.open_like(one.topic) for one in self._group}
        readers: dict[Topic, list[Resumption]] = {theirs: [] for theirs in topics.values()}
        for one in self._group:
            readers[topics[one.topic]].append(one)
        async with aclosing(replica.run(start.reader, self._target)) as run:
            async for changes in run:
                self._check(replica.state)
                for topic, message in channels.publish(changes):
                    _replay(readers[topic], message, changes.height)
                if not self._note(changes.height):
                    return
        self._check_way()
        self._hand_over()
        seconds = round(time.monotonic() - began, 3)
        _log.info(
            "run again",
            start=start.height,
            topics=len(topics),
            clients=len(self._group),
            seconds=seconds,
        )

    def _know_as_little(self, replica: ChainState) -> None:
        """A candle that began before this sidecar knew of trades is sent neither then nor now."""
        for market in replica.markets.values():
            live = self._live.markets.get(market.id)
            if live is not None:
                market.candles.since_ns = live.candles.since_ns

    def _target(self) -> int:
        """Up to where the run has to go: from there on the live messages are at hand."""
        return max(self._needed(one) for one in self._group)

    def _needed(self, one: Resumption) -> int:
        since = self._since(one.topic)
        return self._live.height if since is None else max(since, one.height)

    def _note(self, height: int) -> bool:
        """Whether anybody still wants it."""
        wanted = False
        for one in self._group:
            one.height = max(one.height, height)
            wanted = wanted or one.wanted
        return wanted

    def _hand_over(self) -> None:
        for one in self._group:
            one.client.resumed(one)

    def _check(self, replica: ChainState) -> None:
        wrong = replica.faults.everything or next(iter(replica.faults.books.values()), None)
        if wrong is not None:
            what = f"the log contradicts itself: {wrong.what}"
            raise StateMismatch(what, height=wrong.height)


def _replay(readers: Iterable[Resumption], message: Message, height: int) -> None:
    frame: bytes | None = None
    for one in readers:
        if one.height < height:
            frame = frame or frames.text(encode(message))
            one.client.replay(one, frame, height)


def _scope_of(group: list[Resumption], needs: Needs) -> Scope:
    markets = {one.topic.market for one in group if one.topic.market is not None}
    users = {one.topic.user for one in group if one.topic.user is not None}
    books = markets if needs is Needs.BOOKS else ()
    return Scope(books=books, markets=markets, users=users)


async def _without(group: list[Resumption], below: float, reason: str) -> list[Resumption]:
    """The group without those at heights below; they are told why."""
    kept, slices = list[Resumption](), Slices()
    for one in group:
        if one.height >= below:
            kept.append(one)
        else:
            one.lost(reason)
            await slices.breathe()
    return kept
