"""Safety nets that the node did not take when their connections ended: they wait until it does."""

from collections import deque

from sidecar.api.orders.incoming import Incoming
from sidecar.limits import UNSENT_BYTES_MAX, UNSENT_KEPT


class Unsent:
    """In the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Incoming] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, incoming: Incoming) -> bool:
        """False where there is no room for it."""
        size = self._bytes + len(incoming.body)
        if len(self._waiting) >= UNSENT_KEPT or size > UNSENT_BYTES_MAX:
            return False
        self._waiting.append(incoming)
        self._bytes = size
        return True

    def next(self) -> Incoming:
        """The first one; it is no longer kept."""
        incoming = self._waiting.popleft()
        self._bytes -= len(incoming.body)
        return incoming
