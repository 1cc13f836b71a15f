"""How one WebSocket connection ends. Whoever ends it, it goes through here, and the first one's
reason is the one that the client reads.
"""

import time

from sidecar.limits import CLOSE_TIMEOUT_S, CLOSING_BYTES_MAX
from sidecar.protocol.closecodes import CloseCode
from sidecar.protocol.websocket import CloseReceived, WebSocketConnection
from sidecar.server.connection import Connection
from sidecar.server.safety_net import SafetyNet
from sidecar.telemetry.logs import get_log

_log = get_log("server")


class Closing:
    """Its end, begun or not."""

    def __init__(
        self, connection: Connection, websocket: WebSocketConnection, safety_net: SafetyNet
    ) -> None:
        self.code = int(CloseCode.ABNORMAL_CLOSURE)  # what is said in the end, if anything is
        self._connection = connection
        self._websocket = websocket
        self._safety_net = safety_net
        self._by: float | None = None
        self._discarded = 0  # bytes

    @property
    def begun(self) -> bool:
        """Nothing that the client says counts any more."""
        return self._by is not None

    def close(self, code: int, reason: str) -> None:
        """Tells the client why it is let go, and ends the connection when it answers or time is
        up.
        """
        if self._by is None:
            self._begin(code, self._websocket.close(code, reason), reason)

    def answer(self, event: CloseReceived) -> None:
        """Lets a client go that asked for it."""
        if self._by is None:
            self._begin(event.code, self._websocket.close_reply(event), "closed by the client")

    def enforce(self, now: float) -> None:
        """Ends the connection if time is up."""
        if self._by is not None and now >= self._by:
            self._connection.abort()

    def discard(self, data: bytes) -> None:
        """The client still sends: nobody looks at it, and there is an end to that."""
        self._discarded += len(data)
        if self._discarded > CLOSING_BYTES_MAX:
            _log.info("client gone", **self._connection.who, reason="goes on sending")
            self._connection.abort()

    def _begin(self, code: int, frame: bytes, reason: str) -> None:
        self.code = code
        self._by = time.monotonic() + CLOSE_TIMEOUT_S
        self._safety_net.fire()
        _log.debug("closing", **self._connection.who, code=code, reason=reason)
        self._connection.send(frame)
        self._connection.finish()
