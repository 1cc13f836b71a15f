"""Sockets without a kernel: pipes with a capacity and a delay, and everything a kernel may say.

    server socket ── pipe: [arrived | in flight ...] ──▶ client socket       each has two pipes

What each call does is drawn from the seed: a send takes a part, or nothing (EAGAIN) though there
was room; a read gives less than there is; readiness comes for nothing; a connection is reset, goes
silent in both directions (half-open), or its FIN comes late. Bytes are never lost, doubled or
reordered within a connection: TCP does not, either.
"""

import errno
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Self

import anyio

from tests.simulation.clock import Clock
from tests.simulation.events import Events

_FIRST_FD = 1_000_000  # no real one


@dataclass(frozen=True)
class Quirks:
    """How likely the network does what, for each call or connection."""

    short: float = 0.0  # a call takes or gives a part
    again: float = 0.0  # a call would block though it need not
    reset: float = 0.0  # a call finds the connection reset
    delay_s: float = 0.001  # the longest of a segment
    capacity: int = 1 << 18  # bytes of a direction that may be on their way or unread


CALM = Quirks()


class Pipe:
    """One direction of a connection."""

    def __init__(self, network: "Network", quirks: Quirks) -> None:
        self.quirks = quirks
        self.arrived = bytearray()
        self.in_flight = 0
        self.ended = False  # a FIN has arrived
        self.receiver: SimulatedSocket | None = None
        self.silent = False  # nothing arrives any more
        self.blocked = False  # a writer was told EAGAIN for nothing, a moment ago
        self._network = network
        self._last_at = 0.0

    @property
    def room(self) -> int:
        return self.quirks.capacity - self.in_flight - len(self.arrived)

    def write(self, data: bytes) -> int:
        """How many bytes are on their way. Raises `BlockingIOError`."""
        network, quirks = self._network, self.quirks
        size = min(len(data), self.room)
        if size <= 0 or network.happens(quirks.again):
            if size > 0:
                self.blocked = True
                network.events.after(0.0005, self._unblock)
            raise BlockingIOError(errno.EAGAIN, "would block")
        if size > 1 and network.happens(quirks.short):
            size = network.rng.randrange(1, size)
        self.in_flight += size
        part = bytes(data[:size])
        self._later(lambda: self._arrive(part))
        return size

    def _unblock(self) -> None:
        self.blocked = False
        self._network.changed()

    def end(self) -> None:
        """A FIN behind what was written; it may come late."""
        extra = self._network.rng.random() * 2 if self._network.happens(0.1) else 0.0
        self._later(self._arrive_end, extra)

    def _later(self, what: Callable[[], None], extra_s: float = 0.0) -> None:
        now = self._network.clock.now
        delay_s = 0.0 if self._network.calm else self.quirks.delay_s
        when = now + self._network.rng.random() * delay_s + extra_s
        self._last_at = max(self._last_at, when)
        self._network.events.at(self._last_at, what)

    def _arrive(self, part: bytes) -> None:
        if self.silent:
            return
        self.in_flight -= len(part)
        self.arrived += part
        self._network.changed()
        if self.receiver is not None and self.receiver.closed:
            self._network.reset(self.receiver)  # as a kernel answers what comes for nobody

    def _arrive_end(self) -> None:
        self.ended = self.ended or not self.silent
        self._network.changed()


class SimulatedSocket:
    """One end of a connection; what the product calls of `socket.socket`."""

    def __init__(self, network: "Network", receives: Pipe, sends: Pipe, address: str) -> None:
        self.peer: SimulatedSocket | None = None
        self.address = address
        self.broken: int | None = None  # the errno that calls find
        self.closed = False
        self.crashed = False  # its process is gone: whatever it still does has no effect
        self.reset_at_close = False
        self.receives, self.sends = receives, sends
        receives.receiver = self
        self.fd = network.register(self)
        self._network = network
        self._sends_ended = False

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def setsockopt(self, *_: object) -> None:
        self._check()

    def getsockname(self) -> Any:
        return ("127.0.0.1", 0)

    def recv(self, size: int) -> bytes:
        self._check()
        if self.crashed:
            raise BlockingIOError(errno.EAGAIN, "would block")
        pipe, network = self.receives, self._network
        if pipe.arrived:
            if network.happens(pipe.quirks.again):
                raise BlockingIOError(errno.EAGAIN, "would block")
            size = min(size, len(pipe.arrived))
            if size > 1 and network.happens(pipe.quirks.short):
                size = network.rng.randrange(1, size)
            data = bytes(pipe.arrived[:size])
            del pipe.arrived[:size]
            network.changed()  # there is room for more
            return data
        if pipe.ended:
            return b""
        raise BlockingIOError(errno.EAGAIN, "would block")

    def send(self, data: bytes) -> int:
        if self.crashed:
            return len(data)
        self._check()
        if self._sends_ended or (self.peer is not None and self.peer.closed):
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        return self.sends.write(data)

    def shutdown(self, how: int) -> None:
        self._check()
        if not self._sends_ended:
            self._sends_ended = True
            if not self.crashed:
                self.sends.end()

    def close(self) -> None:
        """Unread bytes make it a reset, as in Linux."""
        if self.closed:
            return
        self.closed = True
        self._network.unregister(self.fd)
        if self.crashed or self.broken is not None:
            return
        if self.receives.arrived or self.reset_at_close:
            self._network.reset(self)
        elif not self._sends_ended:
            self._sends_ended = True
            self.sends.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def ready(self) -> int:
        """Of `selectors.EVENT_READ` and `EVENT_WRITE`."""
        if self.crashed:
            return 0
        if self.broken is not None:
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        mask = selectors.EVENT_READ if self.receives.arrived or self.receives.ended else 0
        writable = self.sends.room > 0 and not self.sends.blocked
        return mask | (selectors.EVENT_WRITE if writable else 0)

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "bad file descriptor")
        if self.crashed:
            return
        if self.broken is None and self._network.happens(self.sends.quirks.reset):
            self._network.reset(self, errnos=_ERRNOS)
        if self.broken is not None:
            raise OSError(self.broken, "as the kernel says it")

    async def receive(self, size: int = 1 << 16) -> bytes:
        """For clients: what is there next; empty at the end. Raises `OSError`."""
        while True:
            try:
                return self.recv(size)
            except BlockingIOError:
                await anyio.wait_readable(self.fd)

    async def send_all(self, data: bytes) -> None:
        """For clients: all of it, however long that takes. Raises `OSError`."""
        while data:
            try:
                data = data[self.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self.fd)


