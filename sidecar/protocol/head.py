"""What a request head has to be: looked at before and after h11 parses it.

h11 reads generously, and its size limit only counts while it waits for more (h11#206): a head of
229 kB that arrives at once passes a limit of 4 kB. So the raw bytes are measured and searched
first, and h11 only ever gets one complete head of bounded size. What h11 lets pass and RFC 9112
lets a server refuse, or smuggling lives on, is refused here: bare LF and folded lines (sections 2.2
and 5.2), control characters (RFC 9110 section 5.5, h11#57), absolute-form targets, both framings at
once (RFC 9112 section 6.1).

Each check depends only on the bytes up to where it looks, never on how they were cut into reads.
"""

import re

from sidecar.errors import HttpRefused
from sidecar.limits import (
    REQUEST_BODY_BYTES_MAX,
    REQUEST_HEAD_BYTES_MAX,
    REQUEST_HEADER_LINE_BYTES_MAX,
    REQUEST_HEADERS_MAX,
    REQUEST_HOST_BYTES_MAX,
)
from sidecar.protocol.request import Request

_END = b"\r\n\r\n"
_FORBIDDEN = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"  # control characters but tab
    rb"|(?<!\r)\n"  # bare LF
    rb"|\r[^\n]"  # bare CR
    rb"|\n[ \t]"  # a folded line
)
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")  # RFC 3986 host and port, characters only
_BODY_FRAMING_BYTES_MAX = REQUEST_HEAD_BYTES_MAX  # chunk sizes, extensions and trailers together


def measure(buffer: bytearray, searched: int) -> int:
    """Bytes of the head that `buffer` starts with, blank line included; 0 while it is incomplete.

    `searched` bytes were in the buffer at the call before, so that all calls together are O(n).
    Raises `HttpRefused`: 400 for a forbidden character, 414 or 431 for a head that is too long.
    """
    found = buffer.find(_END, max(0, searched - len(_END) + 1), REQUEST_HEAD_BYTES_MAX)
    size = found + len(_END) if found >= 0 else 0
    if _FORBIDDEN.search(buffer, max(0, searched - 1), size or REQUEST_HEAD_BYTES_MAX):
        raise HttpRefused(400, "a control character, bare CR or LF, or folded line in the head")
    if not size and len(buffer) >= REQUEST_HEAD_BYTES_MAX:
        status = 431 if b"\n" in buffer[:REQUEST_HEAD_BYTES_MAX].lstrip(b"\r\n") else 414
        raise HttpRefused(status, f"the request head is longer than {REQUEST_HEAD_BYTES_MAX} bytes")
    return size


def check_lines(head: bytes) -> None:
    """Hold a complete head to the limits on its lines. Raises `HttpRefused` 414 or 431. O(n)."""
    request_line, *fields = head.removesuffix(_END).split(b"\r\n")
    if len(request_line) > REQUEST_HEADER_LINE_BYTES_MAX:
        raise HttpRefused(
            414, f"the request line is longer than {REQUEST_HEADER_LINE_BYTES_MAX} bytes"
        )
    if len(fields) > REQUEST_HEADERS_MAX:
        raise HttpRefused(431, f"more than {REQUEST_HEADERS_MAX} headers")
    if any(len(field) > REQUEST_HEADER_LINE_BYTES_MAX for field in fields):
        raise HttpRefused(431, f"a header is longer than {REQUEST_HEADER_LINE_BYTES_MAX} bytes")


def check_request(request: Request) -> None:
    """Hold a parsed head to what this server takes. Raises `HttpRefused`.

    h11 has made sure of one Host in HTTP/1.1 and at most one in 1.0, of one Content-Length, and
    that a Transfer-Encoding is "chunked".
    """
    _check_request_line(request)
    _check_host(request.header("host") or "")
    _check_framing(request)


def body_budget(request: Request) -> int:
    """How many bytes may be read for the body: its length, or the most that chunks may take."""
    if request.header("transfer-encoding") is not None:
        return REQUEST_BODY_BYTES_MAX + _BODY_FRAMING_BYTES_MAX
    return int(request.header("content-length") or 0)


def _check_request_line(request: Request) -> None:
    if request.version not in ("1.1", "1.0"):
        raise HttpRefused(505, f"HTTP/{request.version} is not spoken here, HTTP/1.1 is")
    # A 2xx answer to CONNECT would turn the connection into a tunnel, whatever its target.
    if not request.target.startswith("/") or request.method == "CONNECT":
        raise HttpRefused(400, 'the request target is not a path that starts with "/"')


def _check_host(host: str) -> None:
    # Never IDNA-decoded: the codec takes 51 ms for 15 kB (cpython#98433).
    if len(host) > REQUEST_HOST_BYTES_MAX:
        raise HttpRefused(400, f"Host is longer than {REQUEST_HOST_BYTES_MAX} bytes")
    if not _HOST.fullmatch(host):
        raise HttpRefused(400, "Host is not a host name with an optional port")


def _check_framing(request: Request) -> None:
    length = request.header("content-length")
    chunked = request.header("transfer-encoding") is not None
    if chunked and length is not None:
        raise HttpRefused(400, "both Content-Length and Transfer-Encoding")
    if chunked and request.version == "1.0":
        raise HttpRefused(400, "HTTP/1.0 has no Transfer-Encoding")
    if int(length or 0) > REQUEST_BODY_BYTES_MAX:
        raise HttpRefused(413, f"the body is longer than {REQUEST_BODY_BYTES_MAX} bytes")
    encodings = set(request.tokens("content-encoding")) - {"identity"}
    if encodings and (chunked or int(length or 0)):
        accepted = (("accept-encoding", "identity"),)  # RFC 9110 section 15.5.16
        raise HttpRefused(415, "the body must not be encoded", headers=accepted)
