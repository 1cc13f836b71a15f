"""WebSocket close codes: which exist, which may be sent, what to answer a peer's code with.

RFC 6455 section 7.4 and the IANA registry it set up. 1004 is reserved without a meaning, so it has
no name here. 1005, 1006 and 1015 say what an endpoint saw, for its own logs: they must never be on
the wire (section 7.4.1).
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a WebSocket connection closes: RFC 6455 section 7.4.1, 1012 to 1014 from IANA."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005  # a Close frame without a code; never sent
    ABNORMAL_CLOSURE = 1006  # the connection ended without a Close frame; never sent
    INVALID_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010  # sent by clients only
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE_FAILED = 1015  # never sent


# Section 7.4.2: 3000-3999 belong to libraries (registered), 4000-4999 to whoever likes.
_APPLICATION_CODES = range(3000, 5000)

_NEVER_SENT = frozenset(
    {
        CloseCode.NO_STATUS_RECEIVED,
        CloseCode.ABNORMAL_CLOSURE,
        CloseCode.TLS_HANDSHAKE_FAILED,
    }
)
_SENDABLE = frozenset(CloseCode) - _NEVER_SENT


def sendable(code: int) -> bool:
    """Whether a Close frame may carry `code`."""
    return code in _SENDABLE or code in _APPLICATION_CODES


def echo(code: int) -> int:
    """The code that answers a peer's Close, as RFC 6455 section 5.5.1 has it: its own.

    | peer's code                        | answer                                           |
    |------------------------------------|--------------------------------------------------|
    | a defined one, 3000-4999           | the same                                         |
    | none (1005)                        | none (1005: `frames.close` leaves the code out)  |
    | 1006, 1015, unknown, out of range  | 1002                                             |
    """
    if sendable(code) or code == CloseCode.NO_STATUS_RECEIVED:
        return code
    return CloseCode.PROTOCOL_ERROR
