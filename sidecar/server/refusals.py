"""Connections that are not let in, and are told why.

A socket that is closed with bytes unread, or before its client has sent its request, resets the
connection, and many clients then never look at the answer. So a refused one is read for a moment,
until its client has gone. Only so many at a time: in a storm the rest is told without being waited
for.
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
        try:
            sock.send(HttpConnection().refuse(refusal))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        if self.lingering < REFUSED_LINGERING_MAX:
            self.lingering += 1
            tasks.start_soon(self._linger, sock)
        else:
            sock.close()

    async def _linger(self, sock: socket.socket) -> None:
        try:
            with sock, contextlib.suppress(OSError), anyio.move_on_after(REFUSED_LINGER_S):
                while True:
                    await anyio.wait_readable(sock)
                    if not sock.recv(RECV_BYTES):
                        return
        finally:
            self.lingering -= 1
