"""A signed action as it came, whichever way."""

from collections.abc import Callable
from typing import NamedTuple

from sidecar.api.orders.outcomes import Outcome
from sidecar.telemetry.tracecontext import TraceContext


class Incoming(NamedTuple):
    """`told` gets its answer, once; `address` is what the peer's limits count by, `connection` is
    which of its connections; `received_ns` since the epoch.
    """

    body: bytes
    address: str
    connection: object
    trace: TraceContext
    received_ns: int
    told: Callable[[Outcome], None]
    urgent: bool = False  # a safety net: no limit holds it up, and what it waits for comes before
