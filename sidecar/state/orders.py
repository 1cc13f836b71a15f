"""Open orders by user, waiting trigger orders, and the history of statuses."""

from sidecar.node.snapshot import TriggerRow
from sidecar.node.transitions import OrderStatus
from sidecar.state.book import Order
from sidecar.state.changes import UserChanges
from sidecar.state.users import Users


class Orders:
    """The order half of every user."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def status(self, status: OrderStatus, changes: UserChanges) -> None:
        """A step in an order's life. O(1)."""

    def added(self, market: int, order: Order) -> None:
        """An order rests now. O(1)."""

    def removed(self, order: Order) -> None:
        """An order rests no more. O(1)."""

    def restore_waiting(self, row: TriggerRow) -> None:
        """A waiting order of a snapshot."""
