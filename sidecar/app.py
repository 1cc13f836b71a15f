"""The composition root: builds the parts from the settings, runs them in one task group, owns
the shutdown.
"""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from sidecar.api.channels import Channels
from sidecar.checkpoints import Checkpoints, find_directory, lock_directory, open_directory
from sidecar.errors import ConfigInvalid
from sidecar.feed import Feed
from sidecar.freshness import watch_freshness
from sidecar.garbage import Pauses, settle
from sidecar.limits import ORDERS_DRAIN_S, ORDERS_FLUSH_S
from sidecar.node.hyperliquid import open_info_client
from sidecar.node.hyperliquid.origin import HyperliquidOrigin
from sidecar.node.ipc import IpcDirectory
from sidecar.node.row_files import RowDirectory
from sidecar.node.source import open_source
from sidecar.node.starts import Start
from sidecar.node.submitter import Submitter
from sidecar.parts import Parts
from sidecar.pipeline import run_pipeline
from sidecar.protocol.closecodes import CloseCode
from sidecar.recovery.recover import recover
from sidecar.recovery.repair import Repairer
from sidecar.recovery.resume import Resumer
from sidecar.recovery.verifier import Verifier
from sidecar.reload import Reload, reload, tell_too_late
from sidecar.restarts import Restarts
from sidecar.server.hub import Hub
from sidecar.server.listener import bind, fit_descriptors, place_of, shown
from sidecar.server.operator import OperatorServer, operator_pages
from sidecar.server.order_entry import OrderEntry
from sidecar.server.pass_through import PassThrough
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.server.tokens import Tokens, tokens_of
from sidecar.service.notify import Notifier
from sidecar.settings import ServerSettings, Settings, SourceSettings
from sidecar.state.chain import ChainState
from sidecar.state.health import NS_PER_S, Bounds, Health
from sidecar.telemetry.logs import configure_logs, get_log, tell_repeats
from sidecar.telemetry.loop_lag import watch_loop_lag
from sidecar.telemetry.traced import open_tracing
from sidecar.workers.role import Role

_log = get_log("app")

Ready = Callable[[str, int], None]


