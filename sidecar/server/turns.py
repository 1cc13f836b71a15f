"""The actions that wait to be looked at: every address has its turn, whatever the others sent.

    lanes, one an address      A: a1 a2 a3     B: b1     C: c1 c2      ─▶  a1 b1 c1 a2 c2 a3

What one address may have waiting is bounded in number and in bytes, and so is what all of them
may have; but one action of each address always finds room.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator

from sidecar.api.orders.incoming import Incoming
from sidecar.errors import Limited, Overloaded
from sidecar.limits import (
    ORDERS_WAITING_BYTES_MAX,
    ORDERS_WAITING_BYTES_PER_IP,
    ORDERS_WAITING_MAX,
    ORDERS_WAITING_PER_IP,
)


class _Lane:
    """What waits in a row. `size`: bytes of the bodies."""

    __slots__ = ("size", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Incoming] = deque()
        self.size = 0

    def add(self, incoming: Incoming) -> None:
        self.waiting.append(incoming)
        self.size += len(incoming.body)


class Turns:
    """All lanes, the one whose turn is next first."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, _Lane] = OrderedDict()
        self._waiting = 0
        self._size = 0  # bytes

    def __len__(self) -> int:
        return self._waiting

    def add(self, incoming: Incoming) -> None:
        """An action goes to the end of its address's lane. O(1).

        Raises `Limited` where its address has too much there, `Overloaded` where all have.
        """
        lane, size = self._lanes.get(incoming.address), len(incoming.body)
        if lane is not None:
            if (
                len(lane.waiting) >= ORDERS_WAITING_PER_IP
                or lane.size + size > ORDERS_WAITING_BYTES_PER_IP
            ):
                raise Limited("Too many actions of this address wait to be looked at.", 1.0)
            if self._waiting >= ORDERS_WAITING_MAX or self._size + size > ORDERS_WAITING_BYTES_MAX:
                raise Overloaded("Too many actions wait to be looked at.")
        self._add(incoming.address, incoming)

    def hurry(self, incoming: Incoming) -> bool:
        """An urgent action waits for what its connection sent before it, and for nothing else of
        its address: these get a lane of their own, whose turn is next. False where nothing of that
        connection waits: then the action does not, either. O(its address's lane).
        """
        address, connection = incoming.address, incoming.connection
        lane = self._lanes.get(address)
        if lane is None or all(one.connection is not connection for one in lane.waiting):
            return False
        self._remove(address)
        for one in lane.waiting:
            self._add(connection if one.connection is connection else address, one)
        self._add(connection, incoming)
        self._lanes.move_to_end(connection, last=False)
        return True

    def next(self) -> Incoming:
        """The action whose turn it is; its lane's next turn comes after all others'. O(1)."""
        key, lane = self._lanes.popitem(last=False)
        incoming = lane.waiting.popleft()
        size = len(incoming.body)
        lane.size -= size
        self._waiting -= 1
        self._size -= size
        if lane.waiting:
            self._lanes[key] = lane
        return incoming

    def take_all(self) -> Iterator[Incoming]:
        """Empties the lanes, in the order of their turns."""
        while self._waiting:
            yield self.next()

    def _add(self, key: Hashable, incoming: Incoming) -> None:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        lane.add(incoming)
        self._waiting += 1
        self._size += len(incoming.body)

    def _remove(self, key: Hashable) -> None:
        lane = self._lanes.pop(key)
        self._waiting -= len(lane.waiting)
        self._size -= lane.size
