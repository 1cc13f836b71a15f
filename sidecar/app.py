"""The composition root: builds the parts from the settings, runs them in one task group, owns
the shutdown.
"""

import signal
import time
from collections.abc import AsyncIterator, Callable

import anyio
from anyio.abc import TaskGroup

from sidecar.api.channels import Channels
from sidecar.config import Settings
from sidecar.node.follow import Follower
from sidecar.node.hyperliquid import open_info_client
from sidecar.node.source import Start, open_source
from sidecar.pipeline import run_pipeline
from sidecar.protocol.closecodes import CloseCode
from sidecar.server.hub import Hub
from sidecar.server.listener import bind, fit_descriptors
from sidecar.server.pass_through import PassThrough
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.state.chain import ChainState
from sidecar.telemetry.logs import get_log

_log = get_log("app")

Ready = Callable[[str, int], None]


class App:
    """One sidecar process."""

    def __init__(self, settings: Settings, on_ready: Ready | None = None) -> None:
        """`on_ready` gets host and port once the state is at the node's head and clients can
        connect.
        """
        self._settings = settings
        self._on_ready = on_ready
        self._server: Server | None = None

    async def run(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Serves until a signal comes, then drains; a second one does not wait for that.

        Any task that fails ends the process: what it raised comes out of here, so that systemd
        restarts it.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, tasks)
            stopping = False
            async for number in signals:
                _log.info("stopping", signal=number.name, drain=not stopping)
                if stopping:
                    break  # the second one does not wait
                stopping = True
                tasks.start_soon(self._stop, tasks.cancel_scope)
            tasks.cancel_scope.cancel()
        _log.info("stopped")

    async def _stop(self, everything: anyio.CancelScope) -> None:
        if self._server is not None:
            reason = "the server is shutting down; reconnect"
            await self._server.drain(CloseCode.GOING_AWAY, reason)
        everything.cancel()

    async def _run(self, tasks: TaskGroup) -> None:
        server_settings = fit_descriptors(self._settings.server)
        with bind(server_settings.host, server_settings.port) as listener:
            start = await open_source(self._settings.source)
            state = _restore(start)
            hub, channels = Hub(), Channels(state)
            client = open_info_client(self._settings.source)
            pass_through = None if client is None else PassThrough(client)
            services = Services(server_settings, state, channels, hub, pass_through)
            self._server = Server(listener, services)
            follower = Follower(start.reader, busy_poll=self._settings.source.busy_poll)
            tasks.start_soon(self._serve_at_head, follower, self._server, state)
            try:
                await run_pipeline(follower.blocks(), state, channels, hub)
            except Exception as error:
                reason = f"{type(error).__name__} after height {state.height}: the feed ends"
                await self._server.drain(CloseCode.INTERNAL_ERROR, reason)
                raise
            finally:
                start.reader.close()

    async def _serve_at_head(self, follower: Follower, server: Server, state: ChainState) -> None:
        await follower.at_head.wait()
        server.listen()
        host = self._settings.server.host
        _log.info("ready", host=host, port=server.port, height=state.height)
        if self._on_ready is not None:
            self._on_ready(host, server.port)
        await server.serve()


def _restore(start: Start) -> ChainState:
    began = time.monotonic()
    state = ChainState()
    state.restore(start.height, start.time_ns, start.rows)
    orders = sum(len(market.book.orders) for market in state.markets.values())
    seconds = round(time.monotonic() - began, 3)
    _log.info(
        "state restored", chain=start.chain, height=state.height, orders=orders, seconds=seconds
    )
    return state
