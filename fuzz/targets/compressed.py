"""A session whose client may compress: as `websocket`, and no message is longer than the limit,
however little it was compressed. What comes in can go out: every message that we compress is itself
again when a client inflates it. Any header is an offer that is taken or declined.
"""

import zlib

from mutators.frames import mutate
from sessions import check_session
from sidecar.protocol import frames
from sidecar.protocol.deflate import NAME, negotiate

__all__ = ["AIMED_AT", "check", "mutate"]

AIMED_AT = ("sidecar.protocol.deflate", "sidecar.protocol.websocket", "sidecar.protocol.inbound")
_TAIL = b"\x00\x00\xff\xff"


def check(data: bytes) -> None:
    """Holds it."""
    for message in check_session(data, deflate=True):
        plain = message.encode() if isinstance(message, str) else message
        _check_outgoing(frames.text(plain), plain)
    answer = negotiate(data.decode("latin-1"))
    assert answer is None or answer.startswith(NAME)


def _check_outgoing(frame: bytes, plain: bytes) -> None:
    deflated = frames.deflated(frame)
    if deflated is not frame:
        assert len(deflated) < len(frame)
        start = 2 if deflated[1] < 126 else 4
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        assert inflate.decompress(deflated[start:] + _TAIL) == plain
