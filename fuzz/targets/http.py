"""HTTP heads, bodies and upgrades: requests, each answered, or one refusal with a status; the same
however the bytes are cut. An upgrade is accepted or refused with a status, and what follows it is
not HTTP's. The limits are made small, so that inputs reach them.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from cutting import ways
from sidecar.errors import HttpRefused
from sidecar.protocol import deflate, head, http
from sidecar.protocol.http import HttpConnection, Request
from sidecar.protocol.upgrade import accept, is_upgrade

AIMED_AT = (
    "sidecar.protocol.http",
    "sidecar.protocol.head",
    "sidecar.protocol.request",
    "sidecar.protocol.upgrade",
)
TOKENS = (
    *(b"GET ", b"POST ", b"HEAD ", b"CONNECT ", b"OPTIONS * ", b"/ws", b"/info", b" HTTP/1.1\r\n"),
    *(b" HTTP/1.0\r\n", b"Host: x\r\n", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Sec-WebSocket-Version: 13\r\n"),
    *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Extensions: "),
    *(b"permessage-deflate", b"; server_max_window_bits=12", b"; client_max_window_bits"),
    *(b"; server_no_context_takeover", b"; client_no_context_takeover", b'="10"', b", ", b"\r\n"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"),
    *(b"Expect: 100-continue\r\n", b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: identity"),
    *(b"\r\n\r\n", b"\n", b"\r", b"\t", b"\n ", b"\x00", b"\x7f", b"\xff", b"http://", b"[::1]:80"),
)

_HEAD_BYTES_MAX, _BODY_BYTES_MAX = 1_024, 256
_LIMITS = {
    "REQUEST_HEAD_BYTES_MAX": _HEAD_BYTES_MAX,
    "REQUEST_BODY_BYTES_MAX": _BODY_BYTES_MAX,
    "REQUEST_HEADERS_MAX": 12,
    "REQUEST_HEADER_LINE_BYTES_MAX": 200,
    "REQUEST_HOST_BYTES_MAX": 60,
    "_BODY_FRAMING_BYTES_MAX": 256,
}

Outcome = tuple[list[object], int | None, bool]


def check(data: bytes) -> None:
    """Holds the invariant for all ways to cut."""
    with _small_limits():
        first, *others = [_outcome(pieces) for pieces in ways(data)]
    for other in others:
        assert other == first


@contextmanager
def _small_limits() -> Iterator[None]:
    with ExitStack() as patched:
        for name, limit in _LIMITS.items():
            for module in (head, http):
                if hasattr(module, name):
                    patched.enter_context(patch.object(module, name, limit))
        yield


def _outcome(pieces: list[bytes]) -> Outcome:
    """What was asked and answered, how it was refused if it was, and whether more may come."""
    connection, told, waiting = HttpConnection(), list[object](), deque(pieces)
    assert connection.idle
    try:
        while not (connection.closed or connection.should_close):
            request = connection.next_request()
            if request is None:
                if not (connection.closed or connection.should_close):
                    _feed(connection, waiting)
                continue
            assert len(request.body) <= _BODY_BYTES_MAX
            told.append((request, request.path, request.query))
            if is_upgrade(request):
                told += _upgraded(request)
                told.append(connection.leftover() + b"".join(waiting))
                return told, 101, False
            assert connection.respond(200, b"{}").startswith(b"HTTP/1.1 200 OK\r\n")
    except HttpRefused as refusal:
        answer = connection.refuse(refusal)
        assert answer.startswith(b"HTTP/1.1 %d " % refusal.status)
        assert connection.should_close
        return told, refusal.status, False
    return told, None, connection.closed


def _feed(connection: HttpConnection, waiting: deque[bytes]) -> None:
    assert connection.interim() in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    if not waiting:
        connection.receive(b"")
        return
    piece, room = waiting.popleft(), connection.room()
    assert room > 0, "it wants more and takes nothing"
    if piece:
        connection.receive(piece[:room])
    if piece[room:]:
        waiting.appendleft(piece[room:])


def _upgraded(request: Request) -> list[object]:
    extension = deflate.negotiate(request.header("sec-websocket-extensions"))
    answer = accept(request, extension)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\r\n\r\n")
    return [answer]
