"""How many messages a WebSocket client may send."""

import time

from sidecar.protocol.closecodes import CloseCode
from sidecar.server.closing import Closing
from sidecar.server.rates import Rate


class MessageLimit:
    """A client's; past it the connection ends."""

    def __init__(self, per_minute: int, closing: Closing) -> None:
        self._per_minute = per_minute
        self._rate = Rate(per_minute, 60.0)
        self._closing = closing

    def count(self) -> bool:
        """One more; False once there are too many."""
        if self._rate.exceeded(time.monotonic()):
            reason = f"more than {self._per_minute} messages a minute"
            self._closing.close(CloseCode.POLICY_VIOLATION, reason)
            return False
        return True
