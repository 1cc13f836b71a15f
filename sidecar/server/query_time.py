"""How much of the event loop's time the queries of one address may take.

    l4Snapshot of 30,000 orders    50 ms, in which nobody else is served
    most others                    less than a tenth of a millisecond

So queries are not counted but timed, by the processor time that answering took: whoever has used
his share up is refused until he has some again. Snapshots that a subscription begins with count.
Who comes back to where he was, and has to begin anew, does so out of a second share of that size.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.api.orders.buckets import Buckets
from sidecar.errors import Limited
from sidecar.limits import QUERY_BURST_S, QUERY_RETRY_S

_US = 1_000_000


class QueryTime:
    """A bucket of microseconds for each address."""

    def __init__(self, share: float) -> None:
        """`share`: of the time of one core, once the burst is used up."""
        self._buckets = Buckets(share * _US, int(QUERY_BURST_S * _US), "address")

    def adopt(self, share: float) -> None:
        """Another share; what was used stays used."""
        self._buckets.adopt(share * _US, int(QUERY_BURST_S * _US))

    @contextmanager
    def of(self, address: str) -> Iterator[None]:
        """Around the making of an answer. Raises `Limited` where nothing is left; then it is not
        begun. O(1).
        """
        self.check(address)
        with self.measured(address):
            yield

    def check(self, address: str, *, comes_back: bool = False) -> None:
        """Raises `Limited` where nothing is left. O(1)."""
        if not self._buckets.left((address, comes_back), time.monotonic()):
            what = "Queries of this address have taken too much of the server's time."
            raise Limited(what, QUERY_RETRY_S)

    @contextmanager
    def measured(self, address: str, *, comes_back: bool = False) -> Iterator[None]:
        """Around what is done whatever is left. O(1)."""
        began = time.thread_time_ns()
        try:
            yield
        finally:
            spent = (time.thread_time_ns() - began) // 1_000
            self._buckets.charge((address, comes_back), spent, time.monotonic())
