"""A history as it should be, written without any sidecar: a small chain, and two readers of
everything, whose journals can then be spoilt.
"""

import hashlib
import json
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from sidecar.devnet.chain import Chain as Devnet
from sidecar.devnet.config import DevnetConfig
from sidecar.node.log_writer import LogWriter
from tests.history import expected, journal
from tests.history.chain_log import Block, read_blocks
from tests.history.contents import Said, users_of, walk
from tests.history.journal import Answer, Content, Entry, Told
from tests.history.ledger import Chain
from tests.history.streams import Judge, Together
from tests.history.topics import EVERY, LATEST, SNAPSHOTS_FIRST, Topic, text_of
from tests.history.violations import Violations
from tests.history.words import decimal, hex_of

BLOCKS, FIRST = 60, 20
COIN = "TOYOTA"
USER_KINDS = (
    *("orderUpdates", "userFills", "userEvents"),
    *("openOrders", "clearinghouseState", "webData2"),
)


def write_log(directory: Path) -> list[Block]:
    """A chain whose traders also pay and are paid funding."""
    config = DevnetConfig(path=directory, funding_ms=2_000, gamblers=4)
    chain, writer = Devnet(config), LogWriter(directory / "log", config.chain)
    for _ in range(BLOCKS):
        writer.append(chain.step())
    writer.close()
    return list(read_blocks(directory / "log"))


class History:
    """What two readers were told of the blocks from `FIRST` on; the second one came back once."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.user = self._busiest()
        self.topics = self._topics()
        self.names = [text_of(topic) for topic in self.topics]
        self.heights = walk(blocks, self.names)
        self.clients: list[list[Entry]] = [[journal.Opened(1, "one")], [journal.Opened(1, "one")]]
        self.contents: list[Content] = []
        self.answers: list[Answer] = []
        self._newest: dict[str, int] = {}
        self._written: set[tuple[str, int, str]] = set()
        self._write()
        self._said = Said()
        walk(blocks, self.names, iter(self.contents), said=self._said)

    def spoilt(self) -> "History":
        """Another one, to be spoilt."""
        other = object.__new__(History)
        other.__dict__ = self.__dict__ | {
            "clients": [list(entries) for entries in self.clients],
            "contents": list(self.contents),
            "answers": deepcopy(self.answers),
        }
        return other

    def judge(self) -> Violations:
        """By the checker's own parts."""
        found, seen = Violations(), Counter[str]()
        self.contents.sort(key=lambda one: one.height)
        contents, self._said = iter(self.contents), Said()
        walk(self.blocks, self.names, contents, self.answers, found, seen, self._said)
        return self.judge_streams(found)

    def judge_streams(self, found: Violations | None = None) -> Violations:
        """Likewise, of what was told only the order."""
        found, seen = Violations() if found is None else found, Counter[str]()
        said, together = self._said, Together()
        for number, entries in enumerate(self.clients):
            Judge(f"client {number}", self.heights, found, seen, said, together).judge(entries)
        together.judge(said.lasting, found)
        return found

    def save(self, directory: Path) -> None:
        """As recorders leave it."""
        records = journal.Journal(directory)
        for number, entries in enumerate(self.clients):
            with records.client(number) as file:
                for entry in entries:
                    journal.write_entry(file, entry)
        for one in self.contents:
            key = journal.Key(one.topic, one.height, one.part, one.snapshot)
            records.data(key, bytes(one.data))
        records.close()
        lines = [msgspec.json.encode(one) for one in self.answers]
        (directory / "orders.jsonl").write_bytes(b"\n".join(lines))

    def at(self, kind: str, number: int = 0, *, first: bool = False) -> list[int]:
        """Where in a client's journal messages of a kind are."""
        return [
            at
            for at, one in enumerate(self.clients[number])
            if isinstance(one, Told)
            and one.topic.partition(":")[0].partition(" ")[0] == kind
            and one.snapshot == first
        ]

    def say_otherwise(self, kind: str, change: Any, *, everybody: bool = True) -> None:
        """The last message of a kind says something else, to all or to one."""
        at = self.at(kind)[-1]
        told = self.clients[0][at]
        assert isinstance(told, Told)
        place = next(
            i
            for i, one in enumerate(self.contents)
            if (one.topic, one.height, one.part) == (told.topic, told.height, told.part)
        )
        data = msgspec.json.decode(self.contents[place].data)
        data = change(data)
        other = _content(told.height, told.topic, told.part, data, first=told.snapshot)
        if everybody:
            self.contents[place] = other
        else:
            self.contents.append(other)

    def tell(
        self, number: int, at: int, topic: str, height: int, data: Any, prev: int | None = -1
    ) -> None:
        """One more message, to one."""
        content = _content(height, topic, (1, 1), data, first=False)
        self.contents.append(content)
        self.clients[number].insert(at, Told(topic, height, prev, (1, 1), False, content.digest))

    def _busiest(self) -> str:
        legs = (
            leg[0]
            for block in self.blocks
            for tag, *fields in block.transitions
            for leg in (fields[-2:] if tag == 6 else ())
        )
        return hex_of(Counter(legs).most_common(1)[0][0])

    def _topics(self) -> list[Topic]:
        kinds = ("trades", "l4Book", "bookDelta", "l2Book", "bbo", "activeAssetCtx")
        topics = [Topic(kind, COIN) for kind in kinds]
        topics += [Topic("candle", COIN, (("interval", "1m"),)), Topic("allMids")]
        topics += [Topic(kind, self.user) for kind in USER_KINDS]
        topics += [Topic("activeAssetData", f"{self.user}/{COIN}")]
        topics += [Topic("userFundings", self.user), Topic("status"), Topic("blocks")]
        return topics

    def _write(self) -> None:
        chain = Chain(users_of(self.topics))
        for block in self.blocks:
            chain.apply(block)
            if block.height == FIRST:
                self._note(chain, block.height)
                for entries in self.clients:
                    self._begin(chain, entries)
            elif block.height > FIRST:
                for topic in self.topics:
                    self._tell(chain, topic)
                if block.height == (FIRST + BLOCKS) // 2:
                    self._come_back(chain)
            self._note(chain, block.height)
            if block.height == BLOCKS - 1:
                order = next(iter(chain.oids.items()))
                status = {"resting": {"oid": order[0]}}
                self.answers.append(Answer(hex_of(order[1]), block.height, [status]))
        for entries in self.clients:
            entries.append(journal.Finished(BLOCKS))

    def _begin(self, chain: Chain, entries: list[Entry]) -> None:
        for topic in self.topics:
            entries.append(journal.Subscribed(text_of(topic), None))
            data: Any = expected.snapshot(chain, topic)
            if topic.kind in SNAPSHOTS_FIRST:
                data = _STATUS if topic.kind == "status" else data
                prev = None if topic.kind == "status" else self._newest.get(text_of(topic), 0)
                self._say(entries, chain.height, topic, data, prev, first=topic.kind != "status")
            elif topic.kind in LATEST:
                self._say_latest(entries, chain, topic)

    def _tell(self, chain: Chain, topic: Topic) -> None:
        text, height = text_of(topic), chain.height
        if topic.kind == "status" or (topic.kind in LATEST and height not in self.heights[text]):
            return
        prev = self._newest.get(text_of(topic), 0) if topic.kind in EVERY else -1
        parts = expected.parts(chain, topic) if topic.kind in EVERY else [_view(chain, topic)]
        assert parts is not None
        for i, data in enumerate(parts, 1):
            for entries in self.clients:
                self._say(entries, chain.height, topic, data, prev, part=(i, len(parts)))

    def _come_back(self, chain: Chain) -> None:
        """The second one, to where it was."""
        entries = self.clients[1]
        height = (FIRST + BLOCKS) // 2
        entries += [journal.Closed("client", 1000, ""), journal.Opened(2, "workers")]
        for topic in self.topics:
            resume = height if topic.kind in EVERY and topic.kind != "status" else None
            entries.append(journal.Subscribed(text_of(topic), resume))
            if topic.kind in LATEST:
                self._say_latest(entries, chain, topic)
            elif topic.kind == "status":
                self._say(entries, chain.height, topic, _STATUS, None)

    def _say_latest(self, entries: list[Entry], chain: Chain, topic: Topic) -> None:
        """What one of these begins with."""
        if topic.kind == "blocks":
            data = expected.snapshot(chain, topic)
            self._say(entries, chain.height, topic, data, -1, first=True)
        else:
            self._say(entries, chain.height, topic, _view(chain, topic), -1)

    def _note(self, chain: Chain, height: int) -> None:
        for topic in self.topics:
            known = topic.about in chain.by_symbol or topic.about == self.user
            if topic.kind in EVERY and known and expected.parts(chain, topic):
                self._newest[text_of(topic)] = height

    def _say(
        self,
        entries: list[Entry],
        height: int,
        topic: Topic,
        data: Any,
        prev: int | None,
        *,
        part: tuple[int, int] = (1, 1),
        first: bool = False,
    ) -> None:
        content = _content(height, text_of(topic), part, data, first=first)
        key = (content.topic, height, content.digest)
        if key not in self._written:
            self._written.add(key)
            self.contents.append(content)
        entries.append(Told(text_of(topic), height, prev, part, first, content.digest))


