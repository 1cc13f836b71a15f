"""The node's end of the submission socket, moved by a test."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio

from sidecar.node.submission import Answer, RecordStream, Request, decode_request, encode_answer
from sidecar.node.submitter import Submitter


class Peer:
    """The node's end of one connection, moved by the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._records = RecordStream(1 << 20)

    async def request(self) -> Request:
        with anyio.fail_after(10):
            while (payload := self._records.next_payload()) is None:
                try:
                    data = self.sock.recv(1 << 20)
                except BlockingIOError:
                    await anyio.wait_readable(self.sock)
                    continue
                assert data, "the submitter closed the connection"
                self._records.feed(data)
        return decode_request(payload)

    def answer(self, number: int, response: Any, height: int = 7, *, ok: bool = True) -> None:
        self.sock.send(encode_answer(Answer(number, ok, height, response)))


class Node:
    """Listens, and hands each connection to the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen()
        self._peers: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def accept(self) -> Peer:
        with anyio.fail_after(10):
            while True:
                try:
                    sock, _ = self._listener.accept()
                except BlockingIOError:
                    await anyio.wait_readable(self._listener)
                else:
                    sock.setblocking(False)
                    self._peers.append(Peer(sock))
                    return self._peers[-1]

    def close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for peer in self._peers:
            peer.sock.close()


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.002)


@asynccontextmanager
async def running(path: Path, timeout_s: float = 5.0) -> AsyncIterator[Submitter]:
    submitter = Submitter(path, answer_timeout_s=timeout_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submitter.run)
        yield submitter
        tasks.cancel_scope.cancel()
