"""Thousands of raw WebSocket clients in one process: sockets, an epoll, and hand-made bytes."""

import json
import select
import socket
import time
from collections.abc import Callable, Iterable
from itertools import count

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
_CLOSE_MAX = 2 + 125
_FIRST = 512
_ADDRESSES = [f"127.0.1.{number}" for number in range(1, 200)]  # so that ports do not run out


def masked(payload: bytes, first: int = 0x81) -> bytes:
    """A client's frame (mask of zeros)."""
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2)
    return head + bytes(4) + payload


def subscribe(**subscription: object) -> bytes:
    """A request as a frame."""
    request = {"method": "subscribe", "subscription": subscription}
    return masked(json.dumps(request).encode())


class Client:
    """One of them. `code` is that of the close frame it got, 1006 where it ended without one."""

    def __init__(self, sock: socket.socket, *, checks: bool) -> None:
        self.sock = sock
        self.received = 0
        self.first = b""  # that came
        self.code: int | None = None
        self.began = time.monotonic()
        self.lived_s = 0.0
        self.open = False
        self._checks = checks  # reads every frame
        self._tail = b""
        self.heights: list[int] = []  # of `blocks` messages, where it checks

    def take(self, data: bytes) -> None:
        """Bytes that it was sent."""
        self.received += len(data)
        self.first = (self.first + data)[:_FIRST]
        if not self.open:
            self._tail += data
            head, end, rest = self._tail.partition(b"\r\n\r\n")
            if not end:
                return
            self.open = head.startswith(b"HTTP/1.1 101 ")
            self._tail, data = b"", rest
        self._tail += data
        if self._checks:
            self._read_frames()
        else:
            self._tail = self._tail[-_CLOSE_MAX:]

    def end(self) -> None:
        """The peer has ended."""
        self.lived_s = time.monotonic() - self.began
        self.code = 1006
        for size in range(2, 126):
            if self._tail[-size - 2 : -size] == bytes((0x88, size)):
                self.code = int.from_bytes(self._tail[-size : len(self._tail) - size + 2])
        self.sock.close()

    def _read_frames(self) -> None:
        while len(self._tail) >= 2 and self._tail[0] != 0x88:
            size, head = self._tail[1], 2
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(self._tail[2:head])
            if len(self._tail) < head + size or len(self._tail) < head:
                return
            payload, self._tail = self._tail[head : head + size], self._tail[head + size :]
            if payload.startswith(b'{"channel":"blocks"'):
                self.heights.append(int(json.loads(payload)["height"]))


class Crowd:
    """Many clients of one port."""

    def __init__(self, port: int) -> None:
        self.clients: dict[int, Client] = {}
        self._port = port
        self._poll = select.epoll()
        self._numbers = count()

    @property
    def alive(self) -> list[Client]:
        """Those that have not ended."""
        return [client for client in self.clients.values() if client.code is None]

    def connect(
        self,
        how_many: int,
        data: bytes,
        *,
        every: int = 100,
        receive_buffer: int | None = None,
        reads: bool = True,
    ) -> list[Client]:
        """New clients that send `data` at once; one in so many checks each frame."""
        made = []
        for number in range(how_many):
            sock = socket.socket()
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.bind((_ADDRESSES[next(self._numbers) % len(_ADDRESSES)], 0))
            sock.connect(("127.0.0.1", self._port))
            sock.sendall(data)
            sock.setblocking(False)
            client = self.clients[sock.fileno()] = Client(sock, checks=number % every == 0)
            made.append(client)
            if reads:
                self._poll.register(sock, select.EPOLLIN)
            if number % 64 == 0:
                self.pump(0)
        return made

    def watch(self, clients: Iterable[Client]) -> None:
        """These are read from now on."""
        for client in clients:
            self._poll.register(client.sock, select.EPOLLIN)

    def pump(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Reads for so long, or until something holds; whether it does."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            for fd, _ in self._poll.poll(max(0.0, min(left, 0.05))):
                self._read(self.clients[fd])
            if left <= 0:
                return until()
        return True

    def close(self) -> None:
        """All of them, now."""
        for client in self.alive:
            client.sock.close()
        self._poll.close()
        self.clients.clear()

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            client.take(data)
        else:
            client.end()
