"""Connections that are not let in, and are told why.

A client whose answer comes before it has asked is often at a loss (a WebSocket library may fail in
its own ways, a proxy may make a 502 of it); one whose socket is closed with bytes unread is reset,
and then never looks at the answer. So a refused one is told when its request comes, or a moment
later, and read until it has gone. Only so many at a time: in a storm the rest is told at once, and
not waited for.
"""

import contextlib
import socket

import anyio
from anyio.abc import TaskGroup

from sidecar.errors import HttpRefused
from sidecar.limits import RECV_BYTES, REFUSED_LINGER_S, REFUSED_LINGERING_MAX
from sidecar.protocol.http import HttpConnection
from sidecar.telemetry.counts import Counts


class Refusals:
    """Those of one listening socket."""

    def __init__(self, counts: Counts) -> None:
        self.lingering = 0
        self._counts = counts

    def refuse(self, tasks: TaskGroup, sock: socket.socket, refusal: HttpRefused) -> None:
        """Says why, and closes. Does not wait."""
        self._counts.refusals[refusal.status] += 1
        if self.lingering < REFUSED_LINGERING_MAX:
            self.lingering += 1
            tasks.start_soon(self._linger, sock, refusal)
            return
        with sock, contextlib.suppress(OSError):
            _tell(sock, refusal)

    async def _linger(self, sock: socket.socket, refusal: HttpRefused) -> None:
        try:
            with sock, contextlib.suppress(OSError):
                try:
                    with anyio.move_on_after(REFUSED_LINGER_S):
                        await anyio.wait_readable(sock)
                finally:  # where the server ends meanwhile, too
                    _tell(sock, refusal)
                with anyio.move_on_after(REFUSED_LINGER_S):
                    await _read_out(sock)
        finally:
            self.lingering -= 1


def _tell(sock: socket.socket, refusal: HttpRefused) -> None:
    """Raises OSError if the client has gone."""
    sock.send(HttpConnection().refuse(refusal))
    sock.shutdown(socket.SHUT_WR)


async def _read_out(sock: socket.socket) -> None:
    while True:
        await anyio.wait_readable(sock)
        if not sock.recv(RECV_BYTES):
            return
