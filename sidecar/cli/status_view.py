"""A running sidecar's state in a few lines, from what `/readyz`, `/metrics` and its clients' port
say.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sidecar.cli.operator_client import Metrics

_MIB = 1 << 20


class Asked(NamedTuple):
    """What the clients' port said to us as one of them: `serverInfo` (None: not without a token),
    or why it did not answer.
    """

    address: str
    info: dict[str, Any] | None = None
    reason: str = ""


def describe(told: dict[str, Any], metrics: Metrics, asked: Asked | None = None) -> Iterator[str]:
    """Line by line; what a page does not tell is left out."""
    workers = told.get("workers")
    yield "alive        its event loop answers"
    yield f"state        {'ready' if told['ready'] else 'not ready'}"
    if asked is not None:
        yield from _server_info(asked)
    if workers is None:
        yield from _process(told)
    else:
        serving = sum(one["serving"] for one in workers)
        yield f"workers      {len(workers)}, {serving} of them serving"
        for one in workers:
            yield from _worker(one)
    yield from _counted(metrics)


def _server_info(asked: Asked) -> Iterator[str]:
    info = asked.info
    if asked.reason:
        yield f"server       clients are not answered: {asked.reason}"
    elif info is None:
        yield f"server       {asked.address} answers who has a token"
    else:
        found = f"{info['mismatches']} contradictions found so far"
        yield f"server       {asked.address} answers: {info['feed']['state']}, {found}"


def _worker(told: dict[str, Any]) -> Iterator[str]:
    state = "ready" if told["ready"] else "not ready"
    reason = f": {told['reason']}" if told.get("reason") else ""
    yield f"worker {told['worker']}     {state}{reason}"
    yield f"  process    {told.get('pid', 'none')}, start {told['starts']}"
    for line in _process(told):
        yield f"  {line[:11].rstrip():11}{line[13:]}"


def _process(told: dict[str, Any]) -> Iterator[str]:
    yield f"height       {told['height']}"
    if "lag_s" in told:
        yield f"lag          {told['lag_s']:.3f} s behind the chain's clock"
    feed = told.get("feed")
    if feed:
        yield f"feed         {_with_reason(feed['state'], feed['reason'])}"
    markets = told.get("markets")
    if markets:
        yield f"markets      {markets['served']} served"
        for name, reason in markets["withheld"].items():
            yield f"             {name} is withheld: {reason}"
    if accounts := told.get("accounts", {}).get("withheld"):
        yield f"accounts     {accounts} withheld"
    node = told.get("submission")
    if node:
        state = "the node takes orders" if node["connected"] else "the node takes none"
        yield f"submission   {_with_reason(state, node['reason'])}"
    if "checkpoint" in told:
        yield from _checkpoint(told["checkpoint"], told["height"])


def _checkpoint(told: dict[str, Any], height: int) -> Iterator[str]:
    of = told["height"]
    yield f"checkpoint   {f'height {of}, {height - of} blocks ago' if of else 'none yet'}"
    if told["reason"]:
        yield f"             failing ({told['failures']} times so far): {told['reason']}"


def _with_reason(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def _counted(metrics: Metrics) -> Iterator[str]:
    """What only `/metrics` tells."""
    clients = _by_label(metrics, "connections", "kind")
    if clients:
        channels = _by_label(metrics, "subscribers", "channel")
        shown = ", ".join(f"{count} {kind}" for kind, count in clients.items())
        yield f"clients      {shown}; {sum(channels.values())} subscriptions"
        for channel, count in sorted(channels.items(), key=lambda one: -one[1]):
            if count:
                yield f"             {count} {channel}"
    orders = _by_label(metrics, "orders_total", "outcome")
    if orders:
        shown = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in orders.items())
        yield f"orders       {shown}"
    age = metrics.get("sidecar_checkpoint_age_seconds")
    if age:
        size = metrics.get("sidecar_checkpoint_bytes")
        bytes_shown = f", {size[0].value / _MIB:.1f} MiB" if size else ""
        yield f"written      {age[0].value:.0f} s ago{bytes_shown}"
    lost = metrics.get("sidecar_log_lines_lost_total")
    if lost and lost[0].value:
        yield f"log          {lost[0].value:.0f} lines could not be written"
    build = metrics.get("sidecar_build_info")
    if build:
        labels = build[0].labels
        yield f"version      {labels.get('version')}, Python {labels.get('python')}"


def _by_label(metrics: Metrics, name: str, label: str) -> dict[str, int]:
    samples = metrics.get(f"sidecar_{name}", [])
    return {sample.labels.get(label, ""): int(sample.value) for sample in samples}
