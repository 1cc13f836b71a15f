"""What the pipeline does with a node's blocks, for somebody who reads everything."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

import chain_case
from sidecar.api.channels import REGISTRY, Channels
from sidecar.api.info import HANDLERS, answer_info
from sidecar.api.messages import ChainedPush, encode, hex_text
from sidecar.api.topics import Topic
from sidecar.errors import RequestInvalid, StateUnavailable
from sidecar.node.transitions import Block
from sidecar.state.candles import INTERVALS
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows, restorer
from sidecar.state.health import Bounds, Health
from sidecar.state.users import User

_FOR_EVER = 1 << 62
_ENCODE = msgspec.msgpack.Encoder().encode
_USERS = 1  # of those that blocks name, whose topics are read
_NO_BOUNDS = Bounds(_FOR_EVER, _FOR_EVER)


def check_chained(before: ChainedPush | None, message: ChainedPush) -> None:
    """Holds `prev`: all parts of a block's message have that of the first."""
    if before is None:
        return
    same_block = message.height == before.height
    assert message.prev == (before.prev if same_block else before.height)


def watch(state: ChainState) -> None:
    """It is live, but for what is known to be wrong."""
    state.health = Health(state, _NO_BOUNDS)
    state.health.note_block(0, 0, 0)


class Reader:
    """A server of one state, lenient as the product's is, and one who reads all of it."""

    def __init__(self, state: ChainState, blocks: Sequence[Block] = ()) -> None:
        """`blocks`: what is to come; whom it names is read."""
        self.state = state
        self._blocks = blocks
        named = (getattr(one, "user", None) for block in blocks for one in block.transitions)
        self._users = [one for one in dict.fromkeys(named) if isinstance(one, bytes)][:_USERS]
        watch(state)
        self._channels = Channels(state)
        self._last: dict[Topic, ChainedPush] = {}
        self._open_all()

    def follow(self) -> None:
        """Applies the blocks, and encodes all that is sent."""
        for block in self._blocks:
            for topic, message in self._channels.publish(self.state.apply(block)):
                encode(message)
                assert message.height == block.height
                if isinstance(message, ChainedPush) and self._is_chained(topic):
                    check_chained(self._last.get(topic), message)
                    self._last[topic] = message
            self._open_all()

    def check(self) -> None:
        """Asks everything, looks at everything, and makes a checkpoint that can be read."""
        state = self.state
        for market in state.markets.values():
            if market.fault is None:
                market.book.check_invariants()
        for topic in self._channels_open():
            snapshot = self._channels.snapshot(topic)
            if snapshot is not None:
                encode(snapshot)
        for address in self._readable():
            for name in HANDLERS:
                self._ask(name, state.users.look(address))
        if not state.faults:  # what is wrong is not kept
            self._check_checkpoint()

    def _is_chained(self, topic: Topic) -> bool:
        """Whether `prev` goes on. `status` has none; what was withheld is told by a gap message;
        refused orders that came encoded are in no height while nobody reads (docs/api.md).
        """
        state = self.state
        held = state.faults.found or state.users.refusals_encoded
        return topic.channel.name != "status" and not held

    def _check_checkpoint(self) -> None:
        state, restored = self.state, ChainState(strict=False)
        rows = list(checkpoint_rows(state))
        restorer(restored, state.height, state.time_ns).rows(rows)
        assert list(checkpoint_rows(restored)) == rows
        with suppress(OverflowError):  # numbers beyond 64 bits: then no checkpoint is written
            for row in rows:
                _ENCODE(row)

    def _readable(self) -> list[bytes]:
        newest = list(self.state.users.by_address)[-1:]
        return [one for one in dict.fromkeys([*self._users, *newest]) if len(one) == 20]

    def _channels_open(self) -> list[Topic]:
        return [topic for kind in REGISTRY for topic in self._open_of(kind.name)]

    def _open_of(self, name: str) -> list[Topic]:
        return self._channels._channels[name].open_topics()  # noqa: SLF001 - they have no better way

    def _open_all(self) -> None:
        """A topic of each kind, of the newest market and the newest users."""
        coins = list(self.state.by_symbol)[-1:]
        users = [hex_text(one) for one in self._readable()]
        for kind in REGISTRY:
            fields = kind.parameters.__struct_encode_fields__
            for coin in coins if "coin" in fields else [""]:
                for user in users if "user" in fields else [""]:
                    self._open({"type": kind.name, "coin": coin, "user": user, "interval": "1h"})
        for coin in coins:
            self._open({"type": "l2Book", "coin": coin, "nSigFigs": 3})

    def _open(self, subscription: dict[str, object]) -> None:
        try:
            topic = self._channels.resolve(subscription)
        except RequestInvalid:  # another kind of node's
            return
        if topic not in self._open_of(topic.channel.name):
            topic.channel.open(topic)

    def _ask(self, name: str, user: User) -> None:
        """One request in all forms that the state has something for."""
        orders: list[Any] = [
            1,
            *list(user.resting)[:2],
            *map(hex_text, list(user.cloids or ())[:2]),
        ]
        for coin in list(self.state.by_symbol)[-1:]:
            asked = {"type": name, "coin": coin, "user": hex_text(user.address), "startTime": 0}
            for oid in orders if name == "orderStatus" else orders[:1]:
                for interval in INTERVALS[::6] if name == "candleSnapshot" else INTERVALS[:1]:
                    form = {"oid": oid, "req": {"coin": coin, "interval": interval}}
                    with suppress(RequestInvalid, StateUnavailable):
                        encode(answer_info(self.state, asked | form))


def new_reader(blocks: Sequence[Block]) -> Reader:
    """Of a development chain's state."""
    return Reader(chain_case.new_state(strict=False), blocks)
