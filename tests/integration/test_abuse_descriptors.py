"""Out of descriptors: who is in stays in, nobody ends, and who waits gets in when some are free."""

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from hostile import UPGRADE, Peer
from processes import Serve
from rig import Node

pytestmark = pytest.mark.anyio

OUT_OF_DESCRIPTORS = "can't accept connections"


def leave_descriptors(pid: int, count: int) -> None:
    """That process may open so many more, from now on."""
    newest = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir())
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (newest + 1 + count, hard))


@contextmanager
def taking_orders(node: Node) -> Iterator[None]:
    """Somebody who lets the sidecar connect for orders, so that it does not try again and again."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(node.ipc.submit_socket))
        listener.listen()
        yield


async def reads_up_to(client: ClientConnection, height: int) -> None:
    message: Any = {}
    while message.get("height", 0) < height:
        message = json.loads(await client.recv())


async def test_descriptor_exhaustion_ends_nobody_and_is_over_when_some_are_free(
    tmp_path: Path, serve: Serve
) -> None:
    with Node(tmp_path / "ipc") as node, taking_orders(node):
        node.step(5)
        server = serve("--source-path", str(node.path))
        async with connect(server.ws_url) as inside:
            subscription = {"type": "blocks"}
            await inside.send(json.dumps({"method": "subscribe", "subscription": subscription}))
            await reads_up_to(inside, node.step())
            leave_descriptors(server.pid, 5)
            waiting = [Peer(server.port) for _ in range(30)]
            server.wait_for(OUT_OF_DESCRIPTORS)
            for _ in range(20):
                await reads_up_to(inside, node.step())
            for peer in waiting[:-1]:
                peer.sock.close()
            await waiting[-1].send(UPGRADE + b"\r\n")  # it came before there was room
            assert (await waiting[-1].receive()).startswith(b"HTTP/1.1 101 ")
            waiting[-1].sock.close()
            async with connect(server.ws_url) as after:
                await after.send('{"method":"ping"}')
                assert json.loads(await after.recv()) == {"channel": "pong"}
            await reads_up_to(inside, node.step())
        assert server.running
        assert server.stop() == 0
