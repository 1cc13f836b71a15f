"""The server's side of one open WebSocket: bytes in, events out, control frames as bytes to send.

Whole texts, which is nearly all that clients send, are read at once (`inbound`); wsproto's frame
layer parses the rest. What it leaves to its user is kept here (RFC 6455 sections 5.4 to 7):

* No size is limited there, and data comes in pieces as it arrives. Messages are put together here,
  within `message_bytes_max` bytes and `fragments_max` frames. What is not compressed is refused by
  the lengths that its frames announce, before it is there: what else is wrong with it would be
  found or not, as the bytes are cut. What is compressed is bounded as it is inflated (`deflate`).
  Empty frames count: they cost time without costing bytes (CVE-2026-48779 of `ws`).
* Whether binary messages are taken is for the session to say; where they are not, 1003 answers,
  likewise by the head: whether such a message can be inflated is not looked at.
* After a failure its parser is dead but keeps what it is given for ever. So after a Close or a
  violation the parser is dropped, and what else arrives is not looked at.
* Its sending half raises when it is too late to send. Here such a control frame is b"".

Outgoing text does not pass through here: frames are made once and shared (`frames`). They may be
written while `can_send` is true. Nothing may follow our Close (section 5.5.1).

    can_send ──close()──▶ close sent: messages are discarded, only the peer's Close counts
        │                     │
        └──CloseReceived──────┴──Violation──▶ nothing more is read; one Close may still be sent
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from wsproto.frame_protocol import Frame, FrameProtocol, Opcode, ParseFailed

from sidecar.errors import ProtocolViolated
from sidecar.limits import MESSAGE_BYTES_MAX, MESSAGE_FRAGMENTS_MAX
from sidecar.protocol import frames
from sidecar.protocol.closecodes import CloseCode, echo
from sidecar.protocol.deflate import BoundedInflate
from sidecar.protocol.inbound import Boundaries, Head, take_text


@dataclass(frozen=True, slots=True)
class Message:
    """A complete text message."""

    data: str


@dataclass(frozen=True, slots=True)
class BinaryMessage:
    """A complete binary message; reported only where these are taken."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PingReceived:
    """A Ping. Of several unanswered ones only the last needs a Pong (RFC 6455 section 5.5.3)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PongReceived:
    """A Pong, asked for or not."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """The peer's Close; `code` is 1005 if it had none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol or a limit: close with this code and reason."""

    code: int
    reason: str


Event: TypeAlias = Message | BinaryMessage | PingReceived | PongReceived | CloseReceived | Violation

_RSV1 = 0x40  # of a frame's first byte: compressed (RFC 7692 section 6)
_NOT_UTF_8 = "a text or a close reason is not UTF-8"
_BINARY = "JSON text wanted, not binary"
_TOO_BIG = "a message is longer than {} bytes"
_DEFLATE_FAULTS = {
    CloseCode.PROTOCOL_ERROR: "RSV1 on a frame that can't be compressed",
    CloseCode.INVALID_PAYLOAD_DATA: "a message can't be inflated",
    CloseCode.MESSAGE_TOO_BIG: _TOO_BIG,
}


