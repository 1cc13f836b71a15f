"""Makes the messages that a client missed again, by running the log again on a replica.

    client read up to 90      node's log  ... 90 [91 92 ... 97] 98 ...
                              replica        ─▶  messages of 91 to 97, the very same as then
                              recent frames  ─▶  98 ...  and on with the live ones

Who misses something of the same kind is served by one run. What can't be made again is told as a
gap, then the client gets a fresh snapshot.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing
from typing import Protocol

import anyio

from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.api.topics import Message, Needs, Topic
from sidecar.errors import LogGap, NodeError, SidecarError
from sidecar.limits import (
    REBUILD_POLL_S,
    RESUME_AHEAD_S,
    RESUME_BLOCKS_MAX,
    RESUMPTIONS_WAITING_MAX,
)
from sidecar.node.starts import Origin, Start
from sidecar.protocol import frames
from sidecar.recovery.replica import Replica
from sidecar.recovery.scope import Scope
from sidecar.recovery.slices import Slices
from sidecar.state.chain import ChainState
from sidecar.telemetry.logs import get_log

_log = get_log("recovery")


class Client(Protocol):
    """Who reads a topic again. None of this waits or raises; a resumption that it has given up
    meanwhile is of no meaning to it.
    """

    def replay(self, resumption: "Resumption", frame: bytes, height: int) -> None:
        """A message that it missed."""

    def resumed(self, resumption: "Resumption") -> None:
        """It has all messages up to the resumption's height."""

    def lost(self, resumption: "Resumption", reason: str) -> None:
        """What came behind the resumption's height can't be made again."""


class Resumption:
    """One topic that one client has read up to `height`, which moves on with what it is sent."""

    __slots__ = ("by", "client", "height", "topic")

    def __init__(self, topic: Topic, height: int, client: Client) -> None:
        self.topic = topic
        self.height = height
        self.client = client
        self.by = time.monotonic() + RESUME_AHEAD_S

    def lost(self, reason: str) -> None:
        """Tells the client."""
        self.client.lost(self, reason)


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
        self._waiting: list[Resumption] = []
        self._wake = anyio.Event()

    def add(self, resumption: Resumption) -> None:
        """Sees to it that the client hears of `resumption` again, in one way or the other."""
        if len(self._waiting) >= RESUMPTIONS_WAITING_MAX:
            resumption.lost("too many clients are coming back at once")
            return
        self._waiting.append(resumption)
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            while self._waiting:
                await self._work_off()

    async def _work_off(self) -> None:
        waiting, self._waiting = self._waiting, []
        height = self._state.height
        ahead = [one for one in waiting if one.height > height]
        due = [one for one in waiting if one.height <= height]
        for needs in Needs:
            if group := [one for one in due if one.topic.channel.needs is needs]:
                await self._rerun(group, needs)
        self._keep_waiting(ahead)
        if ahead and not due:
            await anyio.sleep(REBUILD_POLL_S)

    def _keep_waiting(self, ahead: list[Resumption]) -> None:
        now = time.monotonic()
        for one in ahead:
            if one.height > self._state.height and now >= one.by:
                reason = f"this sidecar is at height {self._state.height}, below {one.height}"
                one.lost(reason)
            else:
                self._waiting.append(one)

    async def _rerun(self, group: list[Resumption], needs: Needs) -> None:
        """Sends each what it missed, or tells it that this can't be."""
        markets = self._state.markets.values()
        self._origin.know({market.symbol: market.id for market in markets})
        group = _without(
            group, self._too_old(group), "too long ago to run the log again from there"
        )
        reason = "no snapshot and no log reach back so far"
        while group:
            first = min(one.height for one in group)
            start = self._start(first, needs)
            if start is None:
                oldest = [one for one in group if one.height == first]
                group = _without(group, oldest, reason)
                continue
            try:
                with closing(start.reader):
                    await _Run(self._state, self._since, group).go(start, needs)
            except LogGap as error:
                reason = str(error)
                group = _without(group, [one for one in group if one.height == first], reason)
            except SidecarError as error:
                _log.warning("run again failed", height=start.height, reason=str(error))
                group = _without(group, group, str(error))
            else:
                self.runs += 1
                return

    def _too_old(self, group: list[Resumption]) -> list[Resumption]:
        oldest = self._state.height - RESUME_BLOCKS_MAX
        return [one for one in group if one.height < oldest]

    def _start(self, height: int, needs: Needs) -> Start | None:
        try:
            if needs is Needs.NOTHING:
                after = max(height - 1, 0)  # its messages say what the first missed one follows
                return Start("", after, self._state.time_ns, (), self._origin.reader(after))
            for start in self._origin.starts(height):
                if needs is Needs.BOOKS or start.whole:
                    return start
                start.reader.close()
        except NodeError as error:
            _log.info("no place to start from", height=height, reason=str(error))
        return None


class _Run:
    """One run over the log, for all of a group."""

    def __init__(self, state: ChainState, since: Since, group: list[Resumption]) -> None:
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
                for topic, message in channels.publish(changes):
                    _replay(readers[topic], message, changes.height)
                self._note(changes.height)
                self._check(replica.state)
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

    def _note(self, height: int) -> None:
        for one in self._group:
            one.height = max(one.height, height)

    def _hand_over(self) -> None:
        for one in self._group:
            one.client.resumed(one)

    def _check(self, replica: ChainState) -> None:
        wrong = replica.faults.everything or next(iter(replica.faults.books.values()), None)
        if wrong is not None:
            raise LogGap(f"the log contradicts itself: {wrong.what}", height=wrong.height)


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


def _without(group: list[Resumption], lost: list[Resumption], reason: str) -> list[Resumption]:
    for one in lost:
        one.lost(reason)
    return [one for one in group if one not in lost]
