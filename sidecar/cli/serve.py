"""Serve WebSocket feeds and HTTP queries from a node's log.

Settings come from the --config file, then SIDECAR_<SECTION>_<KEY> in the environment, then flags.
Ends on SIGINT or SIGTERM: clients are told, then the process exits with 0; a second one does not
wait for them. SIGHUP reads settings and tokens again, and says what changed and what can't.
"""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from sidecar.app import App
from sidecar.cli.signals import service_signals
from sidecar.config import Settings, keys, load_settings
from sidecar.parts import status_line
from sidecar.scheduling import schedule
from sidecar.service.activation import listen_there, passed_sockets
from sidecar.service.notify import Notifier
from sidecar.telemetry.logs import configure_logs
from sidecar.workers.role import Role
from sidecar.workers.supervisor import Supervisor

_SHORT = {"server.workers": ("--workers",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--check", action="store_true", help="check the settings and exit")
    for key in keys():
        flags = [key.flag, *_SHORT.get(key.dotted, ())]
        default = "none" if key.default is None else str(key.default).lower()
        choices = f" ({', '.join(key.choices)})" if key.choices else ""
        parser.add_argument(
            *flags,
            dest=key.dotted,
            metavar=key.name.upper(),
            help=f"{key.description}{choices}; default {default}".replace("%", "%%"),
        )


def run(options: argparse.Namespace) -> None:
    """Loads and checks the settings, then serves."""
    given = vars(options)
    flags = {key.dotted: text for key in keys() if (text := given[key.dotted]) is not None}
    notifier, sockets = Notifier(os.environ), passed_sockets(os.environ)
    environment = dict(os.environ)

    def read_settings() -> Settings:
        return listen_there(load_settings(options.config, environment, flags), sockets)

    settings = read_settings()
    if options.check:
        print("the settings are valid")
        return
    configure_logs(settings.log.level, settings.log.style)
    if settings.server.workers == 1:
        schedule(settings.process)
    role = Role(hands_over="server" in sockets)
    anyio.run(_serve, settings, role, read_settings, notifier, backend_options={"use_uvloop": True})


async def _serve(
    settings: Settings, role: Role, read_settings: Callable[[], Settings], notifier: Notifier
) -> None:
    kind = App if settings.server.workers == 1 else Supervisor
    process = kind(settings, _announce, role, read_settings, notifier)
    with service_signals() as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.run, lambda: status_line(process.report()))
            await process.run(signals)
            tasks.cancel_scope.cancel()


def _announce(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    with suppress(OSError):  # whoever read our output may have gone; the log has it, too
        print(f"serving ws://{shown}:{port}/ws and http://{shown}:{port}/info", flush=True)
