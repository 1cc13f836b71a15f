"""A session without compression: however a client's bytes are cut, the same events, reasons and
codes too; the short way in (`protocol.inbound`) can't be told from wsproto's; the messages, and
whether the session has ended, are those of the `websockets` library; nothing is raised.
"""

from mutators.frames import mutate
from sessions import check_session

__all__ = ["AIMED_AT", "check", "mutate"]

AIMED_AT = ("sidecar.protocol.websocket", "sidecar.protocol.inbound")


def check(data: bytes) -> None:
    """Holds it."""
    check_session(data, deflate=False)
