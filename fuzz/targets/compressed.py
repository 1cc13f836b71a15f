"""A session whose client may compress: as `websocket`, and no message is longer than the limit,
however little it was compressed.
"""

from mutators.frames import mutate
from sessions import check_session

__all__ = ["AIMED_AT", "check", "mutate"]

AIMED_AT = ("sidecar.protocol.deflate", "sidecar.protocol.websocket", "sidecar.protocol.inbound")


def check(data: bytes) -> None:
    """Holds it."""
    check_session(data, deflate=True)
