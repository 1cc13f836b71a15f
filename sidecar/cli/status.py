"""Show how a running sidecar is.

sidecar status                                as its operator port tells it, 127.0.0.1:8011,
                                              and as its clients' port answers
sidecar status --operator unix:/run/op.sock   another one
sidecar status --watch                        again every second

Exit codes: 0 ready, 1 not ready or clients are not answered, 2 not reachable.
"""

import argparse
import json
import sys
import time
from typing import Any

from sidecar.cli.operator_client import Metrics, OperatorClient, Unreachable
from sidecar.cli.status_view import Asked, describe
from sidecar.settings import OperatorSettings

_NOT_READY, _UNREACHABLE = 1, 2
_WATCH_S = 1.0
_CLEAR = "\x1b[H\x1b[2J"
_DEFAULT = f"{OperatorSettings().host}:{OperatorSettings().port}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom to ask, and how to say it."""
    add = parser.add_argument
    add(
        "--operator",
        default=_DEFAULT,
        metavar="PLACE",
        help="HOST:PORT or unix:PATH of its operator port; default %(default)s",
    )
    add("--json", action="store_true", help="as one JSON object a time")
    add("--watch", action="store_true", help="again every second, until interrupted")


def run(options: argparse.Namespace) -> int:
    """Once, or until interrupted."""
    client = OperatorClient(options.operator)
    code = _show(client, options)
    while options.watch:
        time.sleep(_WATCH_S)
        code = _show(client, options)
    return code


def _show(client: OperatorClient, options: argparse.Namespace) -> int:
    on_screen = options.watch and not options.json and sys.stdout.isatty()
    clear = _CLEAR if on_screen else ""
    try:
        told, metrics = client.ready(), client.metrics()
        asked = _ask_server(client, told)
    except Unreachable as error:
        if options.json:
            print(json.dumps({"reachable": False, "reason": str(error)}), flush=True)
        else:
            where = "--operator says where its operator port is"
            print(f"{clear}not reachable: {error}; {where}", file=sys.stderr, flush=True)
        return _UNREACHABLE
    if options.json:
        print(_as_json(told, metrics, asked), flush=True)
    else:
        print(clear + "\n".join(describe(told, metrics, asked)), flush=True)
    answered = asked is None or not asked.reason
    return 0 if told["ready"] and answered else _NOT_READY


def _ask_server(client: OperatorClient, told: dict[str, Any]) -> Asked | None:
    """As a client of it; None where it takes none yet. Workers share a port."""
    addresses = (one.get("address") for one in (told, *told.get("workers", ())))
    address = next(filter(None, addresses), None)
    if address is None:
        return None
    try:
        return Asked(address, client.at(address).server_info())
    except Unreachable as error:
        return Asked(address, reason=str(error))


def _as_json(told: dict[str, Any], metrics: Metrics, asked: Asked | None) -> str:
    samples = {
        name: [{"labels": sample.labels, "value": sample.value} for sample in samples]
        for name, samples in metrics.items()
        if name.startswith("sidecar_")
    }
    said: dict[str, Any] = {"reachable": True, "healthz": {"alive": True}, "readyz": told}
    if asked is not None:
        said["serverInfo"] = asked.info
        said["answered"] = {"address": asked.address, "reason": asked.reason}
    return json.dumps(said | {"metrics": samples})
