"""Asks the node what the sidecar does not know, on behalf of clients.

    client ─ {"type": "meta"} ─▶ NotInSource ─▶ node's info server ─ bytes ─▶ client

Only queries on a list are passed on. The request is written anew from what was understood of it:
JSON with a key twice may mean one thing here and another there. The answer's bytes are not touched.
"""

from typing import Any

import msgspec

from sidecar.api.info.elsewhere import may_be_elsewhere
from sidecar.errors import HttpRefused, NodeUnreachable, NotInSource
from sidecar.limits import INFO_ANSWER_BYTES_MAX, INFO_FORWARD_TIMEOUT_S, INFO_FORWARDS_MAX
from sidecar.node.hyperliquid import InfoAnswer, InfoClient

_OK = 200


class PassThrough:
    """The way to a node's info server, which takes so many requests at a time."""

    def __init__(
        self,
        client: InfoClient,
        *,
        timeout_s: float = INFO_FORWARD_TIMEOUT_S,
        forwards_max: int = INFO_FORWARDS_MAX,
    ) -> None:
        self.forwarded = 0  # so far
        self.failed = 0  # of these, without an answer
        self._client = client
        self._timeout_s = timeout_s
        self._forwards_max = forwards_max
        self._waiting = 0

    async def ask(self, request: Any, reason: NotInSource) -> InfoAnswer:
        """The node's answer to a decoded request, errors included. `reason`: why it is asked.

        Raises `reason` for what is not to be passed on, and `HttpRefused`: 502 where the node gives
        no answer, 503 with too many waiting, 504 where it takes too long.
        """
        if not may_be_elsewhere(request):
            raise reason
        if self._waiting >= self._forwards_max:
            raise HttpRefused(503, "too many requests wait for the node; try again later")
        self._waiting += 1
        self.forwarded += 1
        try:
            return await self._client.post(
                msgspec.json.encode(request),
                timeout_s=self._timeout_s,
                answer_bytes_max=INFO_ANSWER_BYTES_MAX,
            )
        except NodeUnreachable as error:
            self.failed += 1
            raise HttpRefused(504 if error.timeout else 502, str(error)) from error
        finally:
            self._waiting -= 1


def as_post_response(kind: str, answer: InfoAnswer) -> dict[str, object]:
    """An answer as that of a WebSocket post, its JSON untouched. O(bytes)."""
    if answer.status != _OK:
        return {"type": "error", "payload": f"{answer.status}: {answer.text()}"}
    try:
        answer.body.decode()
        data = msgspec.json.decode(answer.body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"type": "error", "payload": "502: the node's answer is not JSON"}
    return {"type": "info", "payload": {"type": kind, "data": data}}
