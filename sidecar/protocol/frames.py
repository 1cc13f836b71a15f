"""Server-side WebSocket frames as immutable bytes: made once, written to any number of sockets.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| Payload len |   16 bits, if len is 126;     |
    |I|S|S|S|  (4)  |A|     (7)     |   64 bits, if len is 127      |
    |N|V|V|V|       |S|             |   (the shortest form that     |
    | |1|2|3|       |K|             |    holds the length)          |
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |                          Payload ...                          |
    +---------------------------------------------------------------+

RFC 6455 section 5.2. A server never masks (section 5.1), so a frame has nothing of a connection in
it: that is what lets all subscribers share the same object. Frames are whole messages (FIN set) and
`bytes`, never `bytearray`: a transport may keep a reference.
"""

from struct import Struct

from sidecar.limits import CLOSE_REASON_BYTES_MAX
from sidecar.protocol import deflate
from sidecar.protocol.closecodes import CloseCode, sendable

_FIN = 0x80
_TEXT = _FIN | 0x1
_DEFLATED = _TEXT | 0x40  # RSV1: RFC 7692 section 6
_CLOSE = _FIN | 0x8
_PING = _FIN | 0x9
_PONG = _FIN | 0xA

_CONTROL_PAYLOAD_MAX = 125  # section 5.5

_pack_16 = Struct("!BBH").pack
_pack_64 = Struct("!BBQ").pack
_pack_code = Struct("!H").pack
_TEXT_HEADS = tuple(bytes((_TEXT, size)) for size in range(126))


def text(payload: bytes) -> bytes:
    """A text message in one frame. `payload` is UTF-8, on the caller's word. O(n), one copy."""
    size = len(payload)
    if size <= 125:
        return _TEXT_HEADS[size] + payload
    if size <= 0xFFFF:
        return _pack_16(_TEXT, 126, size) + payload
    return _pack_64(_TEXT, 127, size) + payload


def deflated(frame: bytes) -> bytes:
    """A frame that `text` made, compressed: as shared as that, for every client that took the
    extension. The same frame where compressing it would not pay. O(n).
    """
    size = frame[1]
    payload = deflate.compress(frame[2 if size < 126 else 4 if size == 126 else 10 :])
    if payload is None:
        return frame
    size = len(payload)
    if size <= 125:
        return bytes((_DEFLATED, size)) + payload
    if size <= 0xFFFF:
        return _pack_16(_DEFLATED, 126, size) + payload
    return _pack_64(_DEFLATED, 127, size) + payload


def ping(payload: bytes) -> bytes:
    """A Ping of at most 125 bytes of payload."""
    return _control(_PING, payload)


def pong(payload: bytes) -> bytes:
    """A Pong of at most 125 bytes: the payload of the Ping it answers."""
    return _control(_PONG, payload)


def close(code: int, reason: str = "") -> bytes:
    """A Close; the reason is cut to `CLOSE_REASON_BYTES_MAX` bytes between two characters.

    `NO_STATUS_RECEIVED` stands for no code: the frame is empty and has no reason.
    """
    if code == CloseCode.NO_STATUS_RECEIVED:
        return _control(_CLOSE, b"")
    assert sendable(code), f"close code {code} must not be on the wire"
    return _control(_CLOSE, _pack_code(code) + _cut(reason, CLOSE_REASON_BYTES_MAX))


def _control(first_byte: int, payload: bytes) -> bytes:
    assert len(payload) <= _CONTROL_PAYLOAD_MAX, "a control frame holds at most 125 bytes"
    return bytes((first_byte, len(payload))) + payload


def _cut(reason: str, bytes_max: int) -> bytes:
    encoded = reason.encode(errors="replace")  # lone surrogates have no UTF-8
    return encoded[:bytes_max].decode(errors="ignore").encode()
