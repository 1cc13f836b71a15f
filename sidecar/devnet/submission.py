"""The node's end of the submission socket: a server on `submit.sock`.

A connection has one task that reads and one that writes. Answers are staged and go out together,
since a block answers everything that it executed at once. A client that breaks the framing, repeats
an id in flight or does not read its answers loses its connection, and nothing else happens.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.abc

from sidecar.errors import LogUnwritable, SubmissionInvalid
from sidecar.limits import (
    ACCEPT_BACKOFF_S,
    MESSAGE_BYTES_MAX,
    SUBMISSION_ANSWERS_BYTES_MAX,
    SUBMISSION_CONNECTIONS_MAX,
    SUBMISSION_IN_FLIGHT_MAX,
    SUBMISSION_RECORD_BYTES_MAX,
)
from sidecar.node.ipc import is_served
from sidecar.node.submission import Answer, RecordStream, decode_request, encode_answer
from sidecar.telemetry.logs import get_log

_log = get_log("devnet")

_RECEIVE_BYTES = 64 << 10
_MODE = 0o660
_PATH_BYTES_MAX = 107  # unix(7): sun_path has 108 with the zero at its end

Listener = anyio.abc.Listener[anyio.abc.SocketStream]
AnswerCallback = Callable[[bool, int, object], None]  # ok, height, response
Accept = Callable[[bytes, AnswerCallback], None]


class SubmissionServer:
    """Hands the body of each request to `accept`, and what that answers back, now or later.

    `accept` does not raise for a client's fault: it answers it.
    """

    def __init__(self, path: Path, accept: Accept) -> None:
        self._path = path
        self._accept = accept
        self._connections = 0

    async def listen(self) -> Listener:
        """Makes the socket; one that a dead process left is replaced. Raises `LogUnwritable`, also
        where a live process serves it.
        """
        try:
            if len(os.fsencode(self._path)) > _PATH_BYTES_MAX:
                what = f"the submission socket's path may have at most {_PATH_BYTES_MAX} bytes"
                raise LogUnwritable(f"{what}; use a directory with a shorter one", path=self._path)
            if is_served(self._path):
                what = "another process serves the submission socket; stop it"
                raise LogUnwritable(f"{what}, or use another directory", path=self._path)
            return await anyio.create_unix_listener(self._path, mode=_MODE)
        except (OSError, ValueError) as error:
            what = f"the submission socket can't be made: {error}"
            raise LogUnwritable(what, path=self._path) from error

    async def serve(self, listener: Listener) -> None:
        """Serves until cancelled; then the socket is gone."""
        try:
            async with listener, anyio.create_task_group() as connections:
                while True:
                    try:
                        await listener.serve(self._connected, connections)
                    except anyio.BrokenResourceError as error:  # no descriptor is free
                        _log.warning("submission not accepted", reason=str(error.__cause__))
                        await anyio.sleep(ACCEPT_BACKOFF_S)
        finally:
            self._path.unlink(missing_ok=True)

    async def _connected(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            if self._connections >= SUBMISSION_CONNECTIONS_MAX:
                _log.warning("submission refused", reason="too many connections")
                return
            self._connections += 1
            try:
                await _Connection(stream, self._accept).run()
            finally:
                self._connections -= 1


class _Connection:
    """One client's requests in flight and the answers on their way."""

    def __init__(self, stream: anyio.abc.SocketStream, accept: Accept) -> None:
        self._stream = stream
        self._accept = accept
        self._in_flight: set[int] = set()
        self._staged = bytearray()
        self._staged_some = anyio.Event()
        self._reading = True
        self._ended = False
        self._end: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Reads and answers until the client ends it, or has to be ended."""
        try:
            async with anyio.create_task_group() as tasks:
                self._end = tasks.cancel_scope.cancel
                tasks.start_soon(self._write)
                await self._read()
                self._reading = False
                self._staged_some.set()
        except* SubmissionInvalid as errors:
            _log.warning("submission connection ended", reason=str(errors.exceptions[0]))
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client went away; what is in flight is executed, and nobody is told
        finally:
            self._in_flight.clear()

    async def _read(self) -> None:
        records = RecordStream(SUBMISSION_RECORD_BYTES_MAX)
        while True:
            try:
                records.feed(await self._stream.receive(_RECEIVE_BYTES))
            except anyio.EndOfStream:
                return
            while (payload := records.next_payload()) is not None:
                self._take(payload)

    def _take(self, payload: bytes) -> None:
        request = decode_request(payload)
        number = request.request_id
        if number in self._in_flight:
            raise SubmissionInvalid(f"request {number} is in flight already")
        refused = None
        if len(self._in_flight) >= SUBMISSION_IN_FLIGHT_MAX:
            refused = "too many requests in flight"
        elif len(request.body) > MESSAGE_BYTES_MAX:
            refused = f"an action of {len(request.body)} bytes; at most {MESSAGE_BYTES_MAX}"
        self._in_flight.add(number)
        answer = partial(self._answer, number)
        if refused is None:
            self._accept(request.body, answer)
        else:
            answer(False, 0, refused)

    def _answer(self, number: int, ok: bool, height: int, response: object) -> None:
        if self._ended or number not in self._in_flight:
            return  # the connection is gone
        self._in_flight.discard(number)
        self._staged += encode_answer(Answer(number, ok, height, response))
        self._staged_some.set()
        if len(self._staged) > SUBMISSION_ANSWERS_BYTES_MAX:
            _log.warning("submission connection ended", reason="it does not read its answers")
            self._staged.clear()
            self._ended = True
            self._end()

    async def _write(self) -> None:
        while self._reading or self._in_flight or self._staged:
            await self._staged_some.wait()
            self._staged_some = anyio.Event()
            data, self._staged = bytes(self._staged), bytearray()
            if data:
                await self._stream.send(data)
