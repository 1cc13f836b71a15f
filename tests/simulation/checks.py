"""A checker for each promise (docs/testing.md). Each returns what is wrong, in words; nothing if
all is well.
"""

from typing import Any

from sidecar.api.channels import REGISTRY
from sidecar.api.topics import Delivery
from tests.simulation.beginnings import Beginnings
from tests.simulation.client import Client, Reading
from tests.simulation.node import SimulatedNode
from tests.simulation.oracle import Oracle, Wanted, plain

DELIVERIES = {channel.name: channel.delivery for channel in REGISTRY}
_OWN = frozenset(("status",))  # speaks of the sidecar, not of the chain
_HISTORIES = {  # what they begin with depends on how far back a sidecar remembers
    "userFills": "fills",
    "userFundings": "fundings",
    "userNonFundingLedgerUpdates": "nonFundingLedgerUpdates",
}
_SINCE_THEN = frozenset(("cumFunding", "cumLedger"))  # sums from where a sidecar began
# Null until a sidecar has known them for long enough.
_KNOWN_LATER = frozenset(("funding", "prevDayPx", "dayNtlVlm", "dayBaseVlm"))
_PARTIAL = frozenset(("candle",))  # those that began before the sidecar knew of trades are not told
_WITH_SNAPSHOT = frozenset(  # of EVERY channels: what a new subscriber gets first
    ("bookDelta", "l4Book", *_HISTORIES)
)


def wanted(readings: list[Reading]) -> Wanted:
    """Of which topics and heights the oracle is to say what a new subscriber is shown."""
    asked: Wanted = {}
    for reading in readings:
        kind = reading.subscription["type"]
        for text in reading.texts:
            message = plain(text)
            if "height" in message and (
                DELIVERIES[kind] is Delivery.LATEST or is_snapshot(message)
            ):
                asked.setdefault(reading.key, set()).add(message["height"])
    return asked


def streams(readings: list[Reading], oracle: Oracle, beginnings: Beginnings) -> list[str]:
    """What each subscription was told, message by message: promise 2, and 3 for what is in them."""
    return [what for reading in readings for what in _Stream(reading, oracle, beginnings).check()]


