"""Judges what messages said (promise 3): the log is walked once, and at each height the data of
that height is held against it. Whoever read a topic at a height was told the same bytes.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tests.history import expected
from tests.history.chain_log import Block
from tests.history.journal import Answer, Content, Key
from tests.history.ledger import Chain
from tests.history.topics import LATEST, OF_NOBODY, OF_USERS, RESUMABLE, Topic, topic_of
from tests.history.violations import Violations
from tests.history.words import address, decimal

Heights = dict[str, "array[int]"]

_NO_CONTENT = frozenset(("time", "serverTime", "dayNtlVlm", "dayBaseVlm", "prevDayPx"))


class Said:
    """What is asked of messages when they are judged by their order, by their digests."""

    def __init__(self) -> None:
        self.feeds: dict[str, str] = {}  # its state, as messages of `status` said
        self.lasting: dict[str, int] = {}  # of LATEST topics what counts, where it is not derived

    def note(self, topic: Topic, one: Content, data: Any) -> None:
        """Keeps it."""
        if topic.kind == "status":
            self.feeds[one.digest] = data["feed"]["state"]
        elif topic.kind in LATEST and topic.kind not in ("l2Book", "bbo", "allMids", "blocks"):
            self.lasting[one.digest] = hash(msgspec.json.encode(_lasting(topic, data)))


def users_of(topics: Iterable[Topic]) -> set[bytes]:
    """Those whom some topic is about."""
    return {address(one.about.partition("/")[0]) for one in topics if _is_users(one)}


def walk(
    blocks: Iterable[Block],
    topics: Iterable[str],
    contents: Iterator[Content] = iter(()),  # noqa: B008 - an empty one is as good as another
    answers: Iterable[Answer] = (),
    found: Violations | None = None,
    seen: Counter[str] | None = None,
    said: Said | None = None,
) -> Heights:
    """Follows the log from its first block on; the heights at which each EVERY topic has a message,
    and at which what a LATEST topic shows became another. `contents` are by height.
    """
    found = Violations() if found is None else found
    seen = Counter[str]() if seen is None else seen
    named = {text: topic_of(text) for text in topics}
    chain = Chain(users_of(named.values()))
    chained = {text: topic for text, topic in named.items() if topic.kind in RESUMABLE}
    shown = {text: _Shown(topic) for text, topic in named.items() if topic.kind in LATEST}
    heights: Heights = {text: array("q") for text in (*chained, *shown)}
    judge = _Contents(chain, named, found, seen, Said() if said is None else said)
    answered = _by_height(answers)
    pending = next(contents, None)
    for block in blocks:
        chain.apply(block)
        for text, topic in chained.items():
            known = topic.about in chain.by_symbol or _is_users(topic)
            if known and expected.parts(chain, topic):
                heights[text].append(block.height)
        for text, one in shown.items():
            if one.differs(chain):
                heights[text].append(block.height)
        while pending is not None and pending.height <= block.height:
            judge.judge(pending)
            pending = next(contents, None)
        for answer in answered.pop(block.height, ()):
            _judge_answer(chain, answer, found, seen)
    while pending is not None:
        found.add("invented", f"{pending.topic} at {pending.height}, beyond the log")
        pending = next(contents, None)
    for height in answered:
        found.add("answer", f"an order was answered with block {height}, beyond the log")
    return heights


class _Shown:
    """What a LATEST topic shows, as far as it follows from the log."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._about = topic.about.rpartition("/")[2]
        self._counts: Any = None

    def differs(self, chain: Chain) -> bool:
        """Whether it does since it was asked last."""
        kind = self._topic.kind
        if kind not in OF_USERS | OF_NOBODY:
            market = chain.by_symbol.get(self._about)
            if market is None or (kind in ("l2Book", "bbo") and not market.diffs):
                return False
        counts = expected.counts(chain, self._topic)
        differs = bool(counts != self._counts)
        self._counts = counts
        return differs


