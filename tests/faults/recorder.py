"""A client that keeps every message of its topics, and the promise that it checks: per topic,
heights strictly rise and each message names the one before, but where a chain begins; what is
missing was told by a gap message, and all that came is what a client of a clean run got. A LATEST
topic may leave heights out, and ends with the newest.
"""

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Message = dict[str, Any]
Topic = tuple[str, str]  # channel, and the coin or user; "" where it is of all
EVERY = frozenset(("trades", "l4Book", "bookDelta", "orderUpdates", "userFills"))
SNAPSHOTS: dict[str, Callable[[Any], bool]] = {
    "l4Book": lambda data: "Snapshot" in data,
    "bookDelta": lambda data: data.get("snapshot", False),
    "userFills": lambda data: data.get("isSnapshot", False),
}
PATIENCE_S = 60.0


class Missed(NamedTuple):
    """Heights that a gap message of a topic told of."""

    topic: Topic
    first: int
    last: int
    reason: str


def topic_of(message: Message) -> Topic:
    channel, data = message["channel"], message["data"]
    if channel == "gap":
        wanted = data["subscription"]
        return wanted["type"], wanted.get("coin") or wanted.get("user") or ""
    if channel == "trades":
        return channel, data[0]["coin"]
    if channel == "l4Book":
        inner = data.get("Snapshot") or data["Updates"]
        views = inner.get("order_statuses", ())
        steps = inner.get("book_diffs", ())
        coins = [
            inner.get("coin"),
            *(v["order"]["coin"] for v in views),
            *(s["coin"] for s in steps),
        ]
        return channel, next(filter(None, coins))
    if channel in ("orderUpdates", "clearinghouseState", "userFills", "openOrders"):
        return channel, message.get("user") or data["user"]
    return channel, data.get("coin", "") if isinstance(data, dict) else ""


