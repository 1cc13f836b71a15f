"""What every topic should have said: the node's own blocks through a clean state and clean
channels, with no sockets, files, faults or waits in between; and the clean state held against the
chain's own books.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sidecar.api.channels import Channels
from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.api.topics import Topic
from sidecar.devnet.chain import Chain
from sidecar.devnet.rows import snapshot_rows
from sidecar.node.snapshot import RestingRow
from sidecar.node.transitions import ASK, BID, Block
from sidecar.state.chain import ChainState

Wanted = dict[str, set[int]]  # by topic: heights of which a snapshot was told
Asked = dict[int, dict[str, Any]]  # by height: info requests, by their text


class Oracle:
    """Every message that may be, by topic and height, of every way that the chain went."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self._of: dict[tuple[str, int], list[int]] = defaultdict(list)  # which way, of each of them
        self._way = 0  # that is followed now
        self._shown: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self._answered: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self._ways: Counter[int] = Counter()  # by height: how many ways have it
        self._told: Counter[tuple[str, int]] = Counter()  # how many of them say something there
        self.newest: dict[
            str, int
        ] = {}  # by topic: the height of the last push of the way in force
        self.final: dict[str, Any] = {}  # by topic: what a new subscriber is told at the end
        self.state = ChainState()

    def follow(
        self, blocks: dict[int, Block], keys: Iterable[str], wanted: Wanted, asked: Asked
    ) -> None:
        """One way, from the first block to the last. The last one that is followed is in force."""
        self._way += 1
        state = self.state = ChainState()
        channels = Channels(state)
        assert sorted(blocks) == list(range(1, len(blocks) + 1))
        state.apply(blocks[1])
        names = _open(channels, keys)
        self.newest = {}
        for height in range(2, len(blocks) + 1):
            changes = state.apply(blocks[height])
            self._ways[height] += 1
            for topic, message in channels.publish(changes):
                for key in names[topic]:
                    self._note(key, height, encode(message))
            for topic, of_topic in names.items():
                if any(height in wanted.get(key, ()) for key in of_topic):
                    self._show(channels, topic, of_topic, height)
            for text, payload in asked.get(height, {}).items():
                self._answered[text, height].append(encode(answer_info(state, payload)))
        self.final = {
            key: _plain(channels.snapshot(topic)) for topic, of in names.items() for key in of
        }

    def _note(self, key: str, height: int, text: bytes) -> None:
        if self.newest.get(key) != height:
            self._told[key, height] += 1
        self._said[key, height].append(text)
        self._of[key, height].append(self._way)
        self.newest[key] = height

    def _show(self, channels: Channels, topic: Topic, keys: list[str], height: int) -> None:
        shown = channels.snapshot(topic)
        if shown is not None:
            for key in keys:
                self._shown[key, height].append(encode(shown))

    def said(self, key: str, height: int) -> list[Any]:
        """What is told of a topic at a height, of whichever way."""
        return [plain(one) for one in self._said.get((key, height), ())]

    def ways(self, key: str, fits: Callable[[Any], bool], height: int) -> set[int]:
        """On which ways the chain told something of a topic at a height that `fits`."""
        said = zip(self.said(key, height), self._of.get((key, height), ()), strict=True)
        return {way for one, way in said if fits(one)}

    def shown(self, key: str, height: int) -> list[Any]:
        """What a new subscriber is told there; only where that was `wanted`."""
        return [plain(one) for one in self._shown.get((key, height), ())]

    def answers(self, text: str, height: int) -> list[Any]:
        """What that info request is answered there; only where it was `asked`."""
        return [msgspec.json.decode(one) for one in self._answered.get((text, height), ())]

    def is_told(self, key: str, height: int) -> bool:
        """Whether something is told of a topic at a height, whichever way the chain went."""
        return 0 < self._ways[height] == self._told[key, height]

    def against(self, chain: Chain) -> list[str]:
        """Where its books are not the chain's own, which knows nothing of this state's code."""
        theirs: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        for row in snapshot_rows(chain):
            if isinstance(row, RestingRow):
                theirs[row.market, row.side].append((row.oid, row.px, row.sz))
        wrong = []
        for market in self.state.markets.values():
            for side in (BID, ASK):
                ours = [(one.oid, one.px, one.sz) for one in market.book.queue(side)]
                if ours != theirs[market.id, side]:
                    wrong.append(f"the oracle's book of {market.symbol} is not the chain's")
        return wrong


def _open(channels: Channels, keys: Iterable[str]) -> dict[Topic, list[str]]:
    """The topics of those keys, some of which may mean the same."""
    names: dict[Topic, list[str]] = {}
    for key in keys:
        topic = channels.resolve(json.loads(key))
        if topic not in names:
            topic.channel.open(topic)
        names.setdefault(topic, []).append(key)
    return names


def plain(text: bytes) -> Any:
    """A message without what is said of the sidecar that sent it."""
    message = msgspec.json.decode(text)
    message.pop("state", None)
    return message


def _plain(message: Any) -> Any:
    return None if message is None else plain(encode(message))