_STATUS = {"feed": {"state": "live"}, "coins": {}, "users": {}, "age": 0}


def _view(chain: Chain, topic: Topic) -> Any:
    """Of topics that are judged by some fields, those."""
    if topic.kind == "openOrders":
        names = ("oid", "coin", "side", "limitPx", "sz")
        resting = expected.resting_orders(chain, topic.about)
        orders = [dict(zip(names, one, strict=True)) | {"isTrigger": False} for one in resting]
        return {"user": topic.about, "orders": orders}
    if topic.kind == "clearinghouseState":
        (user,) = chain.users.values()
        held = [
            {"position": {"coin": chain.markets[market].symbol, "szi": decimal(size)}}
            for market, size in sorted(user.positions.items())
            if size
        ]
        value = None if user.value is None else decimal(user.value)
        account = {"assetPositions": held, "marginSummary": {"accountValue": value}}
        return {"user": topic.about, "clearinghouseState": account}
    if topic.kind == "webData2":
        account = _view(chain, Topic("clearinghouseState", topic.about))
        orders = _view(chain, Topic("openOrders", topic.about))["orders"]
        return account | {"openOrders": orders, "serverTime": chain.time_ns}
    if topic.kind == "activeAssetData":
        whose, _, coin = topic.about.partition("/")
        mark_px = decimal(chain.by_symbol[coin].mark_px)
        return {"user": whose, "coin": coin, "markPx": mark_px}
    if topic.kind == "activeAssetCtx":
        market = chain.by_symbol[topic.about]
        px = (market.oracle_px, market.mark_px)
        ctx = dict(zip(("oraclePx", "markPx"), map(decimal, px), strict=True))
        return {"coin": topic.about, "ctx": ctx | {"midPx": expected.mid_px(market)}}
    return expected.view(chain, topic)


def _content(height: int, topic: str, part: tuple[int, int], data: Any, *, first: bool) -> Content:
    text = json.dumps(data).encode()
    digest = hashlib.blake2b(text, digest_size=10).hexdigest()
    return Content(height, topic, part, first, digest, msgspec.Raw(text))
