"""How many bytes wait for the clients of one address, which do not read them: of HTTP answers, and
of what WebSocket clients may have beyond their bound (snapshots, replays, an answer).

Either may have megabytes, and a connection has its share at a time: it is the next one, on
whatever connection, that is refused where an address has too much waiting.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from sidecar.errors import Limited
from sidecar.limits import (
    QUERY_RETRY_S,
    UNREAD_ANSWERS_BYTES_PER_IP,
    UNREAD_SNAPSHOTS_BYTES_PER_IP,
)


class Waiting:
    """For one address: `bytes`."""

    __slots__ = ("__weakref__", "bytes")

    def __init__(self) -> None:
        self.bytes = 0


class Unread:
    """For each address. All O(1)."""

    def __init__(self, bytes_max: int, what: str) -> None:
        """`what` it is, in a refusal."""
        self._bytes_max = bytes_max
        self._what = what
        self._waiting = WeakValueDictionary[str, Waiting]()

    def of(self, address: str) -> Waiting:
        """What waits for an address; kept as long as somebody holds it."""
        waiting = self._waiting.get(address)
        if waiting is None:
            waiting = self._waiting[address] = Waiting()
        return waiting

    def check(self, address: str, size: int = 0) -> None:
        """Raises `Limited` where so many more would be too much, unless nothing waits."""
        waiting = self.of(address).bytes
        if waiting and waiting + size > self._bytes_max:
            what = f"{waiting} bytes of {self._what} to this address wait to be read already."
            raise Limited(what, QUERY_RETRY_S)

    @contextmanager
    def held(self, address: str, size: int) -> Iterator[None]:
        """So many wait meanwhile."""
        waiting = self.of(address)
        waiting.bytes += size
        try:
            yield
        finally:
            waiting.bytes -= size


def answers() -> Unread:
    """Of HTTP."""
    return Unread(UNREAD_ANSWERS_BYTES_PER_IP, "answers")


def snapshots() -> Unread:
    """Of WebSocket."""
    return Unread(UNREAD_SNAPSHOTS_BYTES_PER_IP, "snapshots")
