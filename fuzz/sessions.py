"""One WebSocket session read in three ways: by the short way in and wsproto, by wsproto alone, and
by the `websockets` library with what it leaves to its user.
"""

import codecs
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from cutting import ways
from mutators import frames
from sidecar.protocol import inbound, websocket
from sidecar.protocol.websocket import (
    BinaryMessage,
    CloseReceived,
    Event,
    Message,
    Violation,
    WebSocketConnection,
)

BYTES_MAX = 512  # of a message; small, so that inputs reach it
FRAGMENTS_MAX = 8
_XOR_BYTES_MAX = 60  # likewise, of the ways to unmask
_EXPANSION_MAX = 2  # as `protocol.deflate` has it
_TAIL = b"\x00\x00\xff\xff"

Verdict = tuple[list[str | bytes], bool]  # messages, and whether the session has ended


def check_session(data: bytes, *, deflate: bool) -> list[str | bytes]:
    """Holds what both targets state; returns the messages."""
    with patch.object(inbound, "_XOR_BYTES_MAX", _XOR_BYTES_MAX):
        return _check(data, deflate=deflate)


def _check(data: bytes, *, deflate: bool) -> list[str | bytes]:
    first, *others = [_events(pieces, deflate=deflate) for pieces in ways(data)]
    for other in others:
        if deflate and _has_two_faults(data):
            assert _without_codes(other) == _without_codes(first)
        else:
            assert other == first
    for pieces in ways(data):
        short = _events(pieces, deflate=deflate)
        with _wsproto_alone():
            assert _events(pieces, deflate=deflate) == short
    comparable = _comparable(frames.split(data)[0], deflate=deflate)
    whole = frames.join(comparable)
    verdict = _verdict(_events([whole], deflate=deflate, binary=True))
    assert verdict == _verdict_of_websockets(whole, comparable, deflate=deflate)
    return verdict[0]


@contextmanager
def _wsproto_alone() -> Iterator[None]:
    with patch.object(websocket, "take_text", lambda _data, _at, _bytes_max: None):
        yield


def _events(pieces: list[bytes], *, deflate: bool, binary: bool = False) -> list[Event]:
    connection = WebSocketConnection(
        deflate=deflate, binary=binary, message_bytes_max=BYTES_MAX, fragments_max=FRAGMENTS_MAX
    )
    events = [event for piece in pieces for event in connection.receive(piece)]
    ends = [isinstance(event, CloseReceived | Violation) for event in events]
    assert not any(ends[:-1]), "something came behind the end"
    assert connection.can_send != any(ends)
    assert bool(connection.ping(b"p")) == bool(connection.pong(b"p")) == connection.can_send
    for event in events:
        if isinstance(event, Message):
            assert len(event.data.encode()) <= BYTES_MAX
        elif isinstance(event, CloseReceived):
            assert connection.close_reply(event)[0] == 0x88
        elif isinstance(event, Violation):
            assert connection.close(event.code, event.reason)[0] == 0x88
            assert connection.close_sent
            assert not connection.close_received
    return events


def _without_codes(events: list[Event]) -> list[Event]:
    return [Violation(0, "") if isinstance(one, Violation) else one for one in events]


def _has_two_faults(data: bytes) -> bool:
    """Whether the first compressed message that has any fault has several (it can't be inflated, is
    no UTF-8, is too long, stands within another one): which is found first depends on the cuts.
    """
    found, rest = frames.split(data)
    last = frames.begun(rest)
    message: _Compressed | None = None
    is_within = False
    for frame in [*found, *([] if last is None else [last[0]])]:
        if frame.first & 0x08:
            continue
        if frame.first & 0x0F == Opcode.BINARY:  # refused by its head
            return False
        is_first = bool(frame.first & 0x0F)
        is_misplaced = is_first == is_within
        if is_first:
            message = _Compressed() if frame.first & 0x40 else None
        is_within = not frame.first & 0x80
        if message is not None:
            message.take(frame.payload, is_last=not is_within)
            faults = message.faults | ({"place"} if is_misplaced else set())
            if faults and (len(faults) > 1 or not is_within):
                return len(faults) > 1
    return False