class _Contents:
    """The data of one height after the other."""

    def __init__(
        self,
        chain: Chain,
        topics: dict[str, Topic],
        found: Violations,
        seen: Counter[str],
        said: Said,
    ) -> None:
        self._chain = chain
        self._topics = topics
        self._found = found
        self._seen = seen
        self._said = said
        self._digests: dict[Key, str] = {}
        self._height = 0

    def judge(self, one: Content) -> None:
        """What it says, and that it is what the others were told."""
        if one.height != self._chain.height:
            self._found.add("invented", f"{one.topic} at {one.height}, before the log")
            return
        self._seen["contents"] += 1
        topic = self._topics[one.topic]
        if one.height != self._height:
            self._digests, self._height = {}, one.height
        if topic.kind != "status":
            key = Key(one.topic, one.height, one.part, one.snapshot)
            if self._digests.setdefault(key, one.digest) != one.digest:
                self._found.add("bytes", f"{key} was told in two ways: {bytes(one.data)[:300]!r}")
        data = msgspec.json.decode(one.data)
        self._said.note(topic, one, data)
        what = self._wrong(topic, one, data)
        if what is not None:
            self._found.add("content", f"{one.topic} at {one.height}: {what}")

    def _wrong(self, topic: Topic, one: Content, data: Any) -> str | None:
        chain = self._chain
        if topic.kind in LATEST:
            return _wrong_latest(chain, topic, data, first=one.snapshot)
        if one.snapshot:
            return _differs(expected.snapshot(chain, topic), data)
        parts = expected.parts(chain, topic)
        if parts is None:
            return None
        i, n = one.part
        if n != len(parts) or not 0 < i <= n:
            return f"part {i} of {n}, the log has {len(parts)}"
        return _differs(parts[i - 1], data)


def _wrong_latest(chain: Chain, topic: Topic, data: Any, *, first: bool) -> str | None:
    if topic.kind == "blocks" and first:
        return _differs(expected.snapshot(chain, topic), data)
    if topic.kind == "openOrders":
        fields = ("oid", "coin", "side", "limitPx", "sz")
        shown = [one for one in data["orders"] if not one["isTrigger"]]
        told = sorted(tuple(one[name] for name in fields) for one in shown)
        return _differs(expected.resting_orders(chain, topic.about), told)
    if topic.kind == "clearinghouseState":
        return _wrong_account(chain, topic, data["clearinghouseState"])
    if topic.kind == "activeAssetData":
        market = chain.by_symbol[data["coin"]]
        return _differs(decimal(market.mark_px), data["markPx"])
    if topic.kind == "activeAssetCtx":
        market = chain.by_symbol[topic.about]
        px = (decimal(market.oracle_px), decimal(market.mark_px), expected.mid_px(market))
        ctx = data["ctx"]
        return _differs(px, (ctx["oraclePx"], ctx["markPx"], ctx["midPx"]))
    view = expected.view(chain, topic)
    return None if view is None else _differs(view, data)


def _wrong_account(chain: Chain, topic: Topic, account: Any) -> str | None:
    """Positions are those of the newest fills, and the value is the node's own where it told it in
    this block.
    """
    user = chain.users[address(topic.about)]
    held = [
        (chain.markets[market].symbol, decimal(size))
        for market, size in sorted(user.positions.items())
        if size
    ]
    told = [(one["position"]["coin"], one["position"]["szi"]) for one in account["assetPositions"]]
    if user.value is not None:
        value = account["marginSummary"]["accountValue"]
        if value != decimal(user.value):
            return f"account value {value}, the node says {decimal(user.value)}"
    return _differs(held, told)


def _lasting(topic: Topic, data: Any) -> Any:
    """What no time changes by itself. The books' part of `webData2` is told with the rest."""
    if topic.kind == "webData2":
        return _lasting_of(data["clearinghouseState"]), data["openOrders"]
    inner = {"clearinghouseState": "clearinghouseState", "activeAssetCtx": "ctx"}.get(topic.kind)
    return _lasting_of(data if inner is None else data[inner])


def _lasting_of(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    return {name: value for name, value in data.items() if name not in _NO_CONTENT}


def _differs(wanted: Any, told: Any) -> str | None:
    """What is different, in brief; `told` has gone through JSON."""
    if wanted == told:
        return None
    wanted_text, told_text = (msgspec.json.encode(one).decode() for one in (wanted, told))
    if wanted_text == told_text:
        return None
    at = next(
        (i for i, (a, b) in enumerate(zip(wanted_text, told_text, strict=False)) if a != b),
        min(len(wanted_text), len(told_text)),
    )
    around = slice(max(0, at - 60), at + 60)
    return f"told ...{told_text[around]}..., the log has ...{wanted_text[around]}..."


def _judge_answer(chain: Chain, answer: Answer, found: Violations, seen: Counter[str]) -> None:
    """The orders that it names are the sender's, in the block that it names."""
    for status in answer.statuses:
        if not isinstance(status, dict) or "error" in status:
            continue
        ((how, about),) = status.items()
        seen["orders answered"] += 1
        if chain.oids.get(about["oid"]) != address(answer.user):
            found.add("answer", f"order {about['oid']} {how} at {answer.height}: not in that block")


def _by_height(answers: Iterable[Answer]) -> dict[int, list[Answer]]:
    found: dict[int, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.height, []).append(answer)
    return found


def _is_users(topic: Topic) -> bool:
    return topic.kind in OF_USERS or topic.kind == "activeAssetData"