class _Stream:
    """One reading, gone through from its first message to its last."""

    def __init__(self, reading: Reading, oracle: Oracle, beginnings: Beginnings) -> None:
        self._reading = reading
        self._oracle = oracle
        self._beginnings = beginnings
        self._resumed = reading.resumed  # until a message came
        self._kind = reading.subscription["type"]
        every = self._kind not in _OWN and DELIVERIES[self._kind] is Delivery.EVERY
        # The height up to which nothing is missing; the rest has nothing to resume.
        self._last: int | None = reading.resumed if every else None
        self._exact = False  # whether the next message's `prev` is that very height
        # Something came, or was resumed: no snapshot may come by itself.
        self._begun = self._last is not None
        self._gap_to: int | None = None  # the end of a gap, if that came last
        self._part: tuple[int, int] | None = None
        self._wrong: list[str] = []

    def check(self) -> list[str]:
        """What is wrong with it."""
        for text in self._reading.texts:
            message = plain(text)
            if message["channel"] == "gap":
                self._gap(message["data"])
            elif self._kind in _OWN:
                self._own(message)
            elif DELIVERIES[self._kind] is Delivery.LATEST:
                self._latest(message)
            else:
                self._every(message)
        return self._wrong[:3]

    def _gap(self, data: dict[str, Any]) -> None:
        if data["from"] > data["to"] + 1:
            self._say(f"a gap from {data['from']} to {data['to']}")
        is_whole = self._exact or self._kind not in _PARTIAL  # else it was not told by right
        if is_whole and (missing := self._missing(data["from"])):
            self._say(f"a gap from {data['from']} on, but {missing} are missing, too")
        self._last = self._gap_to = data["to"]
        self._resumed = None
        self._exact, self._begun, self._part = False, False, None

    def _own(self, message: dict[str, Any]) -> None:
        if self._last is not None and message["height"] < self._last:
            self._say(f"height {message['height']} after {self._last}")
        self._last = message["height"]

    def _latest(self, message: dict[str, Any]) -> None:
        height = message["height"]
        if self._last is not None and not self._is_newer(height, self._last):
            self._say(f"height {height} after {self._last}")
        self._last = height
        if not self._fits(message, height):
            self._say(f"not what the chain says at height {height}: {message}", 3)

    def _is_newer(self, height: int, last: int) -> bool:
        """A topic has one message a block, and a new snapshot where it was rebuilt."""
        again = self._beginnings.was_rebuilt(self._reading.incarnation, height)
        return height > last or (height == last and again)

    def _every(self, message: dict[str, Any]) -> None:
        height, prev = message["height"], message["prev"]
        if prev is None and self._should_know(message):
            self._say(f"height {height} says it knows of none before")
        self._resumed = None
        if is_snapshot(message):
            if self._begun:
                self._say(f"a snapshot at {height} out of nothing")
            self._leads_on(height)
            if not self._fits(message, height):
                self._say(f"not what the chain says at height {height}: {str(message)[:300]}", 3)
            self._last, self._exact, self._begun = height, False, True
            return
        if self._kind in _WITH_SNAPSHOT and not self._begun:
            self._say(f"height {height} without a snapshot before it")
        self._gap_to = None
        if not self._follows_part(message):
            self._check_order(height, prev)
        self._last, self._exact, self._begun = height, True, True
        if not self._was_pushed(message, height):
            self._say(f"never told by the chain at height {height}: {str(message)[:300]}", 3)

    def _check_order(self, height: int, prev: int | None) -> None:
        if self._last is not None:
            if height <= self._last:
                self._say(f"height {height} after {self._last}")
            elif not self._continues(prev, height):
                self._say(f"height {height} says it follows {prev}, we have {self._last}")
        if prev is not None and prev >= height:
            self._say(f"height {height} says it follows {prev}")

    def _should_know(self, message: dict[str, Any]) -> bool:
        """Whether its sidecar has had a message of the topic before this one, or has to have known
        of one: not of those before the snapshot that it started from, nor of those before a height
        to resume from that is no message's, or that very snapshot's.
        """
        height, key = message["height"], self._reading.key
        if self._resumed is not None and (
            not self._oracle.is_told(key, self._resumed)
            or self._beginnings.ran_again_from(self._reading.incarnation, self._resumed)
        ):
            return False
        if self._kind in _PARTIAL:
            return self._exact
        since = self._beginnings.before(self._reading.incarnation, height)
        behind = height + 1 if is_snapshot(message) else height
        return any(self._oracle.is_told(key, at) for at in range(since + 1, behind))

    def _leads_on(self, height: int) -> None:
        """A snapshot behind a gap begins where the gap ends."""
        end, self._gap_to = self._gap_to, None
        if end is not None and (height < end or self._missing(height + 1)):
            self._say(f"a snapshot at {height} behind a gap up to {end}")

    def _continues(self, prev: int | None, height: int) -> bool:
        """Whether a message follows what came before. A sidecar that began with a snapshot does not
        know the height before its first one, and says so: null.
        """
        assert self._last is not None
        if prev is None:  # candles that are not whole are not told
            return (self._kind in _PARTIAL and not self._exact) or not self._missing(height)
        return prev == self._last if self._exact else prev <= self._last

    def _missing(self, height: int) -> list[int]:
        """The heights below that one at which the chain told something that was not told here."""
        between = range(height if self._last is None else self._last + 1, height)
        return [at for at in between if self._oracle.is_told(self._reading.key, at)]

    def _was_pushed(self, message: dict[str, Any], height: int) -> bool:
        return is_one_of(message, self._oracle.said(self._reading.key, height))

    def _follows_part(self, message: dict[str, Any]) -> bool:
        """Whether it goes on with a block of which some has come."""
        part, before = message.get("part"), self._part
        self._part = None
        if part is None:
            if before is not None:
                self._say(f"part {before} was the last one")
            return False
        number, count = part
        if number < count:
            self._part = (number, count)
        if number == 1:
            if before is not None:
                self._say(f"part {part} after {before}")
            return False
        if before != (number - 1, count) or message["height"] != self._last:
            self._say(f"part {part} at {message['height']} after {before} at {self._last}")
        return True

    def _fits(self, message: dict[str, Any], height: int) -> bool:
        key, oracle = self._reading.key, self._oracle
        if self._kind in _HISTORIES:
            return any(self._is_end_of(message, one) for one in oracle.shown(key, height))
        return is_one_of(message, oracle.said(key, height) + oracle.shown(key, height))

    def _is_end_of(self, message: dict[str, Any], whole: dict[str, Any]) -> bool:
        """Whether a history is the newest part of the whole one, with all that came since its
        sidecar has known the chain.
        """
        field = _HISTORIES[self._kind]
        entries, every = message["data"][field], whole["data"][field]
        height, key = message["height"], self._reading.key
        since = self._beginnings.before(self._reading.incarnation, height)
        known = sum(self._count_at(key, at) for at in range(since + 1, height + 1))
        rest = {"data": message["data"] | {field: every}}
        if message["prev"] is None:
            rest["prev"] = whole["prev"]
        return (
            message | rest == whole
            and len(entries) >= min(known, len(every))
            and entries == every[len(every) - len(entries) :]
        )

    def _count_at(self, key: str, height: int) -> int:
        """How many entries a block has, whichever way the chain went."""
        said = self._oracle.said(key, height) if self._oracle.is_told(key, height) else []
        return min((len(one["data"][_HISTORIES[self._kind]]) for one in said), default=0)

    def _say(self, what: str, promise: int = 2) -> None:
        self._wrong.append(f"promise {promise}: {self._reading.key}: {what}")


