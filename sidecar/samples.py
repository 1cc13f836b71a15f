"""The numbers of the parts of one process, as samples of metrics."""

import platform
import time
from collections.abc import Iterator, Mapping

from sidecar import __version__
from sidecar.checkpoints import Checkpoints
from sidecar.garbage import Pauses
from sidecar.node.submitter import Submitter
from sidecar.recovery.repair import Repairer
from sidecar.server.hub import Hub
from sidecar.server.order_entry import OrderEntry
from sidecar.server.server import Server
from sidecar.state.chain import ChainState
from sidecar.state.faults import ACCOUNT, BOOK, EVERYTHING
from sidecar.state.health import BEHIND, GAP, LIVE, RESYNCING, STALE, Health
from sidecar.telemetry import process
from sidecar.telemetry.counts import Counts
from sidecar.telemetry.metrics import Samples, Value, histogram
from sidecar.telemetry.outlet import STDERR
from sidecar.vital import VitalTasks

Sample = tuple[str, list[str], Value]
_NS_PER_S = 1e9
_OUTCOMES = ("executed", "refused_by_chain", "not_sent", "unknown")


def collect(*parts: Iterator[Sample]) -> Samples:
    """All of them, by metric."""
    samples: Samples = {}
    for part in parts:
        for name, labels, value in part:
            samples.setdefault(name, []).append((labels, value))
    return samples


def of_process() -> Iterator[Sample]:
    """What the kernel says of it, and what it is."""
    yield "build_info", [__version__, platform.python_version()], 1
    for name, value in process.usage().items():
        yield name, [], value
    yield "log_lines_lost_total", [], STDERR.lost


def of_counts(counts: Counts) -> Iterator[Sample]:
    """What was counted on the way."""
    clock = counts.clock
    yield "read_lag_seconds", [], clock.read_lag_s
    yield "blocks_total", [], clock.blocks
    yield "gaps_total", [], counts.gaps
    yield "conflated_total", [], counts.conflated
    yield "slow_closes_total", [], counts.slow_closes
    yield "loop_lag_seconds", [], histogram(counts.loop_lag)
    for stage, seconds in clock.seconds.items():
        yield "stage_seconds", [stage], histogram(seconds)
    kinds = {kind.__name__: count for kind, count in clock.transitions.items()}
    yield from _labelled("transitions_total", kinds)
    yield from _labelled("resumptions_total", counts.resumptions, "replayed", "lost")
    yield from _labelled("refusals_total", counts.refusals)


def of_pauses(pauses: Pauses) -> Iterator[Sample]:
    """Garbage collections."""
    yield "gc_pause_seconds", [], histogram(pauses.seconds)


def of_deaths(vital: VitalTasks) -> Iterator[Sample]:
    """Tasks that failed; the process ends with them, or its supervisor tells of them."""
    yield from _labelled("task_deaths_total", vital.deaths)


def of_state(state: ChainState, health: Health) -> Iterator[Sample]:
    """What is served, and how far it can be trusted."""
    faults = state.faults
    yield "height", [], state.height
    if state.time_ns:  # a snapshot does not always say it
        yield "block_time_seconds", [], state.time_ns / _NS_PER_S
        yield "node_lag_seconds", [], time.time() - state.time_ns / _NS_PER_S
    for name in (LIVE, STALE, BEHIND, GAP, RESYNCING):
        yield "feed_state", [name], int(health.feed.state == name)
    withheld = health.books_withheld()
    yield "markets", ["live"], len(state.markets) - withheld
    yield "markets", ["withheld"], withheld
    yield "accounts_withheld", [], len(faults.accounts)
    yield from _labelled("checks_total", faults.checked, BOOK, ACCOUNT)
    yield from _labelled("mismatches_total", faults.found, BOOK, ACCOUNT, EVERYTHING)


def of_recovery(repairer: Repairer, rebuilds: int) -> Iterator[Sample]:
    """`rebuilds`: of everything."""
    yield from _labelled("resyncs_total", repairer.repairs, BOOK, ACCOUNT)
    yield "resyncs_total", [EVERYTHING], rebuilds
    yield "repair_failures_total", [], repairer.failures


def of_server(server: Server, hub: Hub) -> Iterator[Sample]:
    """Clients, and what they are sent."""
    websockets, connections = server.websockets, server.connections
    yield "connections", ["websocket"], websockets
    yield "connections", ["http"], connections - websockets
    yield "connections_opened_total", [], server.opened
    yield "connections_closed_total", [], server.closed.total()
    yield from _labelled("closes_total", server.closed)
    yield "slow_clients", [], len(hub.slow)
    yield "topics", [], hub.topics
    for channel, sent in hub.sent.items():
        yield "subscribers", [channel], sent.readers
        yield "frames_total", [channel], sent.frames
        yield "frame_bytes_total", [channel], sent.bytes


def of_orders(orders: OrderEntry, counts: Counts) -> Iterator[Sample]:
    """Order entry and its way to the node."""
    submitter: Submitter = orders.submitter
    refused = orders.refusals
    yield from _labelled("orders_total", counts.outcomes, *_OUTCOMES)
    yield "orders_total", ["refused_here"], refused.total()
    yield from _labelled("order_refusals_total", refused)
    yield "nonce_refusals_total", [], refused["nonce"]
    yield "signature_refusals_total", [], refused["signature"]
    yield "submission_connected", [], int(submitter.connected)
    for stage, seconds in counts.order_seconds.items():
        yield "order_seconds", [stage], histogram(seconds)


def of_checkpoints(checkpoints: Checkpoints) -> Iterator[Sample]:
    """Where they are written."""
    yield "checkpoint_height", [], checkpoints.height
    yield "checkpoints_written_total", [], checkpoints.written
    yield "checkpoint_failures_total", [], checkpoints.failures
    if checkpoints.written:
        yield "checkpoint_age_seconds", [], time.time() - checkpoints.written_at
        yield "checkpoint_bytes", [], checkpoints.bytes


def _labelled(
    name: str, counts: Mapping[str, int] | Mapping[int, int], *always: str
) -> Iterator[Sample]:
    shown = dict.fromkeys(always, 0) | {str(label): count for label, count in counts.items()}
    for label, count in shown.items():
        yield name, [label], count
