"""Every metric there is, and how samples of them become a page for Prometheus.

    samples: {"blocks_total": [[[], 7]], "closes_total": [[["1000"], 2], [["1013"], 1]], ...}

Samples are plain values, so that a worker can say them to its supervisor. To add a metric: a line
here, a number that is counted somewhere (`counts.py`), and a line in `sidecar/samples.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder

from sidecar.telemetry.counts import PAUSE_BOUNDS_S, STAGE_BOUNDS_S, Histogram

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
SUM, HIGHEST, LOWEST = "sum", "highest", "lowest"

Value = float | list[float]  # a histogram's: its buckets one by one, then the sum of values
Samples = dict[str, list[tuple[list[str], Value]]]


class Metric(msgspec.Struct, frozen=True):
    """One line of docs/metrics.md. `over` says what several workers' values make together."""

    name: str
    kind: str
    over: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus sees it."""
        return self.name if self.name.startswith("process_") else f"sidecar_{self.name}"


def _stages(name: str, what: str) -> Metric:
    return Metric(name, HISTOGRAM, SUM, what, ("stage",), STAGE_BOUNDS_S)


def _pauses(name: str, what: str) -> Metric:
    return Metric(name, HISTOGRAM, SUM, what, (), PAUSE_BOUNDS_S)


METRICS = (
    Metric("height", GAUGE, LOWEST, "height of the block that is served"),
    Metric("block_time_seconds", GAUGE, LOWEST, "consensus time of that block, since the epoch"),
    Metric("node_lag_seconds", GAUGE, HIGHEST, "our clock less that time"),
    Metric("read_lag_seconds", GAUGE, HIGHEST, "from the node's write to our last send of it"),
    _stages("stage_seconds", "time of a block in each stage; read: from the node's write"),
    Metric("blocks_total", COUNTER, SUM, "blocks applied"),
    Metric("transitions_total", COUNTER, SUM, "transitions applied", ("kind",)),
    Metric("feed_state", GAUGE, SUM, "1 for the state that the feed is in", ("state",)),
    Metric("markets", GAUGE, HIGHEST, "markets that are served, and withheld", ("state",)),
    Metric("accounts_withheld", GAUGE, HIGHEST, "accounts that are known to be wrong"),
    Metric("checks_total", COUNTER, SUM, "compared with what the node says", ("part",)),
    Metric("mismatches_total", COUNTER, SUM, "contradictions found", ("part",)),
    Metric("resyncs_total", COUNTER, SUM, "rebuilt while serving", ("part",)),
    Metric("repair_failures_total", COUNTER, SUM, "attempts to rebuild a part that failed"),
    Metric("gaps_total", COUNTER, SUM, "times that the node's log could not be read on"),
    Metric("resumptions_total", COUNTER, SUM, "topics read on by who came back", ("outcome",)),
    Metric("connections", GAUGE, SUM, "open connections", ("kind",)),
    Metric("connections_opened_total", COUNTER, SUM, "WebSocket connections begun"),
    Metric("connections_closed_total", COUNTER, SUM, "WebSocket connections ended"),
    Metric("closes_total", COUNTER, SUM, "the same by close code; 1006: none", ("code",)),
    Metric("refusals_total", COUNTER, SUM, "connections and requests refused", ("status",)),
    Metric("subscribers", GAUGE, SUM, "subscriptions", ("channel",)),
    Metric("topics", GAUGE, SUM, "topics that are open"),
    Metric("frames_total", COUNTER, SUM, "messages to subscribers, snapshots too", ("channel",)),
    Metric("frame_bytes_total", COUNTER, SUM, "their bytes before compression", ("channel",)),
    Metric("conflated_total", COUNTER, SUM, "messages that a newer one took the place of"),
    Metric("slow_closes_total", COUNTER, SUM, "clients let go because they did not keep up"),
    Metric("slow_clients", GAUGE, SUM, "clients for whom something waits"),
    Metric("orders_total", COUNTER, SUM, "signed actions", ("outcome",)),
    Metric("order_refusals_total", COUNTER, SUM, "those refused here, by rule", ("rule",)),
    _stages("order_seconds", "time of an executed action in each stage; visible: from its receipt"),
    Metric("nonce_refusals_total", COUNTER, SUM, "actions refused for their nonce"),
    Metric("signature_refusals_total", COUNTER, SUM, "actions refused for their signature"),
    Metric("submission_connected", GAUGE, LOWEST, "1 while the node takes actions"),
    Metric("checkpoint_height", GAUGE, HIGHEST, "height of the newest own checkpoint; 0: none"),
    Metric("checkpoint_age_seconds", GAUGE, LOWEST, "age of the newest one of this process"),
    Metric("checkpoint_bytes", GAUGE, HIGHEST, "its size"),
    Metric("checkpoints_written_total", COUNTER, SUM, "checkpoints written"),
    Metric("checkpoint_failures_total", COUNTER, SUM, "checkpoints that could not be written"),
    _pauses("loop_lag_seconds", "how late the event loop was, ten times a second"),
    _pauses("gc_pause_seconds", "full garbage collections"),
    Metric("task_deaths_total", COUNTER, SUM, "vital tasks that failed", ("task",)),
    Metric("log_lines_lost_total", COUNTER, SUM, "lines of the log that could not be written"),
    Metric("workers", GAUGE, SUM, "processes that run, and that are wanted", ("state",)),
    Metric("worker_ends_total", COUNTER, SUM, "workers that ended unasked"),
    Metric("build_info", GAUGE, HIGHEST, "1", ("version", "python")),
    Metric("process_cpu_seconds_total", COUNTER, SUM, "CPU time, user and system"),
    Metric("process_resident_memory_bytes", GAUGE, SUM, "resident memory"),
    Metric("process_virtual_memory_bytes", GAUGE, SUM, "virtual memory"),
    Metric("process_open_fds", GAUGE, HIGHEST, "open descriptors of one process"),
    Metric("process_max_fds", GAUGE, LOWEST, "its limit of descriptors"),
    Metric("process_start_time_seconds", GAUGE, HIGHEST, "start, since the epoch"),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def histogram(of: Histogram) -> list[float]:
    """Its sample."""
    return [*map(float, of.counts), of.sum]


def merge(all_samples: Iterable[Samples]) -> Samples:
    """What several processes say, as one. O(samples)."""
    merged: dict[str, dict[tuple[str, ...], Value]] = {}
    for samples in all_samples:
        for name, values in samples.items():
            found = merged.setdefault(name, {})
            for labels, value in values:
                key = tuple(labels)
                found[key] = value if key not in found else _both(name, found[key], value)
    return {
        name: [(list(labels), value) for labels, value in found.items()]
        for name, found in merged.items()
    }


def lasting(samples: Samples) -> Samples:
    """What of them is left of a process that has ended: counters must not fall."""
    return {name: values for name, values in samples.items() if BY_NAME[name].kind is not GAUGE}


def _both(name: str, one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    assert not isinstance(one, list)
    assert not isinstance(other, list)
    over = BY_NAME[name].over
    return one + other if over is SUM else (max if over is HIGHEST else min)(one, other)


def render(samples: Samples, accept: str) -> tuple[bytes, str]:
    """The page and its content type, in the newest format that is accepted. About 3 ms."""
    encoder, content_type = choose_encoder(accept)
    return encoder(_Collected(samples)), content_type


class _Collected:
    """What the encoders take for a registry."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """In the order of the table."""
        for metric in METRICS:
            values = self._samples.get(metric.name)
            if values:
                yield _family(metric, values)


def _family(metric: Metric, values: list[tuple[list[str], Value]]) -> Family:
    name, labels = metric.full_name, metric.labels
    if metric.kind is HISTOGRAM:
        histograms = HistogramMetricFamily(name, metric.help, labels=labels)
        for shown, value in values:
            assert isinstance(value, list)
            histograms.add_metric(shown, _buckets(metric.bounds, value), value[-1])
        return histograms
    kind: Any = CounterMetricFamily if metric.kind is COUNTER else GaugeMetricFamily
    family: Family = kind(name, metric.help, labels=labels)
    for shown, value in values:
        family.add_metric(shown, value)  # type: ignore[attr-defined]
    return family


def _buckets(bounds: tuple[float, ...], value: list[float]) -> list[tuple[str, float]]:
    total, found = 0.0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), value[:-1], strict=True):
        total += count
        found.append((bound, total))
    return found
