"""One TCP connection as bytes: non-blocking sends that never raise, an outbox for what the kernel
does not take.

Sockets are raw and non-blocking: each call is tried first and only waits (anyio, 16 us) when the
kernel says so. A slow peer costs an outbox and a draining task for as long as it is slow, nothing
else.
"""

import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from sidecar.api.topics import Topic
from sidecar.limits import CLOSE_TIMEOUT_S, RECV_BYTES
from sidecar.server.outbox import Outbox

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


class Connection:
    """A peer's socket. All methods belong to the event loop's thread."""

    def __init__(self, sock: socket.socket, address: str, spawn: Spawn) -> None:
        """`address` is the peer's, for logs and limits; `spawn` starts a task that outlives no
        connection.
        """
        self.address = address
        self.outbox = Outbox()
        self.clear = True  # nothing waits and nothing ended: a send goes straight to the kernel
        self.lost = False  # the peer is gone: nothing can be sent any more
        self.scope = anyio.CancelScope()  # entered by the task that owns the connection
        self._drain_scope = anyio.CancelScope()
        self._sock = sock
        self._spawn = spawn
        self._draining = False
        self._finishing = False

    async def receive(self, size: int = RECV_BYTES) -> bytes:
        """The next bytes, at most `size`; empty once the peer has ended or lost the connection."""
        while True:
            try:
                return self._sock.recv(size)
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
            except OSError:
                self.lost = True
                return b""

    def send(
        self, data: bytes, topic: Topic | None = None, height: int = 0, *, counted: bool = True
    ) -> None:
        """Sends bytes at once, or queues what does not go; after what waits already.

        `topic`, `height` and `counted` are the outbox's.
        """
        if self.clear:
            if data:
                self.send_now(data, counted=counted)
        elif not self.lost and not self._finishing:
            self.outbox.push(data, topic, height, counted=counted)

    def send_now(self, data: bytes, *, counted: bool = True) -> None:
        """Gives bytes to the kernel and queues what it does not take. Only while `clear`."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return
        if sent != len(data):
            self.clear = False
            self.outbox.push_rest(data, sent, counted=counted)
            self._start_draining()

    def finish(self) -> None:
        """Ends our side once everything queued has gone: FIN, not RST. Nothing can follow."""
        self._finishing = True
        self.clear = False
        if not self.outbox:
            self._shut_down()

    async def linger(self) -> None:
        """After `finish`: reads and discards until the peer ends too, or the close timeout passes.

        Closing with unread bytes would send RST, and the peer might never see our last words (RFC
        6455 1.4).
        """
        with anyio.move_on_after(CLOSE_TIMEOUT_S):
            while await self.receive():
                pass

    def abort(self) -> None:
        """Ends the connection now, whatever still waits."""
        self.lost = True
        self.clear = False
        self.outbox = Outbox()
        self.scope.cancel()
        self._drain_scope.cancel()

    def close(self) -> None:
        """Gives the socket back. The owner calls it once, last."""
        self.lost = True
        self.clear = False
        self._drain_scope.cancel()
        anyio.notify_closing(self._sock)
        self._sock.close()

    def _start_draining(self) -> None:
        if not self._draining:
            self._draining = True
            self._spawn(self._drain)

    async def _drain(self) -> None:
        self._drain_scope = anyio.CancelScope()
        try:
            with self._drain_scope, contextlib.suppress(anyio.ClosedResourceError):
                while self.outbox and not self.lost:
                    await anyio.wait_writable(self._sock)
                    self._send_waiting()
        finally:
            self._draining = False
        if not self.outbox and not self.lost:
            if self._finishing:
                self._shut_down()
            else:
                self.clear = True

    def _send_waiting(self) -> None:
        try:
            while self.outbox:
                self.outbox.advance(self._sock.send(self.outbox.head()))
        except BlockingIOError:
            pass
        except OSError:
            self.abort()

    def _shut_down(self) -> None:
        if not self.lost:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.abort()
