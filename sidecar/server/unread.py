"""How many bytes of HTTP answers wait for the clients of one address, which do not read them.

An answer may have megabytes (`l4Snapshot`), and a connection has one at a time: it is the next one,
on another connection, that is refused where an address has too much waiting.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.errors import Limited
from sidecar.limits import QUERY_RETRY_S, UNREAD_ANSWERS_BYTES_PER_IP


class Unread:
    """The bytes of each address. All O(1)."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()

    def check(self, address: str, size: int) -> None:
        """Raises `Limited` where an answer of that size would be too much, unless nothing waits."""
        waiting = self._waiting[address]
        if waiting and waiting + size > UNREAD_ANSWERS_BYTES_PER_IP:
            what = f"{waiting} bytes of answers to this address wait to be read already."
            raise Limited(what, QUERY_RETRY_S)

    @contextmanager
    def held(self, address: str, size: int) -> Iterator[None]:
        """So many wait meanwhile."""
        self._waiting[address] += size
        try:
            yield
        finally:
            self._waiting[address] -= size
            if not self._waiting[address]:
                del self._waiting[address]
