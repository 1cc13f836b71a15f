"""One TCP connection as bytes: non-blocking sends that never raise, an outbox for what the kernel
does not take.

Sockets are raw and non-blocking: each call is tried first and only waits (anyio, 16 us) when the
kernel says so. A slow peer costs an outbox and a draining task for as long as it is slow, nothing
else.
"""

import contextlib
import itertools
import math
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from sidecar.api.topics import Topic
from sidecar.limits import CLOSE_TIMEOUT_S, EAGER_READS_MAX, RECV_BYTES
from sidecar.server.outbox import Outbox
from sidecar.server.tokens import EVERYTHING
from sidecar.telemetry.logs import get_log

_log = get_log("server")

_numbers = itertools.count(1)

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


class Connection:
    """A peer's socket. All methods belong to the event loop's thread."""

    def __init__(self, sock: socket.socket, address: str, spawn: Spawn) -> None:
        """`address` is the peer's, for logs and limits; `spawn` starts a task that outlives no
        connection.
        """
        self.number = next(_numbers)
        self.answered = False  # a request of its client's, at least one
        self.address = address  # of the client, as far as known: a proxy tells it later
        self.peer = address
        self.grant = EVERYTHING  # what its client may do
        self.limit_key = address  # what its client's limits count by
        self.outbox = Outbox()
        self.clear = True  # nothing waits and nothing ended: a send goes straight to the kernel
        self.on_clear: Callable[[bool], None] = ignore  # told whenever that changes
        self.lost = False  # the peer is gone: nothing can be sent any more
        self.sent_at = 0.0  # when the kernel last took bytes that had waited (monotonic seconds)
        self.scope = anyio.CancelScope()  # entered by the task that owns the connection
        self._drain_scope: anyio.CancelScope | None = None  # these two from the first draining on
        self._drained: anyio.Event | None = None
        self.kernel_send = sock.send  # the fan-out's own way, without a call in between
        self._sock = sock
        self.spawn = spawn
        self._draining = False
        self._finishing = False
        self._eager_reads = 0
        self._back = b""

    async def receive(self, size: int = RECV_BYTES) -> bytes:
        """The next bytes, at most `size`; empty once the peer has ended or lost the connection."""
        if self._back:
            data, self._back = self._back[:size], self._back[size:]
            return data
        self._eager_reads += 1
        if self._eager_reads > EAGER_READS_MAX:  # a peer that always has more: let others run
            self._eager_reads = 0
            await checkpoint()
        while not self.lost:
            try:
                return self._sock.recv(size)
            except BlockingIOError:
                pass
            except OSError as error:
                self.lose(error)
                break
            self._eager_reads = 0
            await anyio.wait_readable(self._sock)
        return b""

    @property
    def who(self) -> dict[str, Any]:
        """What its log lines have in common."""
        return {"connection": self.number, "address": self.address}

    @property
    def ended(self) -> bool:
        """Whether nothing more is sent: the peer is gone, or our last word is said."""
        return self.lost or self._finishing

    def put_back(self, data: bytes) -> None:
        """What `receive` gives next."""
        self._back = data

    def send(
        self,
        data: bytes,
        topic: Topic | None = None,
        height: int = 0,
        *,
        counted: bool = True,
        answer: bool = False,
    ) -> None:
        """Sends bytes at once, or queues what does not go; after what waits already.

        `topic`, `height`, `counted` and `answer` are the outbox's.
        """
        if not data or self.ended:
            return
        sent = self.try_send(data) if self.clear else 0
        if sent == len(data):
            return
        if sent:
            self.outbox.push_rest(data, sent, counted=counted, answer=answer)
        else:
            self.outbox.push(data, topic, height, counted=counted, answer=answer)
        self.start_draining()

    def send_control(self, frame: bytes) -> None:
        """Sends a ping or pong, ahead of all that waits."""
        if self.clear:
            self.send(frame)
        elif not self.ended:
            self.outbox.push_control(frame)

    def try_send(self, data: bytes) -> int:
        """Gives bytes to the kernel; how many of them are done with. Only while `clear`.

        Whoever calls it puts the rest into the outbox, then calls `start_draining`.
        """
        try:
            return self.kernel_send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.lose(error)
            return len(data)

    def lose(self, error: OSError) -> None:
        """A call to the kernel says that the peer is gone."""
        if not self.lost:
            _log.debug("connection lost", **self.who, reason=error.strerror)
        self.abort()

    def start_draining(self) -> None:
        """The outbox is not empty: sends it as fast as the peer reads."""
        self._set_clear(False)
        if not self._draining:
            self._draining = True
            self._drained = anyio.Event()
            self._drain_scope = anyio.CancelScope()
            self.spawn(partial(self._drain, self._drain_scope, self._drained))

    async def drained(self, timeout_s: float) -> bool:
        """Waits until nothing waits for the peer; False if it takes nothing for `timeout_s`."""
        while self.outbox and not self.lost:
            before = self.sent_at
            assert self._drained is not None
            with anyio.move_on_after(timeout_s):
                await self._drained.wait()
            if self.outbox and self.sent_at == before:
                return False
        return not self.lost

    def finish(self) -> None:
        """Ends our side once everything queued has gone: FIN, not RST. Nothing can follow.

        The kernel takes over what fits its buffer, so that a peer that wakes up late still gets it.
        """
        if self.ended:
            return
        self._finishing = True
        self._set_clear(False)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NO_LOWAT)
        self._send_waiting()
        if not self.outbox:
            self._shut_down()

    async def linger(self, timeout_s: float = math.inf) -> None:
        """After `finish`: waits until all has gone, as long as it is read and for `timeout_s` at
        most, and until the peer ends too, within the close timeout.

        Closing with unread bytes would send RST, and the peer might never see our last words (RFC
        6455 1.4).
        """
        with anyio.move_on_after(timeout_s):
            if await self.drained(CLOSE_TIMEOUT_S):
                with anyio.move_on_after(CLOSE_TIMEOUT_S):
                    while await self.receive():
                        pass

    def abort(self) -> None:
        """Ends the connection now, whatever still waits."""
        self.lost = True
        self._set_clear(False)
        self.outbox.count_for(None)
        self.outbox = Outbox()
        self.scope.cancel()
        self._stop_draining()

    def close(self) -> None:
        """Gives the socket back. The owner calls it once, last."""
        self.lost = True
        self._set_clear(False)
        self._stop_draining()
        self.outbox.count_for(None)
        anyio.notify_closing(self._sock)
        self._sock.close()

    def _stop_draining(self) -> None:
        if self._draining:
            assert self._drain_scope is not None
            self._drain_scope.cancel()

    async def _drain(self, scope: anyio.CancelScope, drained: anyio.Event) -> None:
        try:
            with scope, contextlib.suppress(anyio.ClosedResourceError):
                while self.outbox and not self.lost:
                    await anyio.wait_writable(self._sock)
                    self._send_waiting()
        finally:
            self._draining = False
            drained.set()
        if not self.outbox and not self.lost:
            if self._finishing:
                self._shut_down()
            else:
                self._set_clear(True)

    def _set_clear(self, clear: bool) -> None:
        if clear is not self.clear:
            self.clear = clear
            self.on_clear(clear)

    def _send_waiting(self) -> None:
        try:
            while self.outbox:
                self.outbox.advance(self._sock.send(self.outbox.head()))
                self.sent_at = time.monotonic()
        except BlockingIOError:
            pass
        except OSError as error:
            self.lose(error)

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.lose(error)


def ignore(clear: bool) -> None:
    """Nobody wants to know."""


_NO_LOWAT = (1 << 31) - 1
