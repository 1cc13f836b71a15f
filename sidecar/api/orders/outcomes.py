"""What a sender is told of an action, over HTTP and over WebSocket: the exchange endpoint's shapes.

    what happened                        HTTP    body
    the chain executed it                200     {"status": "ok", "response": {"type": ..., ...}}
    chain or doorman refused it          200     {"status": "err", "response": "why"}
    it can't be read                     422     {"code": 422, "msg": "why"}
    too much at a time                   429     likewise, with Retry-After
    the node takes nothing now           503     likewise; nothing was sent
    nobody knows                         504     {"status": "unknown", "response": ..., "nonce": N}

On WebSocket a body with a status is the payload of an "action", the others are an "error" whose
payload is "429: why".
"""

import math
from typing import Any

import msgspec

from sidecar.errors import Limited, NotAdmitted, PeerError

UNAVAILABLE = 503  # nothing was sent


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An answer, encoded: `body` is HTTP's. `status` is "ok", "err" or "unknown", and None where
    there is only a message; `height` is that of the block that executed or refused the action, 0
    for none.
    """

    code: int
    status: str | None
    body: bytes
    message: str = ""
    height: int = 0
    retry_after_s: float | None = None

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What HTTP says beside it."""
        if self.retry_after_s is None:
            return ()
        return (("Retry-After", str(max(math.ceil(self.retry_after_s), 1))),)

    def as_post(self) -> dict[str, Any]:
        """The response of a WebSocket post."""
        if self.status is not None:
            return {"type": "action", "payload": msgspec.Raw(self.body)}
        return {"type": "error", "payload": f"{self.code}: {self.message}"}


def executed(response: Any, height: int) -> Outcome:
    """The chain executed it: the endpoint's own response."""
    return Outcome(200, "ok", _encode({"status": "ok", "response": response}), height=height)


def refused(message: Any, height: int = 0) -> Outcome:
    """The chain or the doorman refused it."""
    return Outcome(200, "err", _encode({"status": "err", "response": message}), height=height)


def unreadable(message: str) -> Outcome:
    """It is no signed action."""
    return _error(422, message)


def unavailable(message: str) -> Outcome:
    """The node takes nothing now, and nothing was sent."""
    return _error(UNAVAILABLE, message, retry_after_s=1.0)


def failed() -> Outcome:
    """A bug of ours."""
    return _error(500, "an error of the server")


def unknown(message: str, nonce: int) -> Outcome:
    """It was sent, and what became of it is not known: `orderStatus` will tell."""
    what = f"{message}; it may have been executed or may still be: ask orderStatus"
    return Outcome(504, "unknown", _encode({"status": "unknown", "response": what, "nonce": nonce}))


def turned_away(error: PeerError) -> Outcome:
    """What an error of the client says."""
    if isinstance(error, Limited):
        wait = f"{error} Try again in {error.retry_after_s:.3g} s."
        return _error(429, wait, retry_after_s=error.retry_after_s)
    if isinstance(error, NotAdmitted) and error.response is not None:
        return executed(error.response, 0)
    return refused(str(error))


def _error(code: int, message: str, retry_after_s: float | None = None) -> Outcome:
    body = _encode({"code": code, "msg": message})
    return Outcome(code, None, body, message, retry_after_s=retry_after_s)


_encode = msgspec.json.Encoder().encode
