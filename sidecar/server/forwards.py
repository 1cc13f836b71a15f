"""What one WebSocket client waits for from the node: each request a task, so that nothing else of
the connection waits with it. Answers carry the request's id.
"""

from collections.abc import Callable
from typing import Any

import anyio

from sidecar.api.requests import Post
from sidecar.errors import HttpRefused, NotInSource
from sidecar.limits import INFO_FORWARDS_PER_CONNECTION
from sidecar.server.connection import Connection
from sidecar.server.pass_through import PassThrough, as_post_response
from sidecar.telemetry.logs import get_log

_log = get_log("server")

Response = dict[str, Any]


class Forwards:
    """The requests of one connection that the node has."""

    def __init__(
        self,
        connection: Connection,
        pass_through: PassThrough | None,
        reply: Callable[[Post, Response], None],
    ) -> None:
        self._connection = connection
        self._pass_through = pass_through
        self._reply = reply
        self._waiting: set[anyio.CancelScope] = set()

    def post(self, request: Post, payload: dict[str, Any], reason: NotInSource) -> None:
        """Sees to it that the request is answered: by the node, which is asked for `payload`, else
        with `reason`.
        """
        if self._pass_through is None:
            self._reply(request, _error(str(reason)))
        elif len(self._waiting) >= INFO_FORWARDS_PER_CONNECTION:
            what = f"{INFO_FORWARDS_PER_CONNECTION} requests wait for the node already"
            self._reply(request, _error(f"429: {what}"))
        else:
            pass_through, scope = self._pass_through, anyio.CancelScope()
            self._waiting.add(scope)

            async def forward() -> None:
                try:
                    with scope:
                        self._reply(request, await _answer(pass_through, payload, reason))
                finally:
                    self._waiting.discard(scope)

            self._connection.spawn(forward)

    def cancel_all(self) -> None:
        """The client has gone."""
        for scope in self._waiting:
            scope.cancel()


async def _answer(
    pass_through: PassThrough, payload: dict[str, Any], reason: NotInSource
) -> Response:
    try:
        answer = await pass_through.ask(payload, reason)
    except NotInSource as error:
        return _error(str(error))
    except HttpRefused as error:
        return _error(f"{error.status}: {error}")
    except Exception:  # noqa: BLE001 - a task of the server's: a bug here must not end all others
        _log.exception("bug: request not forwarded", kind=str(payload.get("type")))
        return _error("500: an error of the server")
    return as_post_response(str(payload["type"]), answer)


def _error(what: str) -> Response:
    return {"type": "error", "payload": what}
