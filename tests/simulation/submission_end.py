"""The node's end of its submission socket, in the simulated network."""

from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from sidecar.errors import SubmissionInvalid
from sidecar.limits import SUBMISSION_RECORD_BYTES_MAX
from sidecar.node.submission import Answer, RecordStream, decode_request, encode_answer
from tests.simulation.network import SimulatedSocket
from tests.simulation.world import World

Answerer = Callable[[bool, int, object], None]  # ok, height, response
Accept = Callable[[bytes, Answerer], None]


class SubmissionEnd:
    """Hands each body to `accept`, as the node's mempool takes it."""

    def __init__(self, world: World, path: Path, accept: Accept) -> None:
        self.alive = True  # the node's process is there
        self.received: list[bytes] = []  # bodies, as often as they came
        self._world = world
        self._path = path
        self._accept = accept
        self._connections: list[SimulatedSocket] = []

    async def serve(self, tasks: TaskGroup) -> None:
        """Until cancelled."""
        network = self._world.network
        with network.listen(self._path) as listener:
            listener.listen()
            while True:
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    await anyio.wait_readable(listener.fd)
                except OSError:
                    continue
                else:
                    self._take(tasks, sock)

    def drop(self) -> None:
        """All connections are gone, as when the process is."""
        for sock in self._connections:
            if not sock.closed:
                self._world.network.reset(sock)
        self._connections.clear()

    def _take(self, tasks: TaskGroup, sock: SimulatedSocket) -> None:
        if self.alive:
            self._connections.append(sock)
            tasks.start_soon(self._serve, sock)
        else:
            self._world.network.reset(sock)
            sock.close()

    async def _serve(self, sock: SimulatedSocket) -> None:
        records = RecordStream(SUBMISSION_RECORD_BYTES_MAX)
        try:
            while data := await sock.receive():
                records.feed(data)
                while (payload := records.next_payload()) is not None:
                    request = decode_request(payload)
                    self.received.append(request.body)
                    self._accept(request.body, self._answerer(sock, request.request_id))
        except (OSError, SubmissionInvalid, anyio.ClosedResourceError):
            pass  # who does not listen does not hear
        finally:
            sock.close()

    def _answerer(self, sock: SimulatedSocket, number: int) -> Answerer:
        def answer(ok: bool, height: int, response: object) -> None:
            self._send(sock, encode_answer(Answer(number, ok, height, response)))

        return answer

    def _send(self, sock: SimulatedSocket, record: bytes) -> None:
        try:
            while record:
                record = record[sock.send(record) :]
        except BlockingIOError:
            self._world.events.after(0.001, lambda: self._send(sock, record))
        except OSError:
            pass  # it does not hear of it
