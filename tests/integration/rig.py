"""A node whose blocks come when the test says so, and sidecars of it in this process, over real
files and sockets.
"""

import json
import urllib.error
import urllib.request
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.to_thread
from websockets.asyncio.client import ClientConnection, connect

from sidecar.app import App
from sidecar.config import load_settings
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.snapshot import write_snapshot
from sidecar.node.transitions import Block
from sidecar.state.chain import ChainState


class Node:
    """A development chain by hand."""

    def __init__(self, path: Path, *, segment_blocks: int = 4096, **settings: Any) -> None:
        self.path = path
        self.ipc = IpcDirectory(path)
        self.chain = Chain(DevnetConfig(path=path, **settings))
        config = self.chain.config
        self.ipc.create(config.chain, self.chain.time_ns, config.block_ms)
        self.writer = LogWriter(self.ipc.log, config.chain, segment_blocks=segment_blocks)
        self.blocks: list[Block] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.writer.close()

    def step(self, count: int = 1) -> int:
        """So many blocks, into the log; the height."""
        for _ in range(count):
            block = self.chain.step()
            self.blocks.append(block)
            self.writer.append(block)
        return self.chain.height

    def snapshot(self) -> Path:
        """The node's snapshot of now."""
        header = snapshot_header(self.chain)
        return write_snapshot(self.ipc.snapshots, header, snapshot_rows(self.chain))


class Sidecar:
    """A sidecar that runs in this process."""

    def __init__(self, app: App, host: str, port: int) -> None:
        self.app = app
        self.ws_url = f"ws://{host}:{port}/ws"
        self.info_url = f"http://{host}:{port}/info"

    @property
    def state(self) -> ChainState:
        assert self.app.state is not None
        return self.app.state

    async def ask(self, **request: Any) -> tuple[int, Any]:
        """The HTTP status and answer of an info request."""
        return await anyio.to_thread.run_sync(_post, self.info_url, request)

    async def reaches(self, height: int) -> None:
        """Until it has applied that block."""
        while self.state.height < height:
            await anyio.sleep(0.002)

    @property
    def resumptions(self) -> int:
        """How many have been answered so far: all missed messages handed to the client's outbox."""
        return self.app.parts.counts.resumptions.total()

    async def resumes(self, resumptions: int) -> None:
        """Until so many have been."""
        with anyio.fail_after(60):
            while self.resumptions < resumptions:
                await anyio.sleep(0.002)


@asynccontextmanager
async def sidecar_of(node: Node, **flags: str) -> AsyncIterator[Sidecar]:
    """A sidecar of the node, ready. `flags` by key, with two underscores for its dot."""
    given = {name.replace("__", "."): text for name, text in flags.items()}
    given |= {"source.path": str(node.path), "server.port": "0", "operator.port": "0"}
    given.setdefault("source.behind_after_s", "1e12")  # the chain's clock is the test's
    given.setdefault("source.stale_after_s", "1e6")
    where: list[tuple[str, int]] = []
    ready = anyio.Event()

    def on_ready(host: str, port: int) -> None:
        where.append((host, port))
        ready.set()

    app = App(load_settings(None, {}, given), on_ready)
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(app.run, _no_signals())
        with anyio.fail_after(30):
            await ready.wait()
        yield Sidecar(app, *where[0])
        tasks.cancel_scope.cancel()


def _post(url: str, request: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps(request).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def _no_signals() -> AsyncIterator[Any]:
    await anyio.sleep_forever()
    yield


class Client:
    """A WebSocket client that keeps what each topic said."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self._early: deque[Any] = deque()  # came before the answer to a subscription

    async def say(self, **request: Any) -> None:
        await self.websocket.send(json.dumps(request))

    async def subscribe(self, resume: int | None = None, **subscription: Any) -> None:
        """Up to the response."""
        request: dict[str, Any] = {"method": "subscribe", "subscription": subscription}
        if resume is not None:
            request["resume"] = {"height": resume}
        await self.say(**request)
        while (answer := await self._receive())["channel"] != "subscriptionResponse":
            assert answer["channel"] != "error", answer
            self._early.append(answer)

    async def next(self) -> Any:
        return self._early.popleft() if self._early else await self._receive()

    async def _receive(self) -> Any:
        with anyio.fail_after(20):
            return json.loads(await self.websocket.recv())

    async def until(self, channel: str) -> list[Any]:
        """All messages up to the next one of that channel, it being the last."""
        messages = [await self.next()]
        while messages[-1]["channel"] != channel:
            messages.append(await self.next())
        return messages

    async def quiet(self, seconds: float = 0.15) -> list[Any]:
        """All messages until none comes for so long."""
        messages = list(self._early)
        self._early.clear()
        while True:
            with anyio.move_on_after(seconds):
                messages.append(json.loads(await self.websocket.recv()))
                continue
            return messages


@asynccontextmanager
async def client_of(sidecar: Sidecar, address: str = "127.0.0.1") -> AsyncIterator[Client]:
    local = (address, 0)
    async with connect(
        sidecar.ws_url, max_size=None, max_queue=None, local_addr=local
    ) as websocket:
        yield Client(websocket)
