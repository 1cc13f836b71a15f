"""The sidecar's end of the submission socket: one connection that is kept, many requests in flight.

    submit ─▶ written at once, or behind what waits ─▶ answer, matched by id
                      connection lost, no answer in time ─▶ `Lost`

Nothing is ever sent twice: what was in flight when the connection broke has an unknown fate, and it
is for whoever asked to find out.
"""

import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from sidecar.errors import NodeUnreachable, SubmissionInvalid
from sidecar.limits import (
    SUBMISSION_ANSWERS_BYTES_MAX,
    SUBMIT_BACKOFF_MAX_S,
    SUBMIT_BACKOFF_S,
    SUBMIT_IN_FLIGHT_MAX,
    SUBMIT_LATE_S,
    SUBMIT_SLICE_S,
    SUBMIT_URGENT_IN_FLIGHT_MAX,
    SUBMIT_WAITING_BYTES_MAX,
)
from sidecar.node.submission import Answer, RecordStream, Request, decode_answer, encode_request
from sidecar.telemetry.logs import get_log

_log = get_log("submit")

_RECEIVE_BYTES = 256 << 10
_LOOK_S = 0.02  # how often deadlines, and room for those that were refused, are looked at


class Lost(NamedTuple):
    """No answer: `sent` says whether the node can have the request. After a deadline the answer
    may still come, and is told then.
    """

    sent: bool
    why: str


Told = Callable[[Answer | Lost], None]


class _Pending(NamedTuple):
    starts_at: int  # its first byte in the stream of what is written
    told: Told


