"""The frames that clients nearly always send, read without a parser: whole, unfragmented, masked
texts. Everything else is wsproto's.

    0x81  0x80 | length (0-125)           mask (4 bytes)   payload
    0x81  0xFE  length (16 bits)          mask (4 bytes)   payload

`take_text` reads one such frame where it stands whole in the bytes at hand; `Boundaries` follows
the frames that it does not take, so that it is known where the next one begins. What this may
change is time and nothing else: `tests/unit/protocol/test_protocol_inbound.py` holds it against
wsproto alone.
"""

from typing import NamedTuple

from sidecar.limits import MESSAGE_BYTES_MAX

_TEXT = 0x81  # FIN, no RSV, opcode 1
_MASKED = 0x80
_TWO_BYTES = 126  # that the length is in the next two; 127: in the next eight
_XOR_BYTES_MAX = 1_024  # beyond, a table for each byte of the mask is faster than one number
_TABLES = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))


class Text(NamedTuple):
    """A text frame's payload, unmasked and not yet decoded, and where the next frame begins."""

    payload: bytes
    end: int


def take_text(data: bytes, at: int, bytes_max: int = MESSAGE_BYTES_MAX) -> Text | None:
    """The text frame at `at`, None where there is none that is whole, simple and not longer than
    `bytes_max`. O(payload).
    """
    size = len(data)
    if size - at < 6 or data[at] != _TEXT:
        return None
    length, head = data[at + 1] - _MASKED, at + 2
    if length == _TWO_BYTES:
        length = data[at + 2] << 8 | data[at + 3]
        if length < _TWO_BYTES:
            return None  # not the shortest form: a violation
        head = at + 4
    elif not 0 <= length < _TWO_BYTES:
        return None
    start = head + 4
    end = start + length
    if end > size or length > bytes_max:
        return None
    return Text(unmask(data[head:start], data[start:end]), end)


def unmask(mask: bytes, payload: bytes) -> bytes:
    """RFC 6455 section 5.3. O(n)."""
    size = len(payload)
    if size <= _XOR_BYTES_MAX:
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")
    plain = bytearray(size)
    for index in range(4):
        plain[index::4] = payload[index::4].translate(_TABLES[mask[index]])
    return bytes(plain)


class Head(NamedTuple):
    """The front of a frame up to its length: its first byte, how many bytes its payload is going
    to have, and where that front ends.
    """

    first: int
    payload_bytes: int
    end: int


class Boundaries:
    """Where frames end, of bytes that come in pieces; what is in them does not matter."""

    __slots__ = ("_head", "_left", "head")

    def __init__(self) -> None:
        self._head = b""  # of a frame whose length is not known yet
        self._left = 0  # bytes of the frame that are still to come
        self.head: Head | None = None  # if the last `advance` went over its end

    @property
    def between(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._left and not self._head

    def advance(self, data: bytes, at: int) -> int:
        """Where in `data` the frame ends that `at` is in, `len(data)` if it does not. O(1)."""
        size = len(data)
        self.head = None
        if self._left:
            taken = min(self._left, size - at)
            self._left -= taken
            return at + taken
        known = len(self._head)
        head = self._head + data[at : at + 10 - known]
        lengths = _lengths(head)
        if lengths is None:
            self._head = head
            return size
        front, mask, payload = lengths
        self.head = Head(head[0], payload, at + front - known)
        end = self.head.end + mask + payload
        self._head = b""
        self._left = max(end - size, 0)
        return min(end, size)


def _lengths(head: bytes) -> tuple[int, int, int] | None:
    """Of a frame up to its length, of its mask and its payload; None while the head does not
    tell.
    """
    if len(head) < 2:
        return None
    length, mask = head[1] & 0x7F, 4 if head[1] & _MASKED else 0
    if length < _TWO_BYTES:
        return 2, mask, length
    front = 4 if length == _TWO_BYTES else 10
    return None if len(head) < front else (front, mask, int.from_bytes(head[2:front], "big"))