class Recorder:
    """Reads in a thread of its own, as fast as it can."""

    def __init__(self, url: str, subscriptions: Iterable[dict[str, str]]) -> None:
        self.subscriptions = list(subscriptions)
        self.streams: dict[Topic, list[Message]] = {}
        self.backs: dict[Topic, set[int]] = {}  # where in them another connection begins
        self.height = 0  # of the newest block whose messages have all come
        self.ended = ""  # why, once it has
        self.refused = ""  # what can't be: an error message, one of no known topic
        self._news = threading.Condition()
        self._pongs = 0
        self._stack = ExitStack()  # the connection
        self._connect(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def come_back(self, url: str) -> None:
        """After the connection has ended: every topic from where it was on."""
        self._thread.join(PATIENCE_S)
        self._stack.close()
        for topic, told in self.streams.items():
            self.backs.setdefault(topic, set()).add(len(told))
        self._connect(url, resume=True)

    def close(self) -> None:
        self._stack.close()
        self._thread.join(PATIENCE_S)

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        """Until it holds. Raises `TimeoutError`, and `AssertionError` at once where what came is
        an error.
        """
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while not holds():
                if self.refused:
                    raise AssertionError(f"not {what}: {self.refused}")
                if self.ended or time.monotonic() > deadline:
                    raise TimeoutError(f"not {what}: at {self.height}, {self.ended or 'no end'}")
                self._news.wait(0.05)

    def reach(self, height: int) -> None:
        """All that is pushed up to that block."""
        self.wait(f"at {height}", lambda: self.height >= height)
        self.round_trip()

    def reach_topic(self, topic: Topic, height: int) -> None:
        """A message of that topic and height, or a later one."""
        self.wait(f"{topic} at {height}", lambda: self._newest(topic) >= height)

    def round_trip(self) -> None:
        """All that was pushed before now."""
        pongs = self._pongs
        self._socket.send('{"method":"ping"}')
        self.wait("answered", lambda: self._pongs > pongs)

    def of(self, channel: str, about: str = "") -> list[Message]:
        """What a topic said so far."""
        with self._news:
            return list(self.streams.get((channel, about), ()))

    @property
    def feed(self) -> list[str]:
        """The states of the feed, in the order in which they were told."""
        return [one["data"]["feed"]["state"] for one in self.of("status")]

    def await_feed(self, state: str, since: int = 0) -> None:
        """Until the feed was told to be so, behind the first `since` messages of `status`."""
        self.wait(f"told {state}", lambda: state in self._feed_since(since))

    def _feed_since(self, since: int) -> list[str]:
        told = self.streams.get(("status", ""), ())
        return [one["data"]["feed"]["state"] for one in told[since:]]

    def _newest(self, topic: Topic) -> int:
        heights = (one["height"] for one in self.streams.get(topic, ()) if "height" in one)
        return max(heights, default=0)

    def _connect(self, url: str, *, resume: bool = False) -> None:
        self.ended = ""
        connecting = connect(url, max_size=None, max_queue=None, open_timeout=PATIENCE_S)
        self._socket = self._stack.enter_context(connecting)
        for wanted in self.subscriptions:
            request: dict[str, Any] = {"method": "subscribe", "subscription": wanted}
            topic = wanted["type"], wanted.get("coin") or wanted.get("user") or ""
            if resume and topic[0] in EVERY:
                request["resume"] = {"height": max(self.height, self._newest(topic))}
            self._socket.send(json.dumps(request))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for text in self._socket:
                with self._news:
                    self._take(json.loads(text))
                    self._news.notify_all()
        except ConnectionClosed as error:
            ended = str(error)
        except Exception as error:  # noqa: BLE001 - who waits is told of it, whatever it is
            ended = self.refused = repr(error)
        else:
            ended = "closed"
        with self._news:
            self.ended = ended
            self._news.notify_all()

    def _take(self, message: Message) -> None:
        channel = message["channel"]
        if channel == "pong":
            self._pongs += 1
        elif channel == "error":
            raise AssertionError(message)
        elif channel != "subscriptionResponse":
            self.streams.setdefault(topic_of(message), []).append(message)
            if channel == "blocks":
                self.height = message["height"]


def check_stream(
    topic: Topic,
    told: list[Message],
    clean: dict[int, Message],
    first: int,
    last: int,
    *,
    backs: Collection[int] = (),
    rebuilt: bool = False,
) -> list[Missed]:
    """Asserts the promise for the heights above `first`, when the topic was subscribed, up to
    `last`; returns what was missed. `backs`: where in `told` another connection begins; `rebuilt`:
    something was known to be wrong, so that a LATEST topic may have begun again at its height.
    """
    missed: list[Missed] = []
    owed = sorted(height for height in clean if first < height <= last)
    at, is_every = first, topic[0] in EVERY
    chain: int | None = None  # what the next `prev` has to be, once it is known
    for place, message in enumerate(told):
        if place in backs:
            chain = None
            at = at if is_every else 0  # nothing is promised from one connection to the next
        if message["channel"] == "gap":
            gap = message["data"]
            assert gap["from"] >= at, (topic, at, gap)  # the message at `at` was found to be wrong
            missed.append(Missed(topic, gap["from"], gap["to"], gap["reason"]))
            owed = [one for one in owed if not gap["from"] <= one <= gap["to"]]
            chain = None
            continue
        height, prev = message["height"], message.get("prev")
        if topic[0] in SNAPSHOTS and SNAPSHOTS[topic[0]](message["data"]):
            assert height >= at, (topic, at, height)
            chain = prev
        else:
            begins = not is_every and (place == 0 or rebuilt)
            assert height > at or (begins and height == at), (topic, at, height)
            assert prev == chain or chain is None, (topic, height, prev, chain)
            chain = height if is_every else None
            owed = [one for one in owed if one != height]
            check_equal(topic, message, clean.get(height))
        at = height
        if is_every:
            assert not [one for one in owed if one < height], (topic, height, owed[:5])
    if is_every:
        assert not owed, (topic, owed[:5])
    else:
        assert at >= max((one for one in clean if one <= last), default=0), (topic, at, owed[-5:])
    return missed


def check_equal(topic: Topic, message: Message, clean: Message | None) -> None:
    """The same data at the same height, behind the same message. The time of a state that begins
    with a Hyperliquid node's snapshot is not known.
    """
    where = topic, message["height"]
    if clean is None:
        assert topic[0] not in EVERY, where
        return
    wanted, found = clean["data"], message["data"]
    if isinstance(found, dict) and found.get("time") == 0:
        wanted = wanted | {"time": 0}
    assert found == wanted, where
    if "prev" in clean:
        assert message["prev"] in (clean["prev"], None), (where, message["prev"], clean["prev"])
