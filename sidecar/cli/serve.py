"""Serve WebSocket feeds and HTTP queries from a node's log.

Settings come from the --config file, then SIDECAR_<SECTION>_<KEY> in the environment, then flags.
Ends on SIGINT or SIGTERM: clients are told, then the process exits with 0; a second one does not
wait for them. SIGHUP reads settings and tokens again, and says what changed and what can't.
"""

import argparse
import faulthandler
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import anyio

from sidecar.app import App
from sidecar.cli.settings_flags import add_settings, read_settings
from sidecar.cli.signals import service_signals
from sidecar.doctor.findings import ERROR
from sidecar.doctor.table import examine_start
from sidecar.parts import status_line
from sidecar.scheduling import schedule
from sidecar.service.activation import listen_there, passed_sockets
from sidecar.service.deaths import Deaths
from sidecar.service.notify import Notifier
from sidecar.settings import Settings
from sidecar.telemetry.logs import configure_logs
from sidecar.telemetry.outlet import Outlet
from sidecar.workers.role import Role
from sidecar.workers.supervisor import Supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting."""
    parser.add_argument("--check", action="store_true", help="try what the settings name, and exit")
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Loads and checks the settings, then serves."""
    notifier, sockets = Notifier(os.environ), passed_sockets(os.environ)

    def read() -> Settings:
        return listen_there(read_settings(options), sockets)

    settings = read()
    if options.check:
        return _check(settings, options.config)
    configure_logs(settings.log.level, settings.log.style)
    faulthandler.enable()  # a watchdog ends what hangs by SIGABRT: where it was is in the log then
    if settings.server.workers == 1:
        schedule(settings.process)
    role = Role(hands_over="server" in sockets)
    anyio.run(_serve, settings, role, read, notifier, backend_options={"use_uvloop": True})
    return 0


def _check(settings: Settings, config: Path | None) -> int:
    findings, looked = examine_start(settings, config)
    for finding in findings:
        print("\n".join(finding.lines()))
    tried = f"tried: {', '.join(looked)}; sidecar doctor looks at the rest of the machine"
    if any(finding.severity == ERROR for finding in findings):
        print(f"the settings are valid, but a start would fail; {tried}")
        return 1
    print(f"the settings are valid; {tried}")
    return 0


async def _serve(
    settings: Settings, role: Role, read: Callable[[], Settings], notifier: Notifier
) -> None:
    process: App | Supervisor
    with ExitStack() as held:
        if settings.server.workers == 1:
            process = App(settings, _announce, role, read, notifier)
            deaths = Deaths(os.environ)
            process.parts.vital.deaths.update(deaths.begin())
            held.callback(deaths.end, process.parts.vital.deaths)
        else:
            process = Supervisor(settings, _announce, role, read, notifier)
        signals = held.enter_context(service_signals())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.run, lambda: status_line(process.report()), process.progress)
            await process.run(signals)
            tasks.cancel_scope.cancel()


def _announce(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    said = f"ws://{shown}:{port}/ws and http://{shown}:{port}/info" if port else f"at {host}"
    out = Outlet(1).open()  # nobody may read our output; the log has it, too
    out.write(f"serving {said}\n")
    out.close()
