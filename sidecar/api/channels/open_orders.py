"""`openOrders`: all of a user's resting and waiting orders, when one of them changes."""

from collections.abc import Iterator

from sidecar.api.messages import Push, hex_text
from sidecar.api.open_orders_view import frontend_open_orders
from sidecar.api.topics import (
    Delivery,
    DexUserParameters,
    Topic,
    UserChannel,
    UserParameters,
    check_dex,
)
from sidecar.state.changes import Changes


class OpenOrdersChannel(UserChannel):
    """One message a block in which an order came, went, or has another size."""

    name = "openOrders"
    delivery = Delivery.LATEST
    reads_orders = True
    parameters = DexUserParameters

    def key(self, parameters: UserParameters) -> tuple[bytes, str]:
        """The user's address."""
        assert isinstance(parameters, DexUserParameters)
        check_dex(parameters.dex)
        return super().key(parameters)

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(orders of the users that are read)."""
        for topic, changed in self.changed(changes):
            if changed.open_orders:
                yield topic, self.snapshot(topic)

    def snapshot(self, topic: Topic) -> Push:
        """The orders as of the last block. O(orders)."""
        data = {
            "dex": "",
            "user": hex_text(topic.key),
            "orders": frontend_open_orders(self.state, topic.key),
        }
        return Push(self.name, data, self.state.height)
