"""Several workers on one port: each is a whole sidecar that follows the log itself, and the kernel
spreads clients over those that listen (SO_REUSEPORT).

    supervisor ──┬── worker 0   log ─▶ state ─▶ its clients; writes the checkpoints
    operator     ├── worker 1   log ─▶ state ─▶ its clients
    port         └── ...        nothing between them that could break

The supervisor starts them, hears how they are, starts again those that die, and ends them. A worker
whose supervisor is gone ends itself.
"""

import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from functools import partial

import anyio
import msgspec
from anyio.abc import TaskGroup

from sidecar.errors import ConfigInvalid, WorkersEnded
from sidecar.limits import WORKER_BACKOFF_MAX_S, WORKER_BACKOFF_S
from sidecar.reload import reload, tell_too_late
from sidecar.samples import collect, of_process
from sidecar.server.listener import bind, is_given, is_unix
from sidecar.server.operator import OperatorServer, operator_pages
from sidecar.server.tokens import tokens_of
from sidecar.service.notify import Notifier
from sidecar.settings import Settings
from sidecar.telemetry.logs import configure_logs, get_log
from sidecar.telemetry.metrics import Samples, merge
from sidecar.workers.process import Worker
from sidecar.workers.role import Role

_log = get_log("supervisor")

Ready = Callable[[str, int], None]


class Supervisor:
    """The process that has the workers."""

    def __init__(
        self,
        settings: Settings,
        on_ready: Ready | None = None,
        role: Role | None = None,
        read_settings: Callable[[], Settings] | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """`on_ready` gets host and port once all workers can be connected to; `read_settings` reads
        them again, on SIGHUP.
        """
        self._settings = settings
        self._read_settings = read_settings
        self._notifier = notifier or Notifier()
        self._role = role or Role()
        self._on_ready = on_ready
        self._workers = [Worker(number) for number in range(settings.server.workers)]
        self._stopping = False

    async def run(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Until a signal comes; a second one does not wait for the drain. Raises `WorkersEnded`
        when no worker is left.
        """
        tokens_of(self._settings.server)  # a file that is wrong is said once, not by each worker
        with ExitStack() as held:
            listener = held.enter_context(self._reserve())
            operator_settings = self._settings.operator
            operator = OperatorServer(
                held.enter_context(
                    bind(operator_settings.host, operator_settings.port, "operator")
                ),
                operator_pages(self.report, self.samples),
            )
            _log.info("operators are answered", host=operator_settings.host, port=operator.port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(operator.serve)
                tasks.start_soon(self._keep_all, listener, tasks)
                async for number in signals:
                    if number is signal.SIGHUP and self._stopping:
                        tell_too_late()
                        continue
                    if number is signal.SIGHUP:
                        self._notifier.reloading()
                        await self._read_again(listener)
                        self._notifier.reloaded()
                        continue
                    self._notifier.stopping()
                    _log.info("stopping", signal=number.name, drain=not self._stopping)
                    self._stopping = True
                    for worker in self._workers:
                        worker.end()
        _log.info("stopped")

    async def _read_again(self, listener: socket.socket) -> None:
        """Each worker takes over what can be changed; one that is started later begins with it."""
        if self._read_settings is None:
            return
        try:
            found = reload(self._settings, self._read_settings())
            tokens_of(found.settings.server)  # what workers would refuse is refused for all
        except ConfigInvalid as error:
            _log.error("not reloaded", reason=str(error), meaning="all stays as it is")
            return
        self._settings = found.settings
        configure_logs(found.settings.log.level, found.settings.log.style)
        found.tell(_log)
        async with anyio.create_task_group() as tasks:
            for worker in self._workers:
                tasks.start_soon(worker.tell, self._orders_of(worker, listener))

    def report(self) -> dict[str, object]:
        """What `/readyz` says: ready where some worker takes clients, and all that do are."""
        now = time.monotonic()
        told = [worker.told(now) for worker in self._workers]
        serving = [one for one in told if one["serving"]]
        ready = bool(serving) and all(one["ready"] for one in serving)
        return {"ready": ready, "workers": told}

    def progress(self) -> tuple[int, ...]:
        """Of the starts of those that do not serve yet, and of the end: while it changes, they
        get on.
        """
        return tuple(
            worker.progress for worker in self._workers if self._stopping or worker.address is None
        )

    def samples(self) -> Samples:
        """What `/metrics` shows: of all workers together, and of this process."""
        own: Samples = collect(of_process())
        own["workers"] = [
            (["running"], sum(worker.is_running for worker in self._workers)),
            (["wanted"], len(self._workers)),
        ]
        own["worker_ends_total"] = [([], sum(worker.ends for worker in self._workers))]
        return merge([own, *(worker.samples for worker in self._workers)])

    def _reserve(self) -> socket.socket:
        """The port, for the workers alone; or the unix socket that they share."""
        server = self._settings.server
        if is_unix(server.host) or is_given(server.host):
            listener = bind(server.host, 0)
            listener.set_inheritable(True)
            return listener
        with bind(server.host, server.port) as probe:  # nobody else's: sharing would be silent
            port = int(probe.getsockname()[1])
        return bind(server.host, port, shared=True)

    async def _keep_all(self, listener: socket.socket, everything: TaskGroup) -> None:
        async with anyio.create_task_group() as looking:
            looking.start_soon(self._end_hung)
            async with anyio.create_task_group() as tasks:
                for worker in self._workers:
                    tasks.start_soon(self._keep, worker, listener)
            looking.cancel_scope.cancel()
        everything.cancel_scope.cancel()

    async def _end_hung(self) -> None:
        while True:
            await anyio.sleep(1.0)
            for worker in self._workers:
                worker.end_hung(time.monotonic())

    async def _keep(self, worker: Worker, listener: socket.socket) -> None:
        """Runs a worker, again whenever it ends before it should."""
        backoff_s = WORKER_BACKOFF_S
        while not self._stopping:
            began = time.monotonic()
            code = await worker.run(
                partial(self._orders_of, worker, listener), listener, self._heard
            )
            if worker.unwanted.is_set():
                return
            worker.ends += 1
            left = sum(one.is_running for one in self._workers)
            _log.error("worker ended", worker=worker.number, code=code, left=left)
            if not left:
                raise WorkersEnded(f"the last of {len(self._workers)} workers ended with {code}")
            if time.monotonic() - began > WORKER_BACKOFF_MAX_S:
                backoff_s = WORKER_BACKOFF_S
            with anyio.move_on_after(backoff_s):
                await worker.unwanted.wait()
            backoff_s = min(2 * backoff_s, WORKER_BACKOFF_MAX_S)

    def _orders_of(self, worker: Worker, listener: socket.socket) -> bytes:
        """What a worker is told at its start."""
        server = self._settings.server
        name = listener.getsockname()
        if is_unix(server.host) or is_given(server.host):
            place = {"host": f"fd:{listener.fileno()}"}
        else:
            place = {"host": server.host, "port": name[1]}
        connections = -(-server.connections_max // len(self._workers))
        server = msgspec.structs.replace(server, connections_max=connections, **place)
        settings = msgspec.structs.replace(self._settings, server=server)
        role = Role(worker.number, len(self._workers), self._role.hands_over)
        return msgspec.json.encode((settings, role)) + b"\n"

    def _heard(self) -> None:
        """A worker has said how it is."""
        if self._on_ready is None or not all(worker.address for worker in self._workers):
            return
        on_ready, self._on_ready = self._on_ready, None
        address = self._workers[0].address
        assert address is not None
        _log.info("ready", workers=len(self._workers))
        on_ready(*address)
        self._notifier.ready()
