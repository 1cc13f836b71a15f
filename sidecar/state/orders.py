"""Orders by user: those that rest, those that wait for a trigger, and what became of others.

    User.resting     oid -> market, order           from the book's transitions
    User.waiting     oid -> newest status           from statuses alone
    User.statuses    the newest ones                bounded (see `Recent`)
    User.cloids      cloid -> oid, or several       of all orders in the three above

A status that is kept no more is forgotten by the indexes too, unless its order is live.
"""

from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import msgspec

from sidecar.errors import StateMismatch
from sidecar.limits import STATUSES_KEPT, STATUSES_PER_USER
from sidecar.node.snapshot import TriggerRow
from sidecar.node.transitions import PLACING, OrderStatus, Record, Trigger
from sidecar.state.book import Order
from sidecar.state.changes import UserChanges
from sidecar.state.recent import Recent
from sidecar.state.users import User, Users

_USUAL = frozenset(("open", "filled", "canceled", "triggered"))


class StatusRow(Record, tag=42, frozen=True):
    """A status that is kept."""

    status: OrderStatus


class FoundOrder(NamedTuple):
    """What is known of an order. `resting` has its price and size while it rests; `status` is the
    newest one known, None for an order that the node writes none for.
    """

    market: int
    resting: Order | None
    status: OrderStatus | None


class Orders:
    """The order half of every user.

    `children` are the orders that wait for another one's fill, by their parent's oid, as far as a
    snapshot said so: the log names them only once the parent is filled.
    """

    def __init__(
        self, users: Users, *, per_user: int = STATUSES_PER_USER, overall: int = STATUSES_KEPT
    ) -> None:
        """The bounds are of statuses that are kept."""
        self._users = users
        self._newest: dict[int, OrderStatus] = {}
        self._kept: Recent[OrderStatus] = Recent("statuses", per_user, overall, self._forget)
        self.children: dict[int, dict[int, OrderStatus]] = {}
        self._parents: dict[int, int] = {}

    def status(self, status: OrderStatus, changes: UserChanges) -> None:
        """A step in an order's life. O(1)."""
        user = changes.user
        changes.statuses.append(status)
        self._newest[status.oid] = status  # as in `restore`
        if status.cloid is not None:
            _name(user, status.cloid, status.oid)
        self._kept.add(user, status)
        if status.trigger is not None or user.waiting:
            self._follow_waiting(status, changes)
        if self.children:
            self._follow_children(status)
        if status.status not in _USUAL and is_by_system(status.status):
            changes.events = True

    def added(self, market: int, order: Order, changes: UserChanges) -> None:
        """An order rests now. Raises `StateMismatch` if it does in another market. O(1)."""
        entry = (market, order)
        if changes.user.resting.setdefault(order.oid, entry) is not entry:
            raise StateMismatch(f"order {order.oid} is added, and rests in another market")
        changes.open_orders = True

    def removed(self, order: Order, changes: UserChanges) -> None:
        """An order rests no more. O(1)."""
        user, oid = changes.user, order.oid
        known = user.resting.get(oid)
        if known is not None and known[1] is order:  # else the oid rests in two markets
            del user.resting[oid]
        changes.open_orders = True
        if order.status is not None and oid not in self._newest:
            _unname(user, order.status)

    def find(self, address: bytes, oid: int) -> FoundOrder | None:
        """What is known of a user's order. O(1)."""
        user = self._users.look(address)
        resting = user.resting.get(oid)
        if resting is not None:
            return FoundOrder(resting[0], resting[1], resting[1].status)
        status = user.waiting.get(oid) if user.waiting else None
        if status is None:
            status = self._newest.get(oid)
        if status is None or status.user != address:
            return None
        return FoundOrder(status.market, None, status)

    def find_cloid(self, address: bytes, cloid: bytes) -> FoundOrder | None:
        """Likewise by the user's own id: the newest live order with it, else the newest one.
        O(orders with it).
        """
        user = self._users.look(address)
        oids = user.cloids.get(cloid) if user.cloids else None
        if oids is None:
            return None
        if isinstance(oids, int):
            return self.find(address, oids)
        live = [oid for oid in oids if _is_live(user, oid)]
        return self.find(address, max(live or oids))

    def rows(self) -> Iterator[StatusRow]:
        """What `restore` takes, and no snapshot of a node holds. O(statuses kept)."""
        for _, status in self._kept.entries():
            yield StatusRow(status)

    def waiting_rows(self) -> Iterator[TriggerRow]:
        """The waiting orders as a node's snapshot holds them, oldest first. O(users + n log n)."""
        rows = [
            TriggerRow(status)
            for user in self._users.by_address.values()
            for status in (user.waiting or {}).values()
        ]
        for parent, children in self.children.items():
            rows.extend(TriggerRow(status, parent) for status in children.values())
        yield from sorted(rows, key=lambda row: row.status.oid)

    def restore(self, row: StatusRow) -> None:
        """A row of `rows`. O(1)."""
        status = row.status
        user = self._users.get(status.user)
        self._newest[status.oid] = status
        if status.cloid is not None:
            _name(user, status.cloid, status.oid)
        self._kept.add(user, status)

    def restore_resting(self, market: int, order: Order) -> None:
        """A resting order of a snapshot. Raises `StateMismatch` if it rests in another market, too.
        O(1).
        """
        users, oid = self._users, order.oid
        user = users.by_address.get(order.user) or users.get(order.user)
        entry = (market, order)
        if user.resting.setdefault(oid, entry) is not entry:
            raise StateMismatch(f"order {oid} rests in two markets")
        self._name_resting(user, order)

    def _name_resting(self, user: User, order: Order) -> None:
        oid, status = order.oid, order.status
        if status is not None and status.cloid is not None:
            _name(user, status.cloid, oid)

    def replace(self, market: int, before: Iterable[Order], now: Iterable[Order]) -> None:
        """The resting orders of a market are others, which `elsewhere` has let pass. O(both)."""
        for order in before:
            resting = self._users.get(order.user).resting
            known = resting.get(order.oid)
            if known is not None and known[1] is order:  # else another market's that was replaced
                del resting[order.oid]
        for order in now:
            user = self._users.get(order.user)
            user.resting[order.oid] = (market, order)
            self._name_resting(user, order)

    def elsewhere(self, orders: Iterable[Order], markets: Container[int]) -> Order | None:
        """One of them that rests in a market which is none of those. O(orders)."""
        for order in orders:
            known = self._users.look(order.user).resting.get(order.oid)
            if known is not None and known[0] not in markets:
                return order
        return None

    def restore_waiting(self, row: TriggerRow) -> None:
        """A waiting order of a snapshot. O(1)."""
        status = row.status
        if row.parent:
            self.children.setdefault(row.parent, {})[status.oid] = status
            self._parents[status.oid] = row.parent
            return
        user = self._users.get(status.user)
        _waiting(user)[status.oid] = status
        if status.cloid is not None:
            _name(user, status.cloid, status.oid)

    def check_invariants(self) -> None:
        """Asserts everything that must hold between blocks. O(statuses + orders)."""
        kept = [(user, status) for user, status in self._kept.entries()]
        assert len(kept) == len(self._kept)
        assert {status.oid for _, status in kept} == set(self._newest)
        for user in self._users.by_address.values():
            for cloid, oids in (user.cloids or {}).items():
                for oid in (oids,) if isinstance(oids, int) else oids:
                    found = self.find(user.address, oid)
                    assert found is not None
                    assert found.status is not None
                    assert found.status.cloid == cloid
        assert set(self._parents.values()) == set(self.children)

    def _forget(self, user: User, status: OrderStatus) -> None:
        """A status is kept no more."""
        oid = status.oid
        if self._newest.get(oid) is status:
            del self._newest[oid]
            if not _is_live(user, oid):
                _unname(user, status)

    def _follow_waiting(self, status: OrderStatus, changes: UserChanges) -> None:
        user, trigger = changes.user, status.trigger
        if status.status == "open" and trigger is not None and trigger.waiting:
            _waiting(user)[status.oid] = status
            changes.open_orders = True
        elif user.waiting and user.waiting.pop(status.oid, None) is not None:
            changes.open_orders = True

    def _follow_children(self, status: OrderStatus) -> None:
        oid = status.oid
        parent = self._parents.pop(oid, 0)
        if parent:  # it has come to life
            siblings = self.children[parent]
            del siblings[oid]
            if not siblings:
                del self.children[parent]
        if status.status not in PLACING:  # those that still wait end with their parent
            for child in self.children.pop(oid, ()):
                del self._parents[child]