def ends(clients: list[Client], oracle: Oracle, height: int) -> list[str]:
    """Promise 2 at the end, when all is calm: whoever still reads has had everything."""
    wrong = []
    for client in clients:
        connection = client.connection
        for reading in () if connection is None else connection.reads.values():
            what = _end(reading, oracle, height) if reading.confirmed else None
            if what is not None:
                wrong.append(f"client {client.number}, {reading.key}: {what}")
    return wrong


def _end(reading: Reading, oracle: Oracle, height: int) -> str | None:
    kind = reading.subscription["type"]
    if kind in _OWN or kind in _PARTIAL:
        return None
    told = [one for one in map(plain, reading.texts) if "height" in one]
    if kind in _WITH_SNAPSHOT and _awaits_snapshot(reading):
        return "no snapshot came"
    if DELIVERIES[kind] is Delivery.EVERY:
        newest = oracle.newest.get(reading.key, 0)
        last = max(map(_reaches, map(plain, reading.texts)), default=0)
        begun = _begun_at(reading)
        if begun is not None and newest > max(last, begun):
            return f"it ends at {last}, the chain's last is {newest}"
        return None
    final = oracle.final[reading.key]
    if final is None:
        return None
    if kind == "blocks":
        last = told[-1]["height"] if told else 0
        return None if last == height else f"the newest block is {height}, told was {last}"
    if not told:
        return "nothing was ever told"
    if not agrees(_timeless(told[-1]), _timeless(final)):
        return f"at height {height} it is still as at {told[-1]['height']}: {told[-1]}"
    return None


def _awaits_snapshot(reading: Reading) -> bool:
    """Whether the next message has to be one."""
    if not reading.texts:
        return reading.resumed is None
    return bool(plain(reading.texts[-1])["channel"] == "gap")


def _reaches(message: dict[str, Any]) -> int:
    """Up to which height something was told, be it that it is missing."""
    height: int = message["data"]["to"] if message["channel"] == "gap" else message["height"]
    return height


def _begun_at(reading: Reading) -> int | None:
    """The height above which its messages were asked for; None where only the sidecar knows."""
    if reading.resumed is not None:
        return reading.resumed
    first = next((one for one in map(plain, reading.texts) if "height" in one), None)
    return None if first is None else int(first["height"])


def _timeless(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _timeless(one) for name, one in value.items() if name not in _TIMES}


# Markets alone make no message of `webData2`.
_TIMES = frozenset(("time", "serverTime", "height", "assetCtxs"))


def is_one_of(message: dict[str, Any], expected: list[Any]) -> bool:
    if message.get("prev", 0) is None:  # it does not claim to know
        expected = [{**one, "prev": None} for one in expected]
    return message in expected or any(agrees(message, one) for one in expected)


def agrees(told: Any, whole: Any, name: str = "") -> bool:
    """Whether that is what there is to say, but for what depends on how far back a sidecar
    remembers.
    """
    if isinstance(told, dict) and isinstance(whole, dict):
        return told.keys() == whole.keys() and all(
            name in _SINCE_THEN or agrees(value, whole[name], name) for name, value in told.items()
        )
    if isinstance(told, list) and isinstance(whole, list):
        return len(told) == len(whole) and all(map(agrees, told, whole))
    return bool(told == whole or (told is None and name in _KNOWN_LATER))


def is_snapshot(message: dict[str, Any]) -> bool:
    """Whether it is what a subscription to an EVERY topic begins with."""
    data = message["data"]
    if not isinstance(data, dict):
        return False
    return bool(data.get("snapshot") or data.get("isSnapshot") or "Snapshot" in data)


def orders(clients: list[Client], node: SimulatedNode) -> list[str]:
    """Promise 1 for orders: sent once at most, and said to be executed only if they were."""
    wrong = []
    for client in clients:
        for sent in client.sent:
            count = node.submission.received.count(sent.body)
            if count > 1:
                wrong.append(f"an action was sent {count} times: {sent.body[:80]!r}")
            answer = sent.answer
            if answer is None:
                continue
            if _is_executed(answer["data"]["response"]["payload"]) and answer.get(
                "height"
            ) not in node.executed.get(sent.body, ()):
                wrong.append(f"said to be executed, but no block did: {answer}")
    return wrong


def _is_executed(payload: Any) -> bool:
    """Whether it says that something was done: orders that are refused one by one are not."""
    if not isinstance(payload, dict) or payload.get("status") != "ok":
        return False
    statuses = payload["response"].get("data", {}).get("statuses", [{}])
    return any(not isinstance(one, dict) or "error" not in one for one in statuses)
