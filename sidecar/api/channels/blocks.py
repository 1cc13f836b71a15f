"""`blocks`: one message a block, a heartbeat that also counts."""

from collections.abc import Iterator

import msgspec

from sidecar.api.messages import NS_PER_MS, Push
from sidecar.api.topics import Channel, Delivery, Topic
from sidecar.state.changes import Changes


class BlocksParameters(msgspec.Struct, frozen=True):
    """Nothing to choose."""


class BlocksChannel(Channel):
    """Sent last of a block's messages: when it arrives, the block is complete."""

    name = "blocks"
    delivery = Delivery.LATEST
    parameters = BlocksParameters

    def key(self, parameters: BlocksParameters) -> tuple[str, str]:  # noqa: ARG002
        """There is one topic."""
        return self.name, self.name

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(markets changed)."""
        topic = self._open.get(self.name)
        if topic is not None:
            markets = changes.markets.values()
            yield (
                topic,
                self._message(
                    changes.height,
                    changes.time_ns,
                    transitions=changes.transitions,
                    trades=sum(len(changed.fills) for changed in markets),
                    markets=len(markets),
                ),
            )

    def snapshot(self, topic: Topic) -> Push:  # noqa: ARG002
        """The last block's height and time."""
        return self._message(self.state.height, self.state.time_ns)

    def _message(self, height: int, time_ns: int, **counts: int) -> Push:
        return Push(self.name, {"height": height, "time": time_ns // NS_PER_MS, **counts}, height)
