"""The operator's port answers whoever asks last, whoever else holds connections to it."""

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import anyio.to_thread
import pytest
import requests

from sidecar.limits import OPERATOR_CONNECTIONS_MAX
from sidecar.server.listener import bind
from sidecar.server.operator import OperatorServer, operator_pages

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def operators() -> AsyncIterator[int]:
    with bind("127.0.0.1", 0) as listener:
        server = OperatorServer(listener, operator_pages(lambda: {"ready": True}, dict))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve)
            await anyio.sleep(0)
            yield server.port
            tasks.cancel_scope.cancel()


async def test_connections_that_are_held_keep_nobody_out() -> None:
    async with operators() as port:
        with ExitStack() as stack, anyio.fail_after(20):
            for _ in range(3 * OPERATOR_CONNECTIONS_MAX):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            answer = await anyio.to_thread.run_sync(
                lambda: requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10)
            )
            assert answer.json() == {"alive": True}


async def test_so_many_at_a_time_the_oldest_go() -> None:
    async with operators() as port:
        with ExitStack() as stack, anyio.fail_after(20):
            held = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                for _ in range(OPERATOR_CONNECTIONS_MAX + 1)
            ]
            held[0].settimeout(15)
            assert await anyio.to_thread.run_sync(held[0].recv, 10) == b""
            for one in held[1:]:
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(10)
