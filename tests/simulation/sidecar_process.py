"""The real sidecar as a process of a simulated world: started, killed, drained, started again.

`App` is the product's own composition root; only where it would take a socket of the kernel it gets
one of the simulated network.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any
from unittest import mock

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from sidecar import app as app_module
from sidecar.app import App
from sidecar.checkpoints import Checkpoints
from sidecar.config import load_settings
from sidecar.errors import SidecarError
from sidecar.node import submitter
from sidecar.server import flush, hub
from sidecar.settings import Settings
from tests.simulation.context import sidecar_of_task
from tests.simulation.network import SimulatedListener, SimulatedSocket
from tests.simulation.weights import Weights
from tests.simulation.world import World

RESTART_S = 0.5  # as a service manager has it
PORT = 8010


class Process:
    """One sidecar: incarnation after incarnation over one directory of checkpoints."""

    def __init__(self, world: World, number: int, node: Path, own: Path, weights: Weights) -> None:
        self.world = world
        self.name = ("127.0.0.1", PORT + number)
        self.app: App | None = None
        self.ready = False
        self.starts = 0
        self.ends: list[str] = []  # with what reasons it has ended by itself
        self.bugs: list[BaseException] = []  # with what else
        self.up_since = 0.0
        self.sockets: list[Any] = []
        self._weights = weights
        self._settings = _settings(node, own / str(number), number, weights)
        self._scope: anyio.CancelScope | None = None
        self._signals: anyio.abc.ObjectSendStream[Signals] | None = None

    @property
    def incarnation(self) -> tuple[int, int]:
        """Which sidecar, and which of its starts."""
        return self.name[1], self.starts

    @property
    def height(self) -> int:
        """Of its newest block; 0 where it has none."""
        return 0 if self.app is None or self.app.state is None else self.app.state.height

    @property
    def server(self) -> Any:
        """The product's server, once there is one."""
        return None if self.app is None else self.app.parts.server

    async def run(self) -> None:
        """Starts it, and again whenever it has ended, until cancelled."""
        while True:
            await self._live()
            self.ready = False
            self.app = None
            await anyio.sleep(RESTART_S)

    def kill(self) -> None:
        """As kill -9: nothing that it still does has an effect."""
        for one in self.sockets:
            if isinstance(one, SimulatedListener):
                for sock in one.accepted:
                    self._cut(sock)
            else:
                self._cut(one)
        if self._scope is not None:
            self._scope.cancel()

    async def drain(self) -> None:
        """As SIGTERM."""
        if self._signals is not None:
            await self._signals.send(SIGTERM)

    def _cut(self, sock: SimulatedSocket) -> None:
        if not sock.closed:
            self.world.network.reset(sock)
            sock.crashed = True

    async def _live(self) -> None:
        self.starts += 1
        self.sockets = []
        send, receive = anyio.create_memory_object_stream[Signals](8)
        self._signals = send
        self.app = App(self._settings, self._on_ready)
        sidecar_of_task.set(self)
        with send, receive, anyio.CancelScope() as self._scope:
            try:
                await self.app.run(_each(receive))
            except* SidecarError as group:
                self.ends += [str(one) for one in _leaves(group)]
            except* Exception as group:  # noqa: BLE001 - whatever it is, it is a finding
                self.bugs += _leaves(group)
        self._scope = self._signals = None

    def _on_ready(self, host: str, port: int) -> None:
        self.ready = True
        self.up_since = self.world.clock.now


async def _each(receive: Any) -> AsyncIterator[Signals]:
    async for one in receive:
        yield one


async def _write_here(checkpoints: Any) -> None:
    """A checkpoint without the process beside, whose time no seed decides: all of it at once."""
    height = checkpoints._tried_at = checkpoints._state.height
    checkpoints._write()
    checkpoints._note_written(height, time.monotonic())


async def _at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


def _leaves(group: BaseExceptionGroup[Any]) -> list[Any]:
    found: list[Any] = []
    for one in group.exceptions:
        found += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found


def _settings(node: Path, own: Path, number: int, weights: Weights) -> Settings:
    """Shorter times than the product's, so that a story holds many of them."""
    flags = {
        "source.path": node,
        "source.stale_after_s": STALE_AFTER_S,
        "source.behind_after_s": BEHIND_AFTER_S,
        "server.port": PORT + number,
        "server.ping_interval_s": PING_INTERVAL_S,
        "server.pong_timeout_s": PONG_TIMEOUT_S,
        "server.messages_per_minute": MESSAGES_PER_MINUTE,
        "server.outbox_bytes_max": OUTBOX_BYTES_MAX,
        "server.outbox_age_max_s": OUTBOX_AGE_MAX_S,
        "operator.port": OPERATOR_PORT + number,
        "orders.answer_timeout_s": 2,
        "checkpoint.directory": own,
        "checkpoint.blocks": weights.checkpoint_blocks,
    }
    return load_settings(None, {}, {key: str(value) for key, value in flags.items()})


OPERATOR_PORT = 9010
STALE_AFTER_S = 1.0
BEHIND_AFTER_S = 5.0
PING_INTERVAL_S = 2.0
PONG_TIMEOUT_S = 2.0
OUTBOX_BYTES_MAX = 4 << 10
OUTBOX_AGE_MAX_S = 2.0
MESSAGES_PER_MINUTE = 150


@contextmanager
def simulated_sockets(world: World) -> Iterator[None]:
    """While this holds, sidecars of this world take their sockets from its network."""

    def bind(host: str, port: int, section: str = "server", *, shared: bool = False) -> Any:
        listener = world.network.listen((host, port))
        sidecar_of_task.get().sockets.append(listener)
        return listener

    def connected(path: Path) -> SimulatedSocket:
        process = sidecar_of_task.get()
        sock = world.network.connect(path, quirks=process._weights.quirks)
        process.sockets.append(sock)
        return sock

    async def others_turn() -> None:
        await anyio.sleep(world.rng.random() * world.turn_s)

    with ExitStack() as stack:
        for target, name, double in (
            (app_module, "bind", bind),
            (app_module, "settle", lambda: None),
            (submitter, "_connected", connected),
            (anyio.to_thread, "run_sync", _at_once),  # there are no threads here
            (Checkpoints, "_write_beside", _write_here),
            # So that a block that goes to five clients is cut, as one for five thousand is, and
            # others do in between what they do while five thousand are sent to.
            (flush, "FLUSH_LOOK_DELIVERIES", 1),
            (hub, "FLUSH_SLICE_S", 0.0 if world.turn_s else 0.0005),
            (hub, "checkpoint", others_turn if world.turn_s else checkpoint),
        ):
            stack.enter_context(mock.patch.object(target, name, double))
        yield
