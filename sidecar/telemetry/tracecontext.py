"""W3C trace context: one id that follows a request from the client's own trace to the block.

    traceparent: 00-<trace id, 32 hex>-<span id, 16 hex>-<flags, 2 hex>

(https://www.w3.org/TR/trace-context/)
"""

import os
import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class TraceContext(NamedTuple):
    """`span_id` is our own part of the trace; `parent_id` the caller's, "" where the trace is ours;
    `flags` are the caller's (1: it records the trace).
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    flags: int = 0

    @property
    def traceparent(self) -> str:
        """As it goes back to the caller and on to others."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def continue_trace(traceparent: str | None) -> TraceContext:
    """Our part of the caller's trace, or of a new one where it has none that can be read. O(1)."""
    random = os.urandom(24).hex()
    found = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent.strip())
    if found is not None:
        version, trace_id, parent_id, flags, more = found.groups()
        known = version == "00" and not more  # later versions may append fields
        if (known or version not in ("00", "ff")) and int(trace_id, 16) and int(parent_id, 16):
            return TraceContext(trace_id, random[:16], parent_id, int(flags, 16) & _SAMPLED)
    return TraceContext(random[16:], random[:16])
