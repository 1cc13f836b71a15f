"""Run one worker of a sidecar that has several. `sidecar serve --workers` starts it.

Reads its settings and role as one line of JSON from stdin, other settings likewise later on, ends
when that is closed, and says how it is on stdout.
"""

import argparse
import faulthandler
import os
import signal
import sys
from contextlib import suppress

import anyio
import msgspec
import structlog

from sidecar.app import App
from sidecar.cli.signals import end_signals
from sidecar.limits import WORKER_REPORT_S
from sidecar.scheduling import schedule
from sidecar.settings import Settings
from sidecar.telemetry.logs import configure_logs
from sidecar.workers.role import Report, Role


def add_arguments(_: argparse.ArgumentParser) -> None:
    """None."""


def run(_: argparse.Namespace) -> None:
    """Serves until its supervisor says so, or is gone."""
    line, behind = _first_line(sys.stdin.fileno())
    settings, role = _decode_orders(line)
    configure_logs(settings.log.level, settings.log.style)
    faulthandler.enable()  # a supervisor ends what hangs by SIGABRT first
    structlog.contextvars.bind_contextvars(worker=role.number)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # is the supervisor's
    schedule(settings.process, role.number)
    os.set_blocking(sys.stdout.fileno(), False)  # a supervisor that hangs must not hang its workers
    anyio.run(_serve, settings, role, behind, backend_options={"use_uvloop": True})


def _first_line(fd: int) -> tuple[bytes, bytes]:
    """And what was written behind it already. Waits for it."""
    data = b""
    while b"\n" not in data and (more := os.read(fd, 1 << 16)):
        data += more
    line, _, behind = data.partition(b"\n")
    return line, behind


async def _serve(settings: Settings, role: Role, behind: bytes) -> None:
    where: list[tuple[str, int]] = []
    app = App(settings, lambda host, port: where.append((host, port)), role)
    with end_signals() as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey_supervisor, app, behind)
            tasks.start_soon(_report, app, where)
            await app.run(signals)
            tasks.cancel_scope.cancel()


def _decode_orders(line: bytes) -> tuple[Settings, Role]:
    return msgspec.json.decode(line, type=tuple[Settings, Role])


async def _obey_supervisor(app: App, buffered: bytes) -> None:
    """Each line is other settings, those of `buffered` first; the end is ours."""
    fd = sys.stdin.fileno()
    os.set_blocking(fd, False)
    while True:
        *lines, buffered = buffered.split(b"\n")
        for line in lines:
            app.read_again(lambda line=line: _decode_orders(line)[0])  # type: ignore[misc]
        await anyio.wait_readable(fd)
        data = os.read(fd, 1 << 16)
        if not data:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        buffered += data


async def _report(app: App, where: list[tuple[str, int]]) -> None:
    unsent = b""
    try:
        while True:
            unsent = send_report(sys.stdout.fileno(), _report_of(app, where), unsent)
            await anyio.sleep(WORKER_REPORT_S)
    finally:  # what was counted last: what the process dies of, perhaps
        send_report(sys.stdout.fileno(), _report_of(app, where), unsent)


def _report_of(app: App, where: list[tuple[str, int]]) -> bytes:
    address = where[0] if where else None
    report = Report(app.parts.report(), address, app.parts.samples(), app.progress())
    return msgspec.json.encode(report) + b"\n"


def send_report(fd: int, report: bytes, unsent: bytes) -> bytes:
    """Returns what is left of the report of which only a part found room: it goes before the next
    one, else the supervisor would take both for nonsense. One that found none at all is dropped.
    """
    for data in (unsent, report):
        sent = 0
        with suppress(BlockingIOError, BrokenPipeError):
            sent = os.write(fd, data)
        if sent < len(data):
            return data[sent:] if sent or data is unsent else b""
    return b""