class SimulatedListener:
    """A listening socket."""

    def __init__(self, network: "Network", name: Any) -> None:
        self.fd = network.register(self)
        self.name = name
        self.backlog: list[SimulatedSocket] = []
        self.listening = False
        self.closed = False
        self.accepted: list[SimulatedSocket] = []
        self._network = network

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def getsockname(self) -> Any:
        return self.name

    def listen(self, backlog: int = 0) -> None:
        self.listening = True

    def accept(self) -> tuple[SimulatedSocket, Any]:
        if self.closed:
            raise OSError(errno.EBADF, "bad file descriptor")
        if not self.backlog:
            raise BlockingIOError(errno.EAGAIN, "would block")
        if self._network.happens(self._network.accept_fails):
            number = self._network.rng.choice((errno.ECONNABORTED, errno.EMFILE))
            if number == errno.ECONNABORTED:
                self._network.reset(self.backlog.pop(0))
            raise OSError(number, "as accept says it")
        sock = self.backlog.pop(0)
        self.accepted.append(sock)
        return sock, (sock.address, 1)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._network.unregister(self.fd)
        self._network.listeners.pop(self.name, None)
        for sock in self.backlog:
            self._network.reset(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def ready(self) -> int:
        return selectors.EVENT_READ if self.backlog else 0


class Network:
    """All of them, by descriptor."""

    def __init__(self, clock: Clock, events: Events, rng: Random) -> None:
        self.clock = clock
        self.events = events
        self.rng = rng
        self.accept_fails = 0.0
        self.version = 0  # raised whenever a descriptor may have become ready
        self.calm = False  # nothing odd happens any more
        self.listeners: dict[Any, SimulatedListener] = {}
        self._open: dict[int, Any] = {}
        self._next_fd = _FIRST_FD

    def changed(self) -> None:
        """The selector has to look again."""
        self.version += 1

    def happens(self, likelihood: float) -> bool:
        return likelihood > 0 and not self.calm and self.rng.random() < likelihood

    def register(self, one: Any) -> int:
        """A descriptor for what has `ready()`."""
        self._next_fd += 1
        self._open[self._next_fd] = one
        return self._next_fd

    def unregister(self, fd: int) -> None:
        self._open.pop(fd, None)

    def ready(self, fd: int) -> int:
        """What the selector asks."""
        one = self._open.get(fd)
        return 0 if one is None else int(one.ready())

    @property
    def open(self) -> list[Any]:
        """Everything that has a descriptor."""
        return list(self._open.values())

    def listen(self, name: Any) -> SimulatedListener:
        """Raises `OSError` where somebody listens there."""
        if name in self.listeners:
            raise OSError(errno.EADDRINUSE, "address in use")
        listener = self.listeners[name] = SimulatedListener(self, name)
        return listener

    def connect(
        self, name: Any, *, address: str = "", quirks: Quirks = CALM, back: Quirks | None = None
    ) -> SimulatedSocket:
        """The caller's end; `address` is what the other one sees, `back` how its direction is.
        Raises `OSError`.
        """
        listener = self.listeners.get(name)
        if listener is None or not listener.listening:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        there, here = Pipe(self, quirks), Pipe(self, back or quirks)
        mine = SimulatedSocket(self, here, there, address)
        theirs = SimulatedSocket(self, there, here, address)
        mine.peer, theirs.peer = theirs, mine
        listener.backlog.append(theirs)
        self.changed()
        return mine

    def reset(self, sock: SimulatedSocket, errnos: tuple[int, ...] = (errno.ECONNRESET,)) -> None:
        """The connection is gone for both ends."""
        self.changed()
        for one in (sock, sock.peer):
            if one is not None and one.broken is None:
                one.broken = self.rng.choice(errnos)
                one.receives.arrived.clear()

    def silence(self, sock: SimulatedSocket) -> None:
        """Half-open: nothing arrives in either direction from now on, and nobody is told."""
        sock.receives.silent = sock.sends.silent = True


_ERRNOS = (errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EPIPE)
