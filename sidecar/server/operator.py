"""What operators and their tools ask, on a port of its own.

GET /healthz     the process runs and its event loop turns, which is what answers: 200
GET /readyz      200 while data is live and orders are taken, else 503; what is wrong either way
GET /metrics     for Prometheus
"""

import socket
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from sidecar.api.messages import encode
from sidecar.errors import HttpRefused
from sidecar.limits import OPERATOR_CONNECTIONS_MAX
from sidecar.protocol.http import Request
from sidecar.server.connection import Connection
from sidecar.server.http_session import HttpAnswer, HttpSession
from sidecar.server.listener import accept
from sidecar.telemetry.logs import get_log
from sidecar.telemetry.metrics import Samples, render

_log = get_log("operator")

Page = Callable[[Request], HttpAnswer]


class OperatorServer:
    """Answers GET with pages that are made when they are asked for. Where there are too many
    connections, the oldest one goes: whoever holds some keeps nobody out.
    """

    def __init__(self, listener: socket.socket, pages: Mapping[str, Page]) -> None:
        """Listens from here on; who connects is answered by `serve`."""
        listener.listen()
        self._listener = listener
        self._pages = pages
        self._connections: dict[Connection, None] = {}  # the oldest first

    @property
    def port(self) -> int:
        """The port that is listened on; 0 for a unix socket."""
        name = self._listener.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    async def serve(self) -> None:
        """Serves until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                sock, address = await accept(self._listener)
                if len(self._connections) >= OPERATOR_CONNECTIONS_MAX:
                    oldest = next(iter(self._connections))
                    del self._connections[oldest]
                    oldest.abort()
                connection = Connection(sock, address, tasks.start_soon)
                self._connections[connection] = None
                tasks.start_soon(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            with connection.scope:
                await HttpSession(connection, self._respond).run()
                connection.finish()
                await connection.linger()
        except Exception:  # noqa: BLE001 - a bug in a page ends its connection, not the server
            _log.exception("bug: operator connection ended", **connection.who)
        finally:
            connection.close()
            self._connections.pop(connection, None)

    async def _respond(self, request: Request) -> HttpAnswer:
        page = self._pages.get(request.path)
        if page is None:
            there = ", ".join(self._pages)
            raise HttpRefused(404, f"no {request.path[:64]!r} here; there are {there}")
        if request.method not in ("GET", "HEAD"):
            raise HttpRefused(405, f"{request.path} takes GET", (("Allow", "GET, HEAD"),))
        return page(request)


def operator_pages(
    report: Callable[[], dict[str, Any]], samples: Callable[[], Samples]
) -> dict[str, Page]:
    """`report` says what the process can do, `ready` among it; `samples` what it has counted."""

    def healthz(_: Request) -> HttpAnswer:
        return HttpAnswer(200, encode({"alive": True}))

    def readyz(_: Request) -> HttpAnswer:
        told = report()
        return HttpAnswer(200 if told["ready"] else 503, encode(told))

    def metrics(request: Request) -> HttpAnswer:
        body, content_type = render(samples(), request.header("accept") or "")
        return HttpAnswer(200, body, content_type)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
