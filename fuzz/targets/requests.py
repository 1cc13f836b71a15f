"""What WebSocket clients say, a request a line, to a real chain's state: each has an answer that
can be encoded, or a documented error whose message can be. An empty line is the next block: the
messages of whatever is subscribed to can be encoded, and heights and `prev` go on. From a line
`wrong` on all books and accounts are known to be wrong: what is asked of them may be unavailable,
but to subscribe and to leave is not.
"""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

import chain_case
from mutators.jsons import mutate_lines
from serving import check_chained, watch
from sidecar.api.channels import Channels, gap_message
from sidecar.api.info import answer_info
from sidecar.api.messages import ChainedPush, Push, Reply, encode
from sidecar.api.requests import Post, Request, Subscribe, Unsubscribe, decode_json, decode_request
from sidecar.api.topics import Message, Topic
from sidecar.errors import RequestInvalid, StateUnavailable
from sidecar.state.chain import ChainState
from sidecar.state.faults import Fault

AIMED_AT = (
    "sidecar.api.requests",
    "sidecar.api.topics",
    "sidecar.api.messages",
    *(f"sidecar.api.info.{name}" for name in ("account", "history", "market", "orders", "past")),
    *(f"sidecar.api.channels.{name}" for name in ("l2_book", "l4_book", "candle", "book_delta")),
)
TOKENS = (
    b"\nwrong\n",
    b'"dex":""',
    b'"nSigFigs":',
    b'"mantissa":',
    b'"nLevels":',
    b'"interval":"1M"',
    b"\n\n",
)
_WRONG = b"wrong"
_LINES_MAX = 40

_DECODE = msgspec.json.Decoder().decode


def check(data: bytes) -> None:
    """Says the lines to a server that was never asked anything before."""
    client = _Client()
    for line in data.split(b"\n")[:_LINES_MAX]:
        if line == _WRONG:
            client.doubt()
        elif line:
            client.say(line.decode(errors="replace"))
        else:
            client.next_block()
    client.leave()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other lines."""
    return mutate_lines(data, rng)


def _live_state() -> ChainState:
    state = chain_case.new_state()
    watch(state)
    return state


class _Client:
    """One client and its server; a fresh state only where a block changed the one before."""

    _kept: ChainState | None = None

    def __init__(self) -> None:
        self._state = _Client._kept or _live_state()
        _Client._kept = self._state
        self._channels = Channels(self._state)
        self._following = iter(chain_case.blocks()[chain_case.HEIGHT :])
        self._topics: dict[Topic, int | None] = {}  # with the `prev` of its snapshot
        self._last: dict[Topic, ChainedPush] = {}

    def say(self, text: str) -> None:
        """A message of the client's, and its answer."""
        try:
            told: Any = list(self._answer(decode_request(text)))
        except RequestInvalid as error:
            told = [Reply("error", str(error))]
        for one in told:
            _DECODE(encode(one))

    def doubt(self) -> None:
        """All books and accounts are known to be wrong. What is withheld breaks the chains."""
        state, _Client._kept = self._state, None
        for market in state.markets.values():
            state.mark_book(market, "as the node says")
        fault = Fault(state.height, "as the node says")
        state.faults.accounts |= dict.fromkeys(state.users.by_address, fault)

    def next_block(self) -> None:
        """A block, and what those who read get of it."""
        block = next(self._following, None)
        if block is None:
            return
        _Client._kept = None
        for topic, message in self._channels.publish(self._state.apply(block)):
            assert message.height == block.height
            self._check(topic, message)
            if isinstance(message, ChainedPush) and not self._state.faults:
                check_chained(self._last.get(topic), message)
                if topic not in self._last:  # docs/api.md tells clients so
                    assert self._topics[topic] in (None, message.prev)
                self._last[topic] = message

    def leave(self) -> None:
        """What else may be said of the topics; then nobody reads them."""
        for topic in self._topics:
            encode(gap_message(topic, 1, self._state.height, "a reason"))
            again = self._channels.resolve(topic.subscription())
            assert again is topic, "a topic's own subscription leads to another one"
        for restarted in self._channels.restart(lambda _: True, 1, "a reason"):
            encode([restarted.gap, restarted.snapshot])
        for topic in self._topics:
            topic.channel.close(topic)

    def _answer(self, request: Request) -> Iterator[Reply | Message]:
        if isinstance(request, Subscribe):
            yield from self._subscribe(request)
        elif isinstance(request, Unsubscribe):
            topic = self._channels.resolve(request.subscription)
            if self._topics.pop(topic, topic) is not topic:
                topic.channel.close(topic)
                self._last.pop(topic, None)
        elif isinstance(request, Post) and request.request.type == "info":
            payload = decode_json(request.request.payload)
            try:
                answer = answer_info(self._state, payload)
            except StateUnavailable as error:
                answer = str(error)
            yield Reply("post", {"id": request.id, "response": answer})
        else:
            yield Reply("pong", request)

    def _subscribe(self, request: Subscribe) -> Iterator[Reply | Message]:
        topic = self._channels.resolve(request.subscription)
        if topic in self._topics:
            return
        topic.channel.open(topic)
        self._topics[topic] = None
        known = ("type", *topic.channel.parameters.__struct_encode_fields__)
        asked = request.subscription
        yield Reply("subscriptionResponse", {name: asked[name] for name in known if name in asked})
        snapshot = self._channels.snapshot(topic)
        if snapshot is not None:
            self._check(topic, snapshot)
            if isinstance(snapshot, ChainedPush):
                self._topics[topic] = snapshot.prev

    def _check(self, topic: Topic, message: Message) -> None:
        _DECODE(encode(message))
        assert topic in self._topics
        assert isinstance(message, Push | ChainedPush)