class _Compressed:
    """A message's faults, each looked for to the end, byte by byte."""

    def __init__(self) -> None:
        self.faults: set[str] = set()
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._inflated = self._compressed = 0

    def take(self, payload: bytes, *, is_last: bool) -> None:
        """A frame's payload."""
        for byte in payload + _TAIL * is_last:
            self._compressed += 1
            if "inflate" not in self.faults:
                self._take(bytes((byte,)))
        if is_last:
            self._decoded(b"", is_last=True)
        if max(self._inflated, self._compressed / _EXPANSION_MAX) > BYTES_MAX:
            self.faults.add("length")

    def _take(self, byte: bytes) -> None:
        try:
            plain = self._inflate.decompress(byte)
        except zlib.error:
            self.faults.add("inflate")
            return
        self._inflated += len(plain)
        self._decoded(plain, is_last=False)
        if self._inflate.eof:
            unused = self._inflate.unused_data
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            if unused:
                self._take(unused)

    def _decoded(self, plain: bytes, *, is_last: bool) -> None:
        try:
            self._decode.decode(plain, final=is_last)
        except UnicodeDecodeError:
            self.faults.add("text")


def _verdict(events: list[Event]) -> Verdict:
    messages = [event.data for event in events if isinstance(event, Message | BinaryMessage)]
    return messages, any(isinstance(event, CloseReceived | Violation) for event in events)


# The other library


def _comparable(found: list[frames.Frame], *, deflate: bool) -> list[frames.Frame]:
    """The frames up to the first of which `websockets` is known to think otherwise: it takes
    lengths in a longer form than RFC 6455 section 5.2 allows, and loses what stands behind a final
    block (RFC 7692 section 7.2.3.4).
    """
    taken: list[frames.Frame] = []
    message = b""
    for frame in found:
        if not frame.is_shortest:
            break
        if deflate and not frame.first & 0x08:
            message = message * (not frame.first & 0x0F) + frame.payload
            if _has_final_block(message) or _has_final_block(message + _TAIL):
                break
        taken.append(frame)
    return taken


def _has_final_block(compressed: bytes) -> bool:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflate.decompress(compressed)
    except zlib.error:
        return False
    return inflate.eof


def _verdict_of_websockets(data: bytes, sent: list[frames.Frame], *, deflate: bool) -> Verdict:
    theirs = ServerProtocol(state=State.OPEN, max_size=None)
    if deflate:
        theirs.extensions = [PerMessageDeflate(True, True, 15, 15)]
    theirs.receive_data(data)
    received = [event for event in theirs.events_received() if isinstance(event, Frame)]
    reader = _Reader()
    for frame, as_sent in zip(received, sent, strict=False):
        if not reader.take(frame, as_sent):
            return reader.messages, True
    return reader.messages, theirs.parser_exc is not None or theirs.close_rcvd is not None


class _Reader:
    """What `websockets` leaves to its user: putting messages together, and our limits."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self._start()

    def _start(self, *, is_text: bool = False, compressed: bool = False) -> None:
        self._is_text, self._compressed = is_text, compressed
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text, self._octets = "", b""
        self._fragments = self._compressed_size = 0

    def take(self, frame: Frame, as_sent: frames.Frame) -> bool:
        """False where the session ends."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._start(is_text=frame.opcode is Opcode.TEXT, compressed=bool(as_sent.first & 0x40))
        elif frame.opcode is not Opcode.CONT:
            return True
        self._octets += bytes(frame.data)
        self._fragments += 1
        self._compressed_size += len(as_sent.payload) + len(_TAIL) * frame.fin
        if len(self._octets) > BYTES_MAX or self._fragments > FRAGMENTS_MAX:
            return False
        if self._compressed and self._compressed_size > _EXPANSION_MAX * BYTES_MAX:
            return False
        try:
            if self._is_text:
                self._text += self._decode.decode(bytes(frame.data), final=frame.fin)
        except UnicodeDecodeError:
            return False
        if frame.fin:
            self.messages.append(self._text if self._is_text else self._octets)
        return True
