"""permessage-deflate (RFC 7692): each message compressed once, whoever reads it; inflated within
bounds.

    client offers                      answer
    server_no_context_takeover         always in the answer: our stream has no memory
    client_no_context_takeover         always in the answer: neither has theirs
    server_max_window_bits=N           N in the answer, if N is 12 to 15; less is declined
    client_max_window_bits[=N]         not in the answer: any window of theirs is read
    anything else, twice, or wrong     the offer is declined, the next one looked at

A stream without memory, of 12 bits, is one that every client can read that took the extension: so
the compressed frame is as shared as the plain one. Inbound, wsproto's hooks are ours: its own
extension inflates without bounds, and loses its place where a Ping comes between two fragments.
"""

import zlib
from collections.abc import Iterator

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from sidecar.limits import DEFLATE_BYTES_MIN, DEFLATE_LEVEL, MESSAGE_BYTES_MAX

NAME = "permessage-deflate"
WINDOW_BITS = (
    12  # of what we send: the size of 15 for messages like ours, and 38 KiB instead of 262
)
_MEMORY_LEVEL = 5
_TAIL = b"\x00\x00\xff\xff"  # of a sync flush; left off each message (section 7.2.1)
_EXPANSION_MAX = 2  # times a message's bytes may be sent for it: bad compressors add an eighth
_STREAMS_MAX = 64  # final blocks of a message; nearly all messages have none
_ALLOWED = RsvBits(rsv1=True, rsv2=False, rsv3=False)

Parameters = dict[str, str | None]


def negotiate(header: str | None) -> str | None:
    """The extension header of the answer to a client's well-formed one; None to decline. O(n)."""
    for name, parameters in _offers(header or ""):
        if name == NAME and parameters is not None:
            answer = _answer(parameters)
            if answer is not None:
                return answer
    return None


def compress(payload: bytes) -> bytes | None:
    """A message's payload deflated, None where that would not be smaller. 13 us for 2 kB."""
    if len(payload) < DEFLATE_BYTES_MIN:
        return None
    deflate = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
    deflated = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return deflated[: -len(_TAIL)] if len(deflated) - len(_TAIL) < len(payload) else None


def _offers(header: str) -> Iterator[tuple[str, Parameters | None]]:
    """Name and parameters of each offer; None for parameters of which one comes twice."""
    for offer in header.split(","):
        name, *rest = (part.strip(" \t") for part in offer.split(";"))
        parameters: Parameters | None = {}
        for part in rest:
            key, equals, value = (piece.strip(" \t") for piece in part.partition("="))
            if parameters is None or key in parameters:
                parameters = None
            else:
                parameters[key] = value.strip('"') if equals else None
        yield name, parameters


def _answer(parameters: Parameters) -> str | None:
    answer = [NAME, "server_no_context_takeover", "client_no_context_takeover"]
    for name, value in parameters.items():
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif name == "client_max_window_bits":
            if value is not None and _bits(value) is None:
                return None
        elif name == "server_max_window_bits":
            bits = _bits(value)
            if bits is None or bits < WINDOW_BITS:
                return None
            answer.append(f"server_max_window_bits={bits}")
        else:
            return None
    return "; ".join(answer)


def _bits(value: str | None) -> int | None:
    """8 to 15, without leading zeros (section 7.1.2)."""
    return _BITS.get(value)


_BITS: dict[str | None, int] = {str(bits): bits for bits in range(8, 16)}


class BoundedInflate(Extension):
    """Inflates what a client compressed, at most a message's bytes of it.

    What comes is bounded as well: blocks that hold nothing could be sent for ever. A final block
    ends zlib's stream but not the message: the next block begins a new one (section 7.2.3.4).
    """

    name = NAME

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._bytes_max = message_bytes_max
        self._compressed = False  # the message that is arriving
        self._is_data = False  # the frame that is arriving
        self._start_message()

    def offer(self) -> bool:
        """Of clients; this is a server's."""
        return False

    def enabled(self) -> bool:
        """wsproto asks."""
        return True

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002 - wsproto's signature
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,  # noqa: ARG002
    ) -> CloseReason | RsvBits:
        """RSV1 says that a message is compressed, on its first frame only (section 6.1)."""
        self._is_data = not opcode.iscontrol()
        if rsv.rsv1 and (opcode is Opcode.CONTINUATION or not self._is_data):
            return CloseReason.PROTOCOL_ERROR
        if self._is_data and opcode is not Opcode.CONTINUATION:
            self._compressed = rsv.rsv1
            if rsv.rsv1:
                self._start_message()
        return _ALLOWED

    def frame_inbound_payload_data(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002
        data: bytes,
    ) -> bytes | CloseReason:
        """A piece of a frame."""
        return self._inflated(data) if self._is_data and self._compressed else data

    def frame_inbound_complete(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002
        fin: bool,
    ) -> bytes | CloseReason | None:
        """The end of a frame; of a message, if `fin`."""
        if not (fin and self._is_data and self._compressed):
            return None
        self._compressed = False
        return self._inflated(_TAIL)

    def _start_message(self) -> None:
        self._left = self._bytes_max  # bytes that the message may still become
        self._compressed_left = _EXPANSION_MAX * self._bytes_max
        self._streams_left = _STREAMS_MAX
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def _inflated(self, data: bytes) -> bytes | CloseReason:
        self._compressed_left -= len(data)
        if self._compressed_left < 0:
            return CloseReason.MESSAGE_TOO_BIG
        plain = b""
        while data:
            try:
                plain += self._inflate.decompress(data, self._left - len(plain) + 1)
            except zlib.error:
                return CloseReason.INVALID_FRAME_PAYLOAD_DATA
            if len(plain) > self._left or self._inflate.unconsumed_tail:
                return CloseReason.MESSAGE_TOO_BIG
            data = self._inflate.unused_data
            if self._inflate.eof and not self._next_stream():
                return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._left -= len(plain)
        return plain

    def _next_stream(self) -> bool:
        self._streams_left -= 1
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._streams_left > 0