class Submitter:
    """Sends signed actions to the node. All methods belong to the event loop's thread."""

    def __init__(self, path: Path, *, answer_timeout_s: float) -> None:
        self.connected = False
        self.why = "not connected yet"  # while it is not
        self.on_room: Callable[[], None] = (
            _ignore  # it takes requests again, having refused or lost some
        )
        self._path = path
        self._answer_timeout_s = answer_timeout_s
        self._sock: socket.socket | None = None
        self._numbers = 0
        self._pending: dict[int, _Pending] = {}
        self._due: deque[tuple[float, int]] = deque()  # deadlines; also of what has its answer
        self._late: deque[tuple[float, int]] = deque()  # that were told so; it may still come
        self._out = bytearray()
        self._queued = self._written = 0  # bytes, of this connection
        self._awaited = False  # somebody is to be told when there is room
        self._drain = anyio.Event()
        self._flushed = anyio.Event()

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._pending)

    def has_room(self, *, urgent: bool = False) -> bool:
        """Whether it takes a request now: connected, and not too much on its way."""
        most = SUBMIT_URGENT_IN_FLIGHT_MAX if urgent else SUBMIT_IN_FLIGHT_MAX
        return (
            self._sock is not None
            and len(self._pending) < most
            and len(self._out) <= SUBMIT_WAITING_BYTES_MAX
        )

    def submit(self, body: bytes, received_ns: int, told: Told, *, urgent: bool = False) -> None:
        """Sends an action. `told` is called with its answer, or once with `Lost`, and then perhaps
        with the answer after all. Never from within this call. For what is `urgent` some room is
        left by the others.

        Raises `NodeUnreachable` where the node takes nothing now; then nothing was sent, and
        `on_room` is called once there is room.
        """
        sock = self._sock
        if sock is None or not self.has_room(urgent=urgent):
            self._awaited = True
            why = self.why if sock is None else "too many are in flight"
            raise NodeUnreachable(f"The node takes no actions now: {why}.")
        self._numbers += 1
        record = encode_request(Request(self._numbers, received_ns, body))
        due = time.monotonic() + self._answer_timeout_s
        self._pending[self._numbers] = _Pending(self._queued, told)
        self._due.append((due, self._numbers))
        self._queued += len(record)
        self._out += record
        if len(self._out) == len(record):
            self._write(sock)

    async def run(self) -> None:
        """Keeps the connection until cancelled, then closes it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_deadlines)
            backoff_s = SUBMIT_BACKOFF_S
            while True:
                why = await self._connect()
                if why is None:
                    backoff_s = SUBMIT_BACKOFF_S
                    why = await self._serve()
                self._disconnected(why)
                await anyio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, SUBMIT_BACKOFF_MAX_S)

    async def flushed(self) -> None:
        """Until everything was written, or the connection is lost."""
        while self._out and self._sock is not None:
            self._flushed = anyio.Event()
            await self._flushed.wait()

    async def _connect(self) -> str | None:
        """Why there is no connection, None where there is."""
        try:
            sock = _connected(self._path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return f"{reason or error} ({self._path})"
        self._sock = sock
        self._queued = self._written = 0
        self.connected = True
        _log.info("submission connected", path=str(self._path))
        return None

    async def _serve(self) -> str:
        """Reads and writes; why that ended."""
        sock = self._sock
        assert sock is not None
        why = "the sidecar ends"
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write_waiting, sock)
                try:
                    await self._read(sock)
                    why = "the node closed the connection"
                except SubmissionInvalid as error:
                    why = f"the node sent what is no answer: {error}"
                except OSError as error:
                    why = error.strerror or str(error)
                tasks.cancel_scope.cancel()
        finally:
            self._sock = None
            self.connected = False
            anyio.notify_closing(sock)
            sock.close()
        return why

    async def _read(self, sock: socket.socket) -> None:
        records = RecordStream(SUBMISSION_ANSWERS_BYTES_MAX)
        while True:
            try:
                data = sock.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(sock)
                continue
            if not data:
                return
            records.feed(data)
            slice_end = time.monotonic() + SUBMIT_SLICE_S
            while (payload := records.next_payload()) is not None:
                self._answered(decode_answer(payload))
                if time.monotonic() > slice_end:
                    await checkpoint()
                    slice_end = time.monotonic() + SUBMIT_SLICE_S

    def _answered(self, answer: Answer) -> None:
        pending = self._pending.pop(answer.request_id, None)
        if pending is None:
            _log.warning("answer to nothing in flight", request_id=answer.request_id)
        else:
            pending.told(answer)

    def _write(self, sock: socket.socket) -> None:
        """As much of what waits as the kernel takes; a broken connection shows when it is read."""
        try:
            sent = sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        self._written += sent
        del self._out[:sent]
        if self._out:
            self._drain.set()
        else:
            self._flushed.set()

    async def _write_waiting(self, sock: socket.socket) -> None:
        while True:
            await self._drain.wait()
            self._drain = anyio.Event()
            while self._out:
                await anyio.wait_writable(sock)
                before = len(self._out)
                self._write(sock)
                if len(self._out) == before:
                    return  # broken: the reader says so

    def _disconnected(self, why: str) -> None:
        """Everything in flight has an unknown fate, but for what was not written at all."""
        if self.why != why or self._pending:
            _log.warning("submission not connected", reason=why, in_flight=len(self._pending))
        self.why = why
        self._awaited = True
        pending, self._pending = self._pending, {}
        due, self._due = self._due, deque()
        self._late.clear()
        self._out.clear()
        self._flushed.set()
        for _, number in due:
            one = pending.get(number)
            if one is not None:
                sent = one.starts_at < self._written
                one.told(Lost(sent, f"The connection to the node was lost: {why}"))

    async def _watch_deadlines(self) -> None:
        while True:
            await anyio.sleep(_LOOK_S)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                due, number = self._due.popleft()
                one = self._pending.get(number)
                if one is not None:
                    self._late.append((due + SUBMIT_LATE_S, number))
                    within = f"within {self._answer_timeout_s:g} s"
                    one.told(Lost(sent=True, why=f"The node gave no answer {within}"))
            while self._late and self._late[0][0] <= now:
                self._pending.pop(self._late.popleft()[1], None)
            if self._awaited and self.has_room():
                self._awaited = False
                self.on_room()


def _connected(path: Path) -> socket.socket:
    """Raises `OSError`, `ValueError`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(str(path))
    except (OSError, ValueError):
        sock.close()
        raise
    return sock


def _ignore() -> None:
    """Nobody wants to know."""
