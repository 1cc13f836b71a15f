"""Thousands of WebSocket clients in one process: sockets, an epoll, frames read by hand.

They answer pings and closes as clients do, unless told not to; count messages; and hold each
topic's heights against each other. A client reads a channel once, so a channel is a topic.
"""

import errno
import random
import select
import socket
import time
from collections.abc import Callable, Iterable
from itertools import count

from tests.load.wire import CLOSE, PING, PONG, masked

_READ_BYTES = 1 << 17
_HANDSHAKES_MAX = 512  # that have begun and are not through, unless all come at once
_PER_ADDRESS = 50  # half of what one address may have: room for who comes back too early
_RETRY_S = 0.25


class Peer:
    """One client. `code` is that of the close frame it read, 1006 where it ended without one."""

    __slots__ = (
        *("_tail", "answers", "code", "disorder", "ended_at", "fd", "first", "first_at"),
        *("heights", "messages", "number", "open", "sock", "told"),
    )

    def __init__(self, number: int, sock: socket.socket, *, answers: bool) -> None:
        self.number = number
        self.sock = sock
        self.fd = sock.fileno()
        self.answers = answers  # pings and closes; who does not keeps its socket, too
        self.open = False  # it got its 101
        self.first = b""  # that it read, where that was no 101
        self.first_at = 0.0  # when the first message of a topic came
        self.messages = 0
        self.heights: dict[bytes, int] = {}
        self.disorder = 0  # heights that did not rise
        self.told: int | None = None  # the code that it read in a close frame
        self.code: int | None = None  # None while it lives
        self.ended_at = 0.0
        self._tail = b""

    def take(self, data: bytes) -> None:
        """Reads what it was sent. O(n)."""
        data, at = self._tail + data if self._tail else data, 0
        if not self.open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4 or not data.startswith(b"HTTP/1.1 101 "):
                self._tail, self.first = data[:4096], data[:64]
                return
            self.open = True
        size = len(data)
        while size - at >= 2:
            length, head = data[at + 1], 2
            if length >= 126:
                head = 4 if length == 126 else 10
                if size - at < head:
                    break
                length = int.from_bytes(data[at + 2 : at + head], "big")
            end = at + head + length
            if end > size:
                break
            if data[at] & 0x0F == 1:
                self._take_text(data, at + head, end)
            else:
                self._take_control(data[at], data[at + head : end])
            at = end
        self._tail = data[at:]

    def say(self, data: bytes) -> bool:
        """Sends as much as goes; whether the connection took any."""
        try:
            return self.sock.send(data) > 0
        except OSError:
            return False

    def _take_text(self, data: bytes, start: int, end: int) -> None:
        self.messages += 1
        found = data.rfind(b'"height":', max(start, end - 64), end)
        if found < 0:
            return  # an answer
        if not self.first_at:
            self.first_at = time.monotonic()
        channel = data[start + 12 : data.index(b'"', start + 12)]
        height = int(data[found + 9 : end - 1].partition(b",")[0])
        if height <= self.heights.get(channel, -1):
            self.disorder += 1
        self.heights[channel] = height

    def _take_control(self, first: int, payload: bytes) -> None:
        if first == CLOSE:
            self.told = int.from_bytes(payload[:2], "big")
        if self.answers and first in (CLOSE, PING):
            self.say(masked(payload[:2], CLOSE) if first == CLOSE else masked(payload, PONG))


class Swarm:
    """The clients of one port."""

    def __init__(self, port: int, seed: int) -> None:
        self.peers: list[Peer] = []  # all there ever were
        self.random = random.Random(seed)
        self.returning: bytes | None = None  # who ends comes back, and says this
        self._port = port
        self._living: dict[int, Peer] = {}
        self._connecting: dict[int, tuple[Peer, bytes]] = {}
        self._later: list[tuple[float, int, bytes]] = []  # who tries again, and when
        self._numbers = count()
        self._kept: list[socket.socket] = []
        self._poll = select.epoll()

    @property
    def living(self) -> list[Peer]:
        """Those that have not ended."""
        return list(self._living.values())

    def join(
        self,
        how_many: int,
        says: bytes | Callable[[int], bytes],
        *,
        at_once: bool = False,
        answers: bool = True,
        receive_buffer: int | None = None,
    ) -> list[Peer]:
        """New clients, connected once this returns; each `says` something with its first bytes (by
        its number).
        """
        made = []
        for _ in range(how_many):
            number = next(self._numbers)
            data = says(number) if callable(says) else says
            peer = self._connect(number, data, answers=answers, receive_buffer=receive_buffer)
            made.append(peer)
            while len(self._connecting) >= _HANDSHAKES_MAX and not at_once:
                self.pump(0.01)
        self.pump(60, until=lambda: not self._connecting)
        return made

    def pump(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Reads for so long, or until something holds; whether it does."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for fd, _ in self._poll.poll(min(left, 0.02), 1024):
                if fd in self._connecting:
                    self._connected(fd)
                elif (peer := self._living.get(fd)) is not None:
                    self._read(peer)
            self._come_back()
        return True

    def deafen(self, peers: Iterable[Peer]) -> None:
        """They do not read from now on."""
        for peer in peers:
            if peer.code is None:
                self._poll.unregister(peer.fd)

    def wake(self, peers: Iterable[Peer]) -> None:
        """They read again."""
        for peer in peers:
            if peer.code is None:
                self._poll.register(peer.fd, select.EPOLLIN)

    def leave(self, peers: Iterable[Peer]) -> None:
        """They go away, without a word."""
        for peer in peers:
            if peer.code is None:
                self._end(peer)

    def close(self) -> None:
        """All go away."""
        self.returning = None
        self.leave(self.living)
        for peer, _ in self._connecting.values():
            peer.sock.close()
        self._connecting.clear()
        for sock in self._kept:
            sock.close()
        self._poll.close()

    def _connect(
        self, number: int, data: bytes, *, answers: bool, receive_buffer: int | None
    ) -> Peer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        block = number // _PER_ADDRESS
        sock.bind((f"127.1.{block // 250}.{block % 250 + 1}", 0))
        error = sock.connect_ex(("127.0.0.1", self._port))
        peer = Peer(number, sock, answers=answers)
        self.peers.append(peer)
        if error in (0, errno.EINPROGRESS):
            self._connecting[peer.fd] = (peer, data)
            self._poll.register(peer.fd, select.EPOLLOUT)
        else:
            self._end(peer)
        return peer

    def _connected(self, fd: int) -> None:
        peer, data = self._connecting.pop(fd)
        if peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or not peer.say(data):
            self._end(peer)
            return
        self._living[fd] = peer
        self._poll.modify(fd, select.EPOLLIN)

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            peer.take(data)
        elif peer.answers:
            self._end(peer)
        else:  # the other end has ended; ours is left as it is
            self._poll.unregister(peer.fd)
            self._kept.append(peer.sock)
            self._mark_ended(peer)

    def _mark_ended(self, peer: Peer) -> None:
        peer.ended_at = time.monotonic()
        peer.code = peer.told if peer.told is not None else 1006
        self._living.pop(peer.fd, None)

    def _end(self, peer: Peer) -> None:
        self._mark_ended(peer)
        peer.sock.close()
        if self.returning is not None:
            at = peer.ended_at + _RETRY_S * self.random.random()
            self._later.append((at, peer.number, self.returning))

    def _come_back(self) -> None:
        now = time.monotonic()
        due = [one for one in self._later if one[0] <= now]
        if due:
            self._later = [one for one in self._later if one[0] > now]
        for _, number, data in due:
            self._connect(number, data, answers=True, receive_buffer=None)
