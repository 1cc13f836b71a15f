"""OpenTelemetry traces, sent to a collector by OTLP over HTTP. Imported only where they are on.

    block      read, decode, apply, publish, send               one block in so many
    order      receive, admit, submit, execute, visible         those whose sender records them

Nothing is recorded on the way: spans are made once a block or an order is over, out of times that
were taken anyway, and leave in batches from a thread of their own. What the collector does not take
is lost, and said in the log.
"""

import logging
import time
from collections.abc import Mapping
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from sidecar import __version__
from sidecar.limits import (
    TRACED_ORDERS_PER_S,
    TRACING_COMPLAIN_S,
    TRACING_EXPORT_TIMEOUT_S,
    TRACING_FLUSH_S,
)
from sidecar.settings import TracingSettings
from sidecar.telemetry.logs import get_log
from sidecar.telemetry.traced import BlockTimes, OrderTimes

_log = get_log("tracing")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Tracer:
    """Of one process."""

    def __init__(self, settings: TracingSettings, exporter: SpanExporter | None = None) -> None:
        """`exporter`: another one than OTLP to the settings' endpoint."""
        if exporter is None:
            exporter = OTLPSpanExporter(settings.endpoint, timeout=TRACING_EXPORT_TIMEOUT_S)
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is sampled is decided here
            resource=Resource.create(
                {"service.name": settings.service_name, "service.version": __version__}
            ),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sidecar", __version__)
        self._blocks_every = _every(settings.blocks)
        self._orders_every = _every(settings.orders)
        self._blocks = self._orders = 0
        self._block: SpanContext | None = None  # the present one's, if it is sampled
        self._height = 0
        self._second = 0  # and how many orders were traced in it
        self._in_second = 0
        _quieten()

    def begin_block(self, height: int) -> None:
        """A block comes: whether its trace is recorded is decided now."""
        self._blocks += 1
        self._height = height
        self._block = None
        if self._blocks_every and self._blocks % self._blocks_every == 0:
            trace_id, span_id = self._ids.random.generate_trace_id(), self._ids.new_span_id()
            self._block = _context(trace_id, span_id)

    def end_block(self, times: BlockTimes) -> None:
        """It has left. About 100 us for one that is sampled."""
        if self._block is None:
            return
        self._record(
            "block",
            self._block,
            None,
            times.stages,
            {
                "sidecar.height": times.height,
                "sidecar.transitions": times.transitions,
                "sidecar.messages": times.messages,
            },
        )

    def order(self, times: OrderTimes) -> None:
        """An action was executed, or refused by the chain, and its block is visible."""
        if not self._is_sampled(times):
            return
        context = times.context
        span = _context(int(context.trace_id, 16), int(context.span_id, 16))
        parent = None
        if context.parent_id:
            parent = _context(span.trace_id, int(context.parent_id, 16), is_remote=True)
        links = [Link(self._block)] if self._block and self._height == times.height else []
        self._record(
            "order",
            span,
            parent,
            times.stages,
            {"sidecar.height": times.height, "sidecar.ok": times.ok},
            links,
            failed=not times.ok,
        )

    def close(self) -> None:
        """Sends what is left, for so long and no longer."""
        thread = Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(TRACING_FLUSH_S)

    def _is_sampled(self, times: OrderTimes) -> bool:
        context = times.context
        if context.parent_id:
            if not context.flags:
                return False  # its sender does not record it
        else:
            self._orders += 1
            if not self._orders_every or self._orders % self._orders_every:
                return False
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= TRACED_ORDERS_PER_S

    def _record(
        self,
        name: str,
        span_context: SpanContext,
        parent: SpanContext | None,
        stages: Mapping[str, tuple[int, int]],
        attributes: dict[str, AttributeValue],
        links: list[Link] | None = None,
        *,
        failed: bool = False,
    ) -> None:
        """A span with that context, and one below it for each stage: begin and end in ns since the
        epoch.
        """
        begin = min(start for start, _ in stages.values())
        above = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        self._ids.next = span_context
        root = self._tracer.start_span(
            name, above, SpanKind.SERVER, attributes, links, start_time=begin
        )
        inside = set_span_in_context(root)
        for stage, (start, end) in stages.items():
            self._tracer.start_span(stage, inside, start_time=start).end(max(start, end))
        if failed:
            root.set_status(Status(StatusCode.ERROR))
        root.end(max(end for _, end in stages.values()))


class _Ids(IdGenerator):
    """Random ones, but for a span whose ids are known already."""

    def __init__(self) -> None:
        self.random = RandomIdGenerator()
        self.next: SpanContext | None = None

    def new_span_id(self) -> int:
        """A random one."""
        return self.random.generate_span_id()

    def generate_span_id(self) -> int:
        """The known one first."""
        known, self.next = self.next, None
        return self.new_span_id() if known is None else known.span_id

    def generate_trace_id(self) -> int:
        """Asked for before the span's id, where there is no parent."""
        return self.random.generate_trace_id() if self.next is None else self.next.trace_id


class _Complaints(logging.Handler):
    """What OpenTelemetry logs, as a line of ours, now and then."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._again_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Says it if that was not done lately."""
        now = time.monotonic()
        if now >= self._again_at:
            self._again_at = now + TRACING_COMPLAIN_S
            _log.warning("traces are lost", reason=record.getMessage()[:300])


def _quieten() -> None:
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    theirs.handlers = [_Complaints()]


def _context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=is_remote, trace_flags=_SAMPLED)


def _every(ratio: float) -> int:
    """One in so many; 0 for none."""
    return max(round(1 / ratio), 1) if ratio > 0 else 0
