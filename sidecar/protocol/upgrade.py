"""The WebSocket opening handshake, server's side: a request in, the 101 or the refusal out.

RFC 6455 section 4.2.1 says what the request must have; each row of `_CHECKS` is one of its points,
in the order in which they are looked at. wsproto's handshake is not used: it raises ValueError and
UnicodeError at hostile headers, lets the last of two Connection headers win, never looks at the
key's length, and decodes Host with IDNA. Here a header is latin-1 text that is matched, never
decoded.

Subprotocols and extensions are offers (sections 4.2.2 and 9.1): leaving them out of the answer
declines them. Extensions must be well-formed even so.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1
from typing import NamedTuple

from sidecar.errors import UpgradeRefused
from sidecar.protocol.request import Request

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64: 24 characters

# Section 9.1: extension-param = token [ "=" ( token | quoted token ) ]. The quotes hold a token, so
# neither "," nor ";" can be inside them and splitting comes first.
_TCHARS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # RFC 9110: token = 1*tchar
_EXTENSION_NAME = re.compile(rf"[ \t]*+{_TCHARS}[ \t]*+")
_EXTENSION_PARAM = re.compile(
    rf'[ \t]*+{_TCHARS}[ \t]*+(?:=[ \t]*+(?:{_TCHARS}|"{_TCHARS}")[ \t]*+)?'
)

_Headers = tuple[tuple[str, str], ...]
_UPGRADE: _Headers = (("upgrade", "websocket"), ("connection", "upgrade"))  # RFC 9110 section 7.8
_VERSION: _Headers = (("sec-websocket-version", "13"),)  # RFC 6455 section 4.2.2


class _Check(NamedTuple):
    holds: Callable[[Request], bool]
    status: int
    refusal: str
    headers: _Headers = ()


def is_upgrade(request: Request) -> bool:
    """Whether the client asks for a WebSocket, rightly or not."""
    return "websocket" in request.tokens("upgrade")


def accept(request: Request, extension: str | None = None) -> bytes:
    """The bytes of ``101 Switching Protocols``: what follows them is WebSocket, both ways, with an
    extension that was negotiated.

    Raises `UpgradeRefused` for the first check that does not hold.
    """
    for check in _CHECKS:
        if not check.holds(request):
            raise UpgradeRefused(check.status, check.refusal, headers=check.headers)
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: "
        + _accept_value(request.values("sec-websocket-key")[0])
        + b"\r\n"
        + (b"" if extension is None else b"Sec-WebSocket-Extensions: %b\r\n" % extension.encode())
        + b"\r\n"
    )


def _accept_value(key: str) -> bytes:
    return b64encode(sha1((key + _GUID).encode("ascii"), usedforsecurity=False).digest())


def _has_no_body(request: Request) -> bool:
    return not request.values("content-length") and not request.values("transfer-encoding")


def _has_one_key(request: Request) -> bool:
    keys = request.values("sec-websocket-key")
    return len(keys) == 1 and _KEY.fullmatch(keys[0]) is not None


def _has_well_formed_extensions(request: Request) -> bool:
    value = request.header("sec-websocket-extensions")
    if value is None:
        return True
    offers = [offer for offer in value.split(",") if offer.strip(" \t")]
    return bool(offers) and all(_is_extension(offer) for offer in offers)


def _is_extension(offer: str) -> bool:
    name, *params = offer.split(";")
    return _EXTENSION_NAME.fullmatch(name) is not None and all(
        _EXTENSION_PARAM.fullmatch(param) is not None for param in params
    )


_CHECKS = (
    _Check(
        lambda request: request.method == "GET",
        405,
        "a WebSocket opens with GET",
        (("allow", "GET"),),
    ),
    _Check(
        lambda request: request.version == "1.1",
        400,
        "a WebSocket opens with HTTP/1.1",
    ),
    _Check(
        lambda request: len(request.values("host")) == 1,
        400,
        "a WebSocket opens with one Host header",
    ),
    _Check(
        is_upgrade,
        426,
        'this is a WebSocket: the Upgrade header must hold "websocket"',
        _UPGRADE,
    ),
    _Check(
        lambda request: "upgrade" in request.tokens("connection"),
        426,
        'this is a WebSocket: the Connection header must hold "Upgrade"',
        _UPGRADE,
    ),
    _Check(
        lambda request: request.values("sec-websocket-version") == ("13",),
        426,
        "there must be one Sec-WebSocket-Version header, 13",
        (*_UPGRADE, *_VERSION),
    ),
    _Check(
        _has_one_key,
        400,
        "there must be one Sec-WebSocket-Key header, 16 bytes in base64",
    ),
    _Check(
        _has_no_body,
        400,
        "a WebSocket opens without a body: no Content-Length, no Transfer-Encoding",
    ),
    _Check(
        _has_well_formed_extensions,
        400,
        "the Sec-WebSocket-Extensions header is malformed",
    ),
)
