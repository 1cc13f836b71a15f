"""Judges what each client was told, in the order in which it was told (promise 2), and that nothing
is missing of what the chain's log has for it (promise 3).

A subscription's stream begins at a height: its snapshot's, that which it resumed from, or, where a
topic has no snapshot, at latest at the first block that was complete behind it. From there on it
has every height at which the log has something for the topic, each once, each behind the one
before, with `prev` naming that one.

Of a LATEST topic heights may be left out, but not the newest: with each `blocks` message, and at
the end, what it shows is as the log has it by then. A message's mark is what `status` said.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.history import journal
from tests.history.contents import Said
from tests.history.journal import Entry, Told
from tests.history.topics import EVERY, LATEST, RESUMABLE, SNAPSHOTS_FIRST, topic_of
from tests.history.violations import Violations

_RESUME_FROM = re.compile(r"too slow on \S.*: resume from height (\d+)")
_STATES = frozenset(("behind", "stale", "gap", "resyncing"))
_CODES = frozenset((1000, 1001, 1006, 1013))  # none of which says that somebody erred


class Newest(NamedTuple):
    """The newest message of a LATEST topic."""

    height: int
    digest: str


class Stream:
    """One subscription."""

    def __init__(self, topic: str, resume: int | None, heights: Sequence[int] | None) -> None:
        self.topic = topic
        self.kind = topic_of(topic).kind
        self.resume = resume
        self.heights = heights  # of the log, where they follow from it
        self.begun = resume is not None or self.kind not in SNAPSHOTS_FIRST
        self.since = resume  # everything above has been told, up to `height`
        self.height: int | None = resume  # of the newest message
        self.known = False  # whether the newest message named the one before, or was a snapshot
        self.parts = 0  # of a message in several, those that came
        self.prev: int | None = None  # of the newest message
        self.gap: int | None = None  # up to where, told just now
        self.first = True
        self.leaving = False  # what waits of it may be dropped
        self.digest = ""  # of the newest message
        self.passed = False  # the block that went out as it was asked for, before its first message


class Together:
    """What all clients were told of LATEST topics: nobody ends with less than another had."""

    def __init__(self) -> None:
        self.newest: dict[str, Newest] = {}  # by topic, of anybody
        self.ends: list[tuple[str, str, Newest]] = []  # of whom, of which topic

    def judge(self, lasting: Mapping[str, int], found: Violations) -> None:
        """Where a later message says something else, that had to be told, too."""
        for where, topic, end in self.ends:
            newest = self.newest[topic]
            differs = lasting.get(newest.digest) != lasting.get(end.digest)
            if newest.height > end.height and differs:
                what = f"{topic} ends with {end.height}, others were told of {newest.height}"
                found.add("missing", f"{where}: {what}")


class Judge:
    """One client's file."""

    def __init__(
        self,
        name: str,
        heights: Mapping[str, Sequence[int]],
        found: Violations,
        seen: Counter[str],
        said: Said,
        together: Together,
    ) -> None:
        self._where = name
        self._heights = heights
        self._found = found
        self._seen = seen
        self._feeds = said.feeds
        self._together = together
        self._feed: str | None = None  # as `status` said last on this connection
        self._streams: dict[str, Stream] = {}
        self._highest = 0  # of anything on this connection
        self._at = 0
        self._complete = False  # the newest connection saw the end

    def judge(self, entries: Iterable[Entry]) -> None:
        """All of it."""
        judges = {
            journal.Opened: self._opened,
            journal.Subscribed: self._subscribed,
            journal.Leaving: self._leaving,
            journal.Unsubscribed: self._unsubscribed,
            journal.Told: self._told,
            journal.Gap: self._gap,
            journal.Refused: self._refused,
            journal.Closed: self._closed,
            journal.Finished: self._finished,
        }
        for self._at, entry in enumerate(entries, 1):
            judges[type(entry)](entry)  # type: ignore[operator]
        if not self._complete:
            self._add("unfinished", "it had not everything when the chain had ended")

    def _add(self, kind: str, what: str) -> None:
        self._found.add(kind, f"{self._where} line {self._at}: {what}")

    def _opened(self, _: journal.Opened) -> None:
        self._seen["connections"] += 1
        self._streams, self._highest, self._complete, self._feed = {}, 0, False, None

    def _subscribed(self, one: journal.Subscribed) -> None:
        if one.topic in self._streams:
            self._add("order", f"{one.topic} is subscribed twice")
        stream = Stream(one.topic, one.resume, self._heights.get(one.topic))
        self._streams[one.topic] = stream
        self._seen["subscriptions"] += 1
        self._seen["resumes"] += one.resume is not None

    def _leaving(self, one: journal.Leaving) -> None:
        if one.topic in self._streams:
            self._streams[one.topic].leaving = True
        if one.topic == "status":
            self._feed = None

    def _unsubscribed(self, one: journal.Unsubscribed) -> None:
        self._streams.pop(one.topic, None)

    def _refused(self, one: journal.Refused) -> None:
        self._add("refused", one.text)

    def _told(self, one: Told) -> None:
        self._seen["messages"] += 1
        stream = self._streams.get(one.topic)
        if stream is None:
            self._add("order", f"{one.topic} at {one.height} though it is not subscribed")
            return
        self._marked(stream, one)
        if stream.kind in LATEST:
            self._latest(stream, one)
        elif stream.kind == "status":
            self._status(stream, one)
        elif one.snapshot:
            self._snapshot(stream, one)
        else:
            self._every(stream, one)
        if stream.resume is None:
            if one.height < self._highest:
                self._add("order", f"{one.topic} at {one.height} behind {self._highest}")
            self._highest = max(self._highest, one.height)
        if stream.kind == "blocks":
            self._block_is_over(one)

    def _marked(self, stream: Stream, one: Told) -> None:
        """What a block brings is marked with what `status` said before. What answers or leads over
        a gap may know of it sooner, what was missed is as it was.
        """
        if one.state is not None and one.state not in _STATES:
            self._add("mark", f"{one.topic}: state {one.state!r}")
        is_first = one.snapshot or (stream.kind in LATEST and stream.height is None)
        feed = self._feed
        if stream.kind == "status":
            feed = self._feeds.get(one.digest)
        elif stream.resume is not None or is_first:
            return
        where = f"{one.topic} at {one.height} is marked {one.state}"
        if stream.kind != "status" and _is_of_no_block(stream.kind, one.state):
            self._add("mark", f"{where}, and there is the block")
        if feed is None or (one.state in ("gap", "resyncing") and stream.kind != "status"):
            return
        if one.state != (None if feed == "live" else feed):
            self._add("mark", f"{where}, status said {feed}")

    def _latest(self, stream: Stream, one: Told) -> None:
        if one.prev != -1:
            self._add("chain", f"{one.topic} at {one.height} has a prev")
        if stream.height is not None and one.height <= stream.height:
            self._add("order", f"{one.topic}: {one.height} behind {stream.height}")
        stream.height, stream.digest = one.height, one.digest
        newest = self._together.newest.get(one.topic)
        if newest is None or one.height > newest.height:
            self._together.newest[one.topic] = Newest(one.height, one.digest)

    def _is_newest(self, stream: Stream, height: int) -> None:
        """Of a LATEST topic, that what the block of that height has done was told."""
        if stream.height is None:
            if stream.passed:
                self._add("missing", f"{stream.topic}: nothing up to {height}")
            stream.passed = True
            return
        assert stream.heights is not None
        at = bisect_right(stream.heights, height)
        if at and stream.heights[at - 1] > stream.height:
            what = f"{stream.height} is not the newest, {stream.heights[at - 1]} is, at {height}"
            self._add("missing", f"{stream.topic}: {what}")

    def _status(self, stream: Stream, one: Told) -> None:
        if one.prev is not None:
            self._add("chain", f"status with prev {one.prev}")
        if stream.height is not None and one.height < stream.height:
            self._add("order", f"status: {one.height} behind {stream.height}")
        stream.height = one.height
        if not stream.leaving:
            self._feed = self._feeds.get(one.digest)

    def _snapshot(self, stream: Stream, one: Told) -> None:
        self._seen["snapshots"] += 1
        if not stream.first and stream.gap is None:
            self._add("order", f"{one.topic}: a snapshot at {one.height} without a gap")
        if stream.gap is not None and one.height < stream.gap:
            self._add("gap", f"{one.topic}: a snapshot of {one.height} behind {stream.gap}")
        if one.part != (1, 1):
            self._add("torn", f"{one.topic}: a snapshot in parts")
        self._names_the_one_before(stream, one, up_to=one.height)
        stream.begun, stream.first, stream.gap = True, False, None
        stream.since = one.height
        stream.height = one.prev if one.prev is not None else None
        stream.known = one.prev is not None

    def _every(self, stream: Stream, one: Told) -> None:
        if not stream.begun or (stream.gap is not None and stream.kind in SNAPSHOTS_FIRST):
            self._add("order", f"{one.topic} at {one.height} without its snapshot")
        if self._is_further_part(stream, one):
            return
        since = stream.since
        if since is not None and one.height <= since:
            self._add("order", f"{one.topic}: {one.height} behind {since}")
        if stream.known and one.prev != stream.height:
            self._add("chain", f"{one.topic} at {one.height}: prev {one.prev}, had {stream.height}")
        self._names_the_one_before(stream, one, up_to=one.height - 1)
        self._nothing_between(stream, one.height - 1)
        if stream.heights is not None and not _has(stream.heights, one.height):
            self._add("invented", f"{one.topic} at {one.height}: the log has nothing for it")
        stream.height = stream.since = one.height
        stream.known, stream.first, stream.gap = True, False, None
        stream.parts = 0 if one.part[0] == one.part[1] else one.part[0]
        stream.prev = one.prev

    def _is_further_part(self, stream: Stream, one: Told) -> bool:
        """Whether it goes on with a message in parts; the first part is judged as a message."""
        i, n = one.part
        if not stream.parts:
            if i != 1:
                self._add("torn", f"{one.topic} at {one.height} begins with part {i} of {n}")
            return False
        if one.height != stream.height or i != stream.parts + 1:
            self._add("torn", f"{one.topic} at {one.height}: part {i} behind {stream.parts}")
            stream.parts = 0
            return False
        if one.prev != stream.prev:
            self._add("chain", f"{one.topic} at {one.height}: its parts differ in prev")
        stream.parts = 0 if i == n else i
        return True

    def _names_the_one_before(self, stream: Stream, one: Told, *, up_to: int) -> None:
        """`prev` is the log's; unknown at the beginning of a stream at most."""
        if one.prev is None:
            self._seen["prev unknown"] += 1
            if stream.known:
                self._add("chain", f"{one.topic} at {one.height}: prev is not known any more")
            return
        if stream.heights is None:
            return
        at = bisect_right(stream.heights, up_to)
        before = stream.heights[at - 1] if at else 0
        if one.prev != before:
            self._add("chain", f"{one.topic} at {one.height}: prev {one.prev}, not {before}")

    def _nothing_between(self, stream: Stream, up_to: int) -> None:
        """Everything of the log above `since` up to there has been told."""
        if stream.heights is None or stream.since is None:
            return
        first = bisect_right(stream.heights, stream.since)
        missing = stream.heights[first : bisect_right(stream.heights, up_to)]
        if missing:
            what = f"{len(missing)} from {missing[0]} on, up to {up_to}"
            self._add("missing", f"{stream.topic}: {what}")
            stream.since = up_to

    def _block_is_over(self, one: Told) -> None:
        """`blocks` ends a block: what came before it is all there is. Topics that are resumed may
        lag behind.
        """
        for stream in self._streams.values():
            if stream.kind in LATEST and not stream.leaving:
                self._is_newest(stream, one.height)
            if stream.kind not in EVERY or stream.kind == "status" or stream.resume is not None:
                continue
            if stream.gap is not None or stream.leaving:
                continue
            if stream.parts:
                self._add("torn", f"{stream.topic}: {stream.parts} parts, then block {one.height}")
            if stream.since is None:
                stream.since = one.height
            elif stream.begun and one.height > stream.since:
                self._nothing_between(stream, one.height)
                stream.since = one.height

    def _gap(self, one: journal.Gap) -> None:
        self._seen["gaps"] += 1
        stream = self._streams.get(one.topic)
        if stream is None or stream.kind not in RESUMABLE:
            self._add("gap", f"{one.topic}, which is not subscribed or can't have one")
            return
        since = stream.since if stream.since is not None else one.first - 1
        if one.first > since + 1:
            self._nothing_between(stream, one.first - 1)
        if one.last < one.first - 1:
            self._add("gap", f"{one.topic} from {one.first} to {one.last}")
        if not one.reason:
            self._add("gap", f"{one.topic} from {one.first} to {one.last} without a reason")
        stream.gap, stream.since, stream.known = one.last, one.last, False
        stream.height, stream.parts = None, 0

    def _closed(self, one: journal.Closed) -> None:
        self._seen[f"closed by {one.by}, {one.code}"] += 1
        if one.code not in _CODES:
            self._add("closed", f"{one.code} {one.reason}")
        found = _RESUME_FROM.fullmatch(one.reason)
        if found is not None:
            self._slow(int(found[1]), one.reason)
        self._streams = {}

    def _slow(self, height: int, reason: str) -> None:
        """What it says to resume from is not beyond what was read."""
        name = reason.removeprefix("too slow on ").rpartition(": resume")[0]
        kind, _, about = name.partition(":")
        for stream in self._streams.values():
            named = stream.kind == kind and stream.topic.partition(":")[2].startswith(about)
            if named and stream.begun and stream.resume is None:
                self._nothing_between(stream, height)

    def _finished(self, one: journal.Finished) -> None:
        self._seen["complete"] += 1
        self._complete = True
        for stream in self._streams.values():
            if stream.kind not in LATEST:
                self._nothing_between(stream, one.height)
                self._whole(stream)
            elif not stream.leaving:
                stream.passed = True
                self._is_newest(stream, one.height)
                if stream.height is not None:
                    end = Newest(stream.height, stream.digest)
                    self._together.ends.append((self._where, stream.topic, end))

    def _whole(self, stream: Stream) -> None:
        if stream.parts:
            self._add("torn", f"{stream.topic}: {stream.parts} parts at {stream.height}, no more")


def _is_of_no_block(kind: str, state: str | None) -> bool:
    """Whether that mark says that there is no block, or none that can be read."""
    return state == "stale" or (state == "gap" and kind in EVERY | {"blocks"})


def _has(heights: Sequence[int], height: int) -> bool:
    at = bisect_left(heights, height)
    return at < len(heights) and heights[at] == height
