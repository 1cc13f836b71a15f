"""The server's side of HTTP/1.1 on one TCP connection: bytes in, requests out, answers as bytes.

    HEAD ──head complete──▶ BODY ──message complete──▶ ANSWER ──respond, kept alive──▶ HEAD
      │                      │                           │
      └──────── refused, answered with "close", peer gone ──────▶ ENDED

h11 parses and serialises; this class keeps what h11 leaves to its user. Received bytes wait in a
buffer of ours, and h11 gets one complete head and then only that request's body, so it never holds
what it can't parse yet (after PAUSED it would store without limit). Each request has an
`h11.Connection` of its own: what arrived behind a request stays in our buffer, never in h11's.

Time is the caller's: one deadline for a whole head, not one per read, stops a slow sender (h11 has
none). `idle` tells which deadline runs.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto
from http import HTTPStatus

import h11
import msgspec

from sidecar.errors import HttpRefused
from sidecar.limits import REQUEST_BODY_BYTES_MAX, REQUEST_HEAD_BYTES_MAX
from sidecar.protocol.head import body_budget, check_lines, check_request, measure
from sidecar.protocol.request import Request

__all__ = ["HttpConnection", "Request"]

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})  # RFC 9110 section 6.4.1

# h11's own limit depends on how reads were cut; ours do the limiting.
_H11_EVENT_BYTES_MAX = REQUEST_HEAD_BYTES_MAX + 2 * REQUEST_BODY_BYTES_MAX
_MESSAGE_CHARS_MAX = 200


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    ENDED = auto()


class HttpConnection:
    """HTTP/1.1 with keep-alive and pipelining, one request at a time.

    Feed at most `room()` bytes, call `next_request()` until it returns None, answer each request
    before asking for the next one. After a refusal, or when `should_close`, write the answer,
    half-close, discard what still comes, close (a close with unread input resets the connection and
    the peer may lose the answer).
    """

    def __init__(self) -> None:
        self._phase = _Phase.HEAD
        self._h11 = _new_h11()
        self._buffer = bytearray()  # received and not yet h11's
        self._searched = 0  # bytes of the buffer in which the head does not end
        self._request: Request | None = None
        self._body = bytearray()
        self._body_left = 0  # bytes that h11 may still get for the body
        self._eof = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """The peer has sent its last byte and no request is left in what it sent."""
        return self._closed

    @property
    def should_close(self) -> bool:
        """No further request will be read: close once the answer is written."""
        return self._phase is _Phase.ENDED

    @property
    def idle(self) -> bool:
        """Between requests, with no byte of the next one here."""
        return self._phase is _Phase.HEAD and not self._buffer

    def room(self) -> int:
        """How many bytes `receive` takes now; 0 while a request waits for its answer."""
        if self._eof:
            return 0
        if self._phase is _Phase.HEAD:
            return max(0, REQUEST_HEAD_BYTES_MAX - len(self._buffer))
        if self._phase is _Phase.BODY:
            return self._body_left - len(self._buffer)
        return 0

    def receive(self, data: bytes) -> None:
        """Take what the socket gave; b"" is its end."""
        if not data:
            self._eof = True
            return
        assert len(data) <= self.room(), "more was read than there is room for"
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next complete request; None if it needs more bytes, or if none will come (`closed`,
        `should_close`).

        Raises `HttpRefused`, once: what is left is to write `refuse(error)` and close.
        """
        assert self._phase is not _Phase.ANSWER, "the request before is not answered yet"
        try:
            return self._advance()
        except HttpRefused:
            self._end()
            raise

    def interim(self) -> bytes:
        """``100 Continue`` if the client holds its body back for it, else b"". Once per request."""
        if self._phase is not _Phase.BODY or not self._h11.they_are_waiting_for_100_continue:
            return b""
        interim = h11.InformationalResponse(status_code=100, reason=_REASONS[100], headers=[])
        return self._h11.send(interim)

    def respond(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Iterable[tuple[str, str]] = (),
    ) -> bytes:
        """The whole answer to the request at hand. A HEAD, a 204 and a 304 get no body.

        ``("connection", "close")`` among the headers ends keep-alive; else the client decides.
        """
        assert self._phase is _Phase.ANSWER, "there is no request to answer"
        assert self._request is not None
        fields = [*headers]
        if status not in _WITHOUT_BODY:
            fields += _content_fields(content_type, body)
        with_body = status not in _WITHOUT_BODY and self._request.method != "HEAD"
        answer = _serialize(self._h11, status, fields, body if with_body else b"")
        self._h11.send(h11.EndOfMessage())
        self._request = None
        if self._h11.our_state is h11.DONE:
            self._phase = _Phase.HEAD
        else:
            self._end()
        return answer

    def refuse(self, error: HttpRefused) -> bytes:
        """The answer to what is not taken, in whatever state; the connection ends with it."""
        head_only = self._request is not None and self._request.method == "HEAD"
        self._end()
        body = msgspec.json.encode({"code": error.status, "msg": str(error)})
        options = [value for name, value in error.headers if name.lower() == "connection"]
        fields = [pair for pair in error.headers if pair[0].lower() != "connection"]
        fields += _content_fields("application/json", body)
        fields.append(("connection", ", ".join([*options, "close"])))
        # An h11 that has seen an error sends nothing more: a new one speaks for it.
        return _serialize(_new_h11(), error.status, fields, b"" if head_only else body)

    def leftover(self) -> bytes:
        """Bytes that arrived behind the request at hand: the new protocol's after an upgrade."""
        assert self._phase is _Phase.ANSWER, "only a request at hand has something behind it"
        return bytes(self._buffer)

    def _advance(self) -> Request | None:
        if self._phase is _Phase.HEAD and self._read_head():
            self._phase = _Phase.BODY
        if self._phase is _Phase.BODY and self._read_body():
            self._phase = _Phase.ANSWER
            return self._request
        if self._eof:
            self._closed = True
            self._end()
        return None

    def _read_head(self) -> bool:
        size = measure(self._buffer, self._searched)
        if not size:
            self._searched = len(self._buffer)
            return False
        # One empty line before a request is not the head's end (RFC 9112 section 2.2).
        head = bytes(self._buffer[:size]).removeprefix(b"\r\n")
        del self._buffer[:size]
        self._searched = 0
        check_lines(head)
        self._h11 = _new_h11()
        self._h11.receive_data(head)
        event = self._next_event()
        assert isinstance(event, h11.Request)
        self._request = _translate(event)
        check_request(self._request)
        self._body_left = body_budget(self._request)
        return True

    def _read_body(self) -> bool:
        data = bytes(self._buffer[: self._body_left])
        del self._buffer[: self._body_left]
        self._body_left -= len(data)
        if data:
            self._h11.receive_data(data)
        while isinstance(event := self._next_event(), h11.Data):
            self._body += event.data
            if len(self._body) > REQUEST_BODY_BYTES_MAX:
                raise HttpRefused(413, f"the body is longer than {REQUEST_BODY_BYTES_MAX} bytes")
        if not isinstance(event, h11.EndOfMessage):
            if not self._body_left:
                raise HttpRefused(413, "the body's chunks take more bytes than a body may")
            return False
        assert self._request is not None
        self._request = replace(self._request, body=bytes(self._body))
        self._body.clear()
        self._buffer[:0] = self._h11.trailing_data[0]  # what came behind the last chunk
        return True

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            what = f"malformed request: {error}"[:_MESSAGE_CHARS_MAX]  # h11 quotes whole lines
            raise HttpRefused(error.error_status_hint, what) from error

    def _end(self) -> None:
        self._phase = _Phase.ENDED
        self._buffer.clear()
        self._body.clear()


def _new_h11() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_H11_EVENT_BYTES_MAX)


def _translate(event: h11.Request) -> Request:
    return Request(
        method=event.method.decode("ascii"),
        target=event.target.decode("ascii"),
        version=event.http_version.decode("ascii"),
        headers=tuple(
            (name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers
        ),
    )


def _content_fields(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [("content-type", content_type), ("content-length", str(len(body)))]


def _serialize(
    connection: h11.Connection, status: int, fields: list[tuple[str, str]], body: bytes
) -> bytes:
    response = h11.Response(status_code=status, reason=_REASONS.get(status, b""), headers=fields)
    return connection.send(response) + connection.send(h11.Data(data=body))
