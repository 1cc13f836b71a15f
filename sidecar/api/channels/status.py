"""`status`: whether what is served can be trusted, said when it changes.

    {"feed": {state, reason, height}, "coins": {coin: {...}}, "users": {address: {...}}, "age"}

`coins` and `users` hold those that are not as the feed is; `age` is how old the newest block is, in
ms, by this machine's clock. It speaks of this sidecar, not of the chain: `prev` is always null, and
there is nothing to resume.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.api.messages import ChainedPush, hex_text
from sidecar.api.topics import Channel, Delivery, Topic
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes
from sidecar.state.health import LIVE, Condition

NS_PER_MS = 1_000_000


class StatusParameters(msgspec.Struct, frozen=True):
    """Nothing to choose."""


class StatusChannel(Channel):
    """Sent first of a block's messages: what follows is to be read in its light."""

    name = "status"
    delivery = Delivery.EVERY
    parameters = StatusParameters

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._shown: dict[str, Any] = {}

    def key(self, parameters: StatusParameters) -> tuple[str, str]:  # noqa: ARG002
        """There is one topic."""
        return self.name, self.name

    def opened(self, topic: Topic) -> None:  # noqa: ARG002
        """Remembers what holds now."""
        self._shown = conditions(self.state)

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:  # noqa: ARG002
        """O(markets that are not live)."""
        yield from self.refresh()

    def refresh(self) -> Iterator[tuple[Topic, ChainedPush]]:
        """The message that is due, between blocks too."""
        topic = self._open.get(self.name)
        if topic is not None:
            shown = conditions(self.state)
            if shown != self._shown:
                self._shown = shown
                yield topic, self.snapshot(topic)

    def snapshot(self, topic: Topic) -> ChainedPush:  # noqa: ARG002
        """What holds now."""
        data = conditions(self.state) | {"age": age_ms(self.state)}
        return ChainedPush(self.name, data, self.state.height, None)


def conditions(state: ChainState) -> dict[str, Any]:
    """The feed's condition, and those of markets and users that differ. O(those)."""
    health = state.health
    if health is None:
        return {"feed": Condition(LIVE), "coins": {}, "users": {}}
    return {
        "feed": health.feed,
        "coins": dict(health.coins()),
        "users": {hex_text(address): condition for address, condition in health.accounts()},
    }


def age_ms(state: ChainState) -> int:
    """How old the newest block was when somebody last looked at the clock."""
    return 0 if state.health is None else state.health.age_ns // NS_PER_MS
