"""The composition root: builds the parts from the settings, runs them in one task group, owns
the shutdown.
"""

import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from sidecar.api.channels import Channels
from sidecar.checkpoints import Checkpoints, open_directory
from sidecar.config import Settings
from sidecar.node.follow import Follower
from sidecar.node.row_files import RowDirectory
from sidecar.node.source import Start, open_source
from sidecar.pipeline import run_pipeline
from sidecar.protocol.closecodes import CloseCode
from sidecar.recovery import recover, settle
from sidecar.server.hub import Hub
from sidecar.server.listener import bind, fit_descriptors
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
        self._checkpoints: Checkpoints | None = None

    async def run(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Serves until a signal comes, then drains; a second one does not wait for that.

        Any task that fails ends the process: what it raised comes out of here, so that systemd
        restarts it.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, tasks)
            stopping = hurried = False
            async for number in signals:
                _log.info("stopping", signal=number.name, drain=not stopping)
                if stopping:
                    hurried = True
                    break  # the second one does not wait
                stopping = True
                tasks.start_soon(self._stop, tasks.cancel_scope)
            tasks.cancel_scope.cancel()
        if self._checkpoints is not None and not hurried:
            self._checkpoints.write_last()
        _log.info("stopped")

    async def _stop(self, everything: anyio.CancelScope) -> None:
        if self._server is not None:
            reason = "the server is shutting down; reconnect"
            await self._server.drain(CloseCode.GOING_AWAY, reason)
        everything.cancel()

    async def _run(self, tasks: TaskGroup) -> None:
        server_settings = fit_descriptors(self._settings.server)
        with bind(server_settings.host, server_settings.port) as listener:
            own = open_directory(self._settings.checkpoint)
            start, state = recover(await open_source(self._settings.source, own))
            self._keep_checkpoints(tasks, own, start, state)
            hub, channels = Hub(), Channels(state)
            self._server = Server(listener, Services(server_settings, state, channels, hub))
            follower = Follower(start.reader, busy_poll=self._settings.source.busy_poll)
            tasks.start_soon(self._serve_at_head, follower, self._server, state)
            try:
                await run_pipeline(follower.blocks(), state, channels, hub)
            except Exception as error:
                if self._checkpoints is not None:
                    self._checkpoints.stop()
                reason = f"{type(error).__name__} after height {state.height}: the feed ends"
                await self._server.drain(CloseCode.INTERNAL_ERROR, reason)
                raise
            finally:
                start.reader.close()

    def _keep_checkpoints(
        self, tasks: TaskGroup, own: RowDirectory[Any] | None, start: Start, state: ChainState
    ) -> None:
        if self._settings.source.kind == "hyperliquid" or own is None:
            _log.info(
                "no checkpoints",
                reason="set checkpoint.directory" if own is None else "not beside this node",
                meaning="after a restart only what the node's snapshot holds is known",
            )
            return
        blocks = self._settings.checkpoint.blocks
        self._checkpoints = Checkpoints(own, start, state, blocks=blocks)
        tasks.start_soon(self._checkpoints.run)

    async def _serve_at_head(self, follower: Follower, server: Server, state: ChainState) -> None:
        await follower.at_head.wait()
        settle()
        server.listen()
        host = self._settings.server.host
        _log.info("ready", host=host, port=server.port, height=state.height)
        if self._on_ready is not None:
            self._on_ready(host, server.port)
        await server.serve()
