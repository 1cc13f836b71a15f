"""`orderUpdates`: every step of a user's orders, refusals too.

    statuses of the block       in `UserChanges`, with the height of the block before that had any
    refusals, still encoded     decoded here, in blocks in which somebody reads the channel

The chain of heights knows nothing of refusals that nobody decoded. So, where the node's are
encoded, the channel goes by its own messages instead: `prev` of a topic's first one is null.
"""

from collections.abc import Iterator

from sidecar.api.messages import ChainedPush, hex_text
from sidecar.api.open_orders_view import update_view
from sidecar.api.topics import Delivery, Needs, Topic, UserChannel
from sidecar.node.transitions import OrderStatus
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes


class OrderUpdatesChannel(UserChannel):
    """One message a block with statuses. No snapshot: `historicalOrders` has the past."""

    name = "orderUpdates"
    delivery = Delivery.EVERY
    needs = Needs.NOTHING

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._sent: dict[bytes, int] = {}  # height of the newest message of each open topic

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(statuses of the users that are read, and refusals of the block where encoded)."""
        if not self._open:
            return
        found = {topic: changed.statuses for topic, changed in self.changed(changes)}
        for topic, refused in self._refused(changes).items():
            found[topic] = [*found.get(topic, ()), *refused]
        for topic, statuses in found.items():
            if statuses:
                yield topic, self._message(topic, statuses, changes)

    def closed(self, topic: Topic) -> None:
        """Forgets what it sent."""
        self._sent.pop(topic.key, None)

    def _refused(self, changes: Changes) -> dict[Topic, list[OrderStatus]]:
        found: dict[Topic, list[OrderStatus]] = {}
        for changed in changes.markets.values():
            for refused in changed.refused:
                for status in refused.statuses():
                    topic = self._open.get(status.user)
                    if topic is not None:
                        found.setdefault(topic, []).append(status)
        return found

    def _message(self, topic: Topic, statuses: list[OrderStatus], changes: Changes) -> ChainedPush:
        user, height, markets = topic.key, changes.height, self.state.markets
        if self.state.users.refusals_encoded:
            prev = self._sent.get(user)
        else:
            prev = changes.users[user].orders_prev
        self._sent[user] = height
        data = [update_view(markets[status.market].symbol, status) for status in statuses]
        return ChainedPush(self.name, data, height, prev, user=hex_text(user))