def is_by_system(status: str) -> bool:
    """Whether an order was cancelled by the exchange and not by its owner: "marginCanceled",
    "scheduledCancel", ..., all but "canceled".
    """
    return status.endswith(("Canceled", "Cancel"))


def live(status: OrderStatus) -> OrderStatus:
    """An order as its status leaves it. One that has triggered is a limit order placed now, but the
    status that says so still describes what waited.
    """
    trigger = status.trigger
    if status.status != "triggered" or trigger is None or not trigger.waiting:
        return status
    return msgspec.structs.replace(
        status,
        tif="Gtc",
        trigger=Trigger(0, "Triggered", trigger.is_position_tpsl, waiting=False),
        placed_ns=status.time_ns,
    )


def _is_live(user: User, oid: int) -> bool:
    return oid in user.resting or (user.waiting is not None and oid in user.waiting)


def _waiting(user: User) -> dict[int, OrderStatus]:
    if user.waiting is None:
        user.waiting = {}
    return user.waiting


def _name(user: User, cloid: bytes, oid: int) -> None:
    """An order is known by its owner's id from now on. Most ids have one order in their life."""
    if user.cloids is None:
        user.cloids = {}
    oids = user.cloids.setdefault(cloid, oid)
    if oids == oid:
        return
    if isinstance(oids, int):
        user.cloids[cloid] = {oids, oid}
    else:
        oids.add(oid)


def _unname(user: User, status: OrderStatus) -> None:
    """An order is known no more."""
    cloid, cloids = status.cloid, user.cloids
    if cloid is None or cloids is None:
        return
    oids = cloids.get(cloid)
    if oids == status.oid:
        del cloids[cloid]
    elif isinstance(oids, set):
        oids.discard(status.oid)
        if len(oids) == 1:
            cloids[cloid] = oids.pop()