class WebSocketConnection:
    """One WebSocket after its opening handshake."""

    def __init__(
        self,
        *,
        deflate: bool = False,
        binary: bool = False,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        fragments_max: int = MESSAGE_FRAGMENTS_MAX,
    ) -> None:
        """`deflate`: the client may compress its messages; `binary`: they may be binary."""
        self._binary = binary
        self._bytes_max = message_bytes_max
        self._fragments_max = fragments_max
        self._parser: FrameProtocol | None = FrameProtocol(
            client=False, extensions=[BoundedInflate(message_bytes_max)] if deflate else []
        )
        self._boundaries = Boundaries()
        self._pieces: list[str] = []  # of the message that is arriving
        self._octets = bytearray()  # likewise, if it is binary
        self._bytes = 0  # of its frames so far, if it is not compressed
        self._is_compressed = False
        self._fragments = 0  # finished ones of that message
        self._close_sent = False
        self._close_received = False

    @property
    def can_send(self) -> bool:
        """Whether frames may be written: open, and no Close in either direction."""
        return self._parser is not None and not self._close_sent

    @property
    def close_sent(self) -> bool:
        """Our Close has been handed out."""
        return self._close_sent

    @property
    def close_received(self) -> bool:
        """The peer's Close has arrived."""
        return self._close_received

    def receive(self, data: bytes) -> list[Event]:
        """What `data` completes, in order; a `CloseReceived` or `Violation` is the last event ever.

        Once our Close is sent, only these two are reported. Amortised O(n) for any cutting of the
        bytes.
        """
        events = list(self.read(data))
        if self._close_sent:
            return [event for event in events if isinstance(event, CloseReceived | Violation)]
        return events

    def read(self, data: bytes) -> Iterator[Event]:
        """Likewise, one after another: what nobody asks for is not parsed. A Ping or a message
        may take a moment to handle, and thousands fit into one read; whoever gives up in between
        reads nothing of this connection again.
        """
        at, size = 0, len(data)
        while at < size and self._parser is not None:
            text = None
            if self._boundaries.between and not self._fragments:
                text = take_text(data, at, self._bytes_max)
            events: list[Event] = []
            if text is not None:
                at = text.end
                events.append(_message(text.payload))
            else:
                end = self._boundaries.advance(data, at)
                head = self._boundaries.head
                refused = None if head is None else self._refused(head)
                if head is not None and refused is not None:
                    self._parse(data[at : head.end], events)
                    if not events:  # nothing is wrong with the head itself
                        events.append(refused)
                else:
                    self._parse(data[at:end], events)
                at = end
            if events and isinstance(events[-1], CloseReceived | Violation):
                self._stop_reading()
            yield from events

    def close(self, code: int, reason: str = "") -> bytes:
        """Our Close; b"" if it was sent before. See `frames.close`."""
        if self._close_sent:
            return b""
        self._close_sent = True
        return frames.close(code, reason)

    def close_reply(self, received: CloseReceived) -> bytes:
        """The answer to the peer's Close; b"" if ours was sent before."""
        return self.close(echo(received.code))

    def ping(self, payload: bytes) -> bytes:
        """A Ping of at most 125 bytes; b"" unless `can_send`."""
        return frames.ping(payload) if self.can_send else b""

    def pong(self, payload: bytes) -> bytes:
        """The Pong that answers a Ping; b"" unless `can_send`."""
        return frames.pong(payload) if self.can_send else b""

    def _refused(self, head: Head) -> Violation | None:
        """What is wrong with the message, as far as the heads of its frames tell."""
        if head.first & 0x0F == Opcode.BINARY and not self._binary:
            return Violation(int(CloseCode.UNSUPPORTED_DATA), _BINARY)
        if self._announces_too_much(head):
            return Violation(int(CloseCode.MESSAGE_TOO_BIG), _TOO_BIG.format(self._bytes_max))
        return None

    def _announces_too_much(self, head: Head) -> bool:
        """Whether the frame that begins makes the message too long, as far as lengths tell."""
        opcode = head.first & 0x0F
        if opcode > Opcode.BINARY:  # control frames are short, or wrong
            return False
        if opcode:
            self._is_compressed = bool(head.first & _RSV1)
        if self._is_compressed:
            return False
        self._bytes += head.payload_bytes
        return self._bytes > self._bytes_max

    def _parse(self, data: bytes, events: list[Event]) -> None:
        """wsproto's part: a frame, or what there is of it."""
        assert self._parser is not None
        self._parser.receive_bytes(data)
        try:
            for frame in self._parser.received_frames():
                event = self._take(frame)
                if event is not None:
                    events.append(event)
        except ParseFailed as error:
            events.append(Violation(int(error.code), _describe(error, self._bytes_max)))
        except ProtocolViolated as error:
            events.append(Violation(error.code, str(error)))

    def _take(self, frame: Frame) -> Event | None:
        payload = frame.payload
        if isinstance(payload, tuple):  # of a Close
            self._close_received = True
            return CloseReceived(int(payload[0]), payload[1])
        if isinstance(payload, str) or frame.opcode is Opcode.BINARY:
            return self._take_data(payload, frame)
        return PingReceived(payload) if frame.opcode is Opcode.PING else PongReceived(payload)

    def _take_data(self, piece: str | bytes, frame: Frame) -> Message | BinaryMessage | None:
        """Add a piece of a frame to the message; the whole message if that completes it."""
        self._fragments += frame.frame_finished
        if self._fragments > self._fragments_max:
            reason = f"a message has more than {self._fragments_max} fragments"
            raise ProtocolViolated(CloseCode.POLICY_VIOLATION, reason)
        if isinstance(piece, str):
            self._pieces.append(piece)
        else:
            self._octets += piece
        if not frame.message_finished:
            return None
        text, octets = "".join(self._pieces), bytes(self._octets)
        self._start_message()
        return Message(text) if isinstance(piece, str) else BinaryMessage(octets)

    def _start_message(self) -> None:
        self._pieces = []
        self._octets = bytearray()
        self._bytes = 0
        self._fragments = 0

    def _stop_reading(self) -> None:
        self._parser = None
        self._start_message()


def _message(payload: bytes) -> Message | Violation:
    try:
        return Message(payload.decode())
    except UnicodeDecodeError:
        return Violation(int(CloseCode.INVALID_PAYLOAD_DATA), _NOT_UTF_8)


def _describe(error: ParseFailed, bytes_max: int) -> str:
    """wsproto's own words, but for UTF-8, where they tell at which read the text was cut."""
    if str(error) == "error in extension":
        return _DEFLATE_FAULTS[CloseCode(int(error.code))].format(bytes_max)
    if int(error.code) == CloseCode.INVALID_PAYLOAD_DATA:
        return _NOT_UTF_8
    return str(error)