class App:
    """One sidecar process."""

    def __init__(
        self,
        settings: Settings,
        on_ready: Ready | None = None,
        role: Role | None = None,
        read_settings: Callable[[], Settings] | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """`on_ready` gets host and port once the state is at the node's head and clients can
        connect. `read_settings` reads them again, on SIGHUP.
        """
        self._settings = settings
        self._read_settings = read_settings
        self._admitting: tuple[ServerSettings, Tokens | None] = settings.server, None
        self._notifier = notifier or Notifier()
        self._role = role or Role()
        self._on_ready = on_ready
        self.state: ChainState | None = None  # once it is restored
        self._orders: OrderEntry | None = None
        self.parts = Parts(Pauses(freeze=settings.process.gc_freeze))
        self._held = ExitStack()  # until the last checkpoint is written

    async def run(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Serves until a signal comes, then drains; a second one does not wait for that. SIGHUP is
        no end: the settings are read again.

        Any task that fails ends the process: what it raised comes out of here, so that systemd
        restarts it.
        """
        tracing = open_tracing(self._settings.tracing)
        if tracing is not None:
            self.parts.counts.clock.tracing = tracing
            self._held.callback(tracing.close)
        self.parts.pauses.watch()
        self._held.callback(self.parts.pauses.unwatch)
        with self._held:
            hurried = await self._run_all(signals)
            if self.parts.checkpoints is not None and not hurried:
                await self._write_last(self.parts.checkpoints, signals)
        _log.info("stopped")

    async def _write_last(
        self, checkpoints: Checkpoints, signals: AsyncIterator[signal.Signals]
    ) -> None:
        """In a thread: a large state takes a while, in which a signal gives it up."""

        async def hurry() -> None:
            async for number in signals:
                if number is signal.SIGHUP:
                    tell_too_late()
                else:
                    _log.info("stopping", signal=number.name, drain=False)
                    checkpoints.give_up()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hurry)
            await anyio.to_thread.run_sync(checkpoints.write_last)
            tasks.cancel_scope.cancel()

    async def _run_all(self, signals: AsyncIterator[signal.Signals]) -> bool:
        hurried = False
        async with anyio.create_task_group() as outer:
            try:
                hurried = await self._run_until_signalled(signals, outer)
            finally:  # what connections send at their end goes through the outer tasks
                if self._orders is not None:
                    with anyio.move_on_after(ORDERS_FLUSH_S, shield=True):
                        await self._orders.submitter.flushed()
                outer.cancel_scope.cancel()
        return hurried

    async def _run_until_signalled(
        self, signals: AsyncIterator[signal.Signals], outer: TaskGroup
    ) -> bool:
        """Whether it ended in a hurry."""
        stopping = hurried = False
        async with anyio.create_task_group() as tasks:
            self.parts.vital.start(tasks, "pipeline", self._run, tasks, outer)
            async for number in signals:
                if number is signal.SIGHUP:
                    if stopping:
                        tell_too_late()
                    elif self._read_settings is not None:
                        self._notifier.reloading()
                        self.read_again(self._read_settings)
                        self._notifier.reloaded()
                    continue
                self._notifier.stopping()
                _log.info("stopping", signal=number.name, drain=not stopping)
                if stopping:
                    hurried = True
                    break  # the second one does not wait
                stopping = True
                tasks.start_soon(self._stop, tasks.cancel_scope)
            tasks.cancel_scope.cancel()
        return hurried

    async def _stop(self, everything: anyio.CancelScope) -> None:
        if self._orders is not None:
            await self._orders.close(ORDERS_DRAIN_S)
        if self.parts.server is not None:
            reason = "the server is shutting down; reconnect"
            await self.parts.server.drain(CloseCode.GOING_AWAY, reason)
        everything.cancel()

    async def _run(self, tasks: TaskGroup, outer: TaskGroup) -> None:
        server_settings = fit_descriptors(self._settings.server)
        self._admitting = server_settings, tokens_of(server_settings)
        source = self._settings.source
        shared = not self._role.is_alone
        with bind(server_settings.host, server_settings.port, shared=shared) as listener:
            if self._role.is_alone:
                self._tell_operators(tasks)
            own = self._open_checkpoints()
            origin = await open_source(source, own)
            self.parts.has_node = True
            start, state = await recover(origin.starts(), self.parts.note_restored)
            self.state = state
            # The settings may have been read again while the node was waited for.
            server_settings, tokens = self._admitting
            health = state.health = Health(state, _bounds(self._settings.source))
            if self._role.is_first:
                self._keep_checkpoints(tasks, own, start, state)
            hub, channels = Hub(), Channels(state)
            restarts = Restarts(channels, hub, state)
            feed = self.parts.feed = Feed(
                start.reader,
                origin,
                state,
                health,
                restarts.all,
                self.parts.counts,
                busy_poll=source.busy_poll,
            )
            resumer = Resumer(state, origin, hub.recent.since)
            repairer = self.parts.repairer = Repairer(state, origin, restarts.part)
            client = open_info_client(source)
            pass_through = None if client is None else PassThrough(client)
            orders = self._take_orders(tasks, outer, state, hub)
            services = Services(
                server_settings,
                state,
                channels,
                hub,
                resumer,
                pass_through,
                orders,
                tokens,
                self.parts.counts,
            )
            self.parts.server = Server(listener, services, hands_over=self._role.hands_over)
            self.parts.services = services
            vital = self.parts.vital
            vital.start(tasks, "server", self._serve_at_head, feed, self.parts.server, state)
            vital.start(tasks, "repair", repairer.run)
            vital.start(tasks, "resume", resumer.run)
            if isinstance(origin, HyperliquidOrigin) and origin.files and source.verify_interval_s:
                verifier = Verifier(state, origin, source.verify_interval_s)
                vital.start(tasks, "verifier", verifier.run)
            vital.start(tasks, "logs", tell_repeats)
            vital.start(tasks, "loop lag", watch_loop_lag, self.parts.counts.loop_lag)
            vital.start(tasks, "freshness", watch_freshness, health, state, channels, hub)
            try:
                await run_pipeline(feed.blocks(), state, channels, hub, self.parts.counts.clock)
            except Exception as error:
                if self.parts.checkpoints is not None:
                    self.parts.checkpoints.stop()
                reason = f"{type(error).__name__} after height {state.height}: the feed ends"
                await self.parts.server.drain(CloseCode.INTERNAL_ERROR, reason)
                raise
            finally:
                feed.close()

    def report(self) -> dict[str, Any]:
        """What `/readyz` says."""
        return self.parts.report()

    def progress(self) -> int:
        """Of the start, and of the end: while it changes, the process gets on."""
        return self.parts.progress

    def read_again(self, read_settings: Callable[[], Settings]) -> None:
        """Takes over what of other settings can be changed in a running process, and the tokens
        anyway. What is wrong with them is logged; then all stays as it is.
        """
        try:
            self._adopt(reload(self._settings, read_settings()))
        except ConfigInvalid as error:
            _log.error("not reloaded", reason=str(error), meaning="all stays as it is")

    def _adopt(self, found: Reload) -> None:
        server_settings = fit_descriptors(found.settings.server)
        tokens = tokens_of(server_settings)
        if tokens is None and self._settings.server.tokens_file is not None:
            _log.warning("tokens are asked for no more", key="server.tokens_file")
        self._settings, self._admitting = found.settings, (server_settings, tokens)
        configure_logs(found.settings.log.level, found.settings.log.style)
        if self.parts.server is not None:
            self.parts.server.adopt(server_settings, tokens)
        if self._orders is not None:
            self._orders.adopt(found.settings.orders)
        if self.state is not None and self.state.health is not None:
            self.state.health.bounds = _bounds(found.settings.source)
        found.tell(_log)

    def _take_orders(
        self, tasks: TaskGroup, outer: TaskGroup, state: ChainState, hub: Hub
    ) -> OrderEntry | None:
        """The way to the node for orders, where it has one."""
        source, settings = self._settings.source, self._settings.orders
        if source.kind != "native":
            return None
        socket = IpcDirectory(Path(source.path)).submit_socket
        submitter = Submitter(socket, answer_timeout_s=settings.answer_timeout_s)
        orders = self._orders = OrderEntry(state, settings, submitter, self.parts.counts)
        state.allowance = orders.allowance
        orders.flights.traces.tracing = self.parts.counts.clock.tracing
        hub.flushed = orders.flights.applied
        self.parts.vital.start(outer, "submitter", submitter.run)
        self.parts.vital.start(tasks, "orders", orders.run)
        return orders

    def _tell_operators(self, tasks: TaskGroup) -> None:
        settings = self._settings.operator
        listener = self._held.enter_context(bind(settings.host, settings.port, "operator"))
        operator = OperatorServer(listener, operator_pages(self.parts.report, self.parts.samples))
        _log.info("operators are answered", host=settings.host, port=operator.port)
        self.parts.vital.start(tasks, "operator", operator.serve)

    def _open_checkpoints(self) -> RowDirectory[Any] | None:
        """Where they are; only the first worker writes there."""
        if not self._role.is_first:
            return find_directory(self._settings.checkpoint)
        own = open_directory(self._settings.checkpoint)
        if own is not None:
            self._held.enter_context(lock_directory(own.path))
        return own

    def _keep_checkpoints(
        self, tasks: TaskGroup, own: RowDirectory[Any] | None, start: Start, state: ChainState
    ) -> None:
        if self._settings.source.kind == "hyperliquid" or own is None:
            beside = self._settings.source.kind == "hyperliquid"
            (_log.warning if own is not None else _log.info)(
                "no checkpoints",
                reason="not beside this node" if beside else "set checkpoint.directory",
                meaning="after a restart only what the node's snapshot holds is known",
            )
            return
        blocks = self._settings.checkpoint.blocks
        self.parts.checkpoints = Checkpoints(own, start, state, blocks=blocks)
        self.parts.vital.start(tasks, "checkpoints", self.parts.checkpoints.run)

    async def _serve_at_head(self, feed: Feed, server: Server, state: ChainState) -> None:
        await feed.at_head.wait()
        if self._settings.process.gc_freeze:
            settle()
        server.listen()
        host, port = place_of(server.listener, self._settings.server.host)
        self.parts.address = shown(host, port)
        _log.info(
            "ready",
            host=host,
            port=port,
            height=state.height,
        )
        if self._on_ready is not None:
            self._on_ready(host, port)
        self._notifier.ready()
        await server.serve()


def _bounds(source: SourceSettings) -> Bounds:
    return Bounds(int(source.stale_after_s * NS_PER_S), int(source.behind_after_s * NS_PER_S))
