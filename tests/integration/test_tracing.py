"""Traces: the spans of a block and of an order, in memory and at a real receiver of OTLP."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from order_desk import Desk, desk_of, noop
from processes import Serve, Start
from rig import Node, client_of, sidecar_of
from sidecar.api.orders.incoming import Incoming
from sidecar.settings import TracingSettings
from sidecar.telemetry import tracing
from sidecar.telemetry.tracecontext import continue_trace
from sidecar.telemetry.traced import BlockTimes
from sidecar.telemetry.tracing import Tracer
from submit_node import until
from test_workers import until as until_sync
from trader import fund, order, signed, wallet_of

TRACE_ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT}-01"
BLOCK = ["read", "decode", "apply", "publish", "send"]
ORDER = ["receive", "admit", "submit", "execute", "visible"]


def tree(spans: list[ReadableSpan], root: ReadableSpan) -> list[str]:
    """The names below a span, by their begin; times lie within each other."""
    assert root.context is not None
    below = [one for one in spans if one.parent and one.parent.span_id == root.context.span_id]
    below.sort(key=lambda one: (one.start_time or 0, one.end_time or 0))
    for one in below:
        assert one.context is not None
        assert one.context.trace_id == root.context.trace_id
        assert (root.start_time or 0) <= (one.start_time or 0)
        assert (one.start_time or 0) <= (one.end_time or 0) <= (root.end_time or 0)
    for before, behind in pairwise(below):
        assert (before.end_time or 0) == (behind.start_time or 0)
    return [one.name for one in below]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Takes the place of the way to the collector."""
    exporter = InMemorySpanExporter()

    def instead(_endpoint: str, timeout: float) -> SpanExporter:
        return exporter

    monkeypatch.setattr(tracing, "OTLPSpanExporter", instead)
    return exporter


@pytest.mark.anyio
async def test_the_tree_of_a_block(tmp_path: Path, memory: InMemorySpanExporter) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(30)
        settings: dict[str, Any] = {"tracing__endpoint": "http://x", "tracing__blocks": 0.5}
        async with sidecar_of(node, **settings) as sidecar, client_of(sidecar) as client:
            await client.subscribe(type="blocks")
            node.step(10)
            await sidecar.reaches(40)
            now = time.time_ns()
    spans = list(memory.get_finished_spans())
    roots = [one for one in spans if one.name == "block"]
    assert [root.attributes and root.attributes["sidecar.height"] for root in roots] == list(
        range(2, 41, 2)
    )
    for root in roots:
        assert root.parent is None
        assert tree(spans, root) == BLOCK
        assert now - 60e9 < (root.start_time or 0) <= (root.end_time or 0) <= now
    last = roots[-1].attributes
    assert last is not None
    assert last["sidecar.transitions"] == len(node.blocks[39].transitions)
    assert last["sidecar.messages"] == 1
    assert roots[0].resource.attributes["service.name"] == "sidecar"


async def executed(desk: Desk, traceparent: str | None, *, ok: bool = True) -> None:
    told: list[Any] = []
    trace, body = continue_trace(traceparent), noop()
    desk.orders.take(Incoming(body, "192.0.2.1", None, trace, time.time_ns(), told.append))
    height = desk.state.height + 1
    request = await desk.peer.request()
    desk.peer.answer(request.request_id, {"type": "default"}, ok=ok, height=height)
    await until(lambda: told)
    desk.applied(height)


@pytest.mark.anyio
async def test_the_tree_of_an_order_in_its_senders_trace(tmp_path: Path) -> None:
    memory = InMemorySpanExporter()
    tracer = Tracer(TracingSettings("x", blocks=1, orders=0), memory)
    async with desk_of(tmp_path) as desk:
        desk.orders.flights.traces.tracing = tracer
        tracer.begin_block(2)  # the block that executes the first one
        await executed(desk, TRACEPARENT)
        tracer.end_block(BlockTimes(2, {"apply": (1, 2)}, 0, 0))
        await executed(desk, TRACEPARENT, ok=False)
        await executed(desk, TRACEPARENT[:-1] + "0")  # its sender does not record it
        await executed(desk, None)  # nor do we
    tracer.close()
    spans = list(memory.get_finished_spans())
    first, second = (one for one in spans if one.name == "order")
    (block,) = (one for one in spans if one.name == "block")
    for root in (first, second):
        assert root.context is not None
        assert root.parent is not None
        assert f"{root.context.trace_id:032x}" == TRACE_ID
        assert f"{root.parent.span_id:016x}" == PARENT
        assert tree(spans, root) == ORDER
    assert [link.context for link in first.links] == [block.context]
    assert not second.links
    assert [root.status.is_ok for root in (first, second)] == [True, False]
    assert first.attributes == {"sidecar.height": 2, "sidecar.ok": True}


@pytest.mark.anyio
async def test_orders_without_a_trace_are_sampled(tmp_path: Path) -> None:
    memory = InMemorySpanExporter()
    tracer = Tracer(TracingSettings("x", orders=0.25), memory)
    async with desk_of(tmp_path) as desk:
        desk.orders.flights.traces.tracing = tracer
        for _ in range(8):
            await executed(desk, None)
    tracer.close()
    roots = [one for one in memory.get_finished_spans() if one.name == "order"]
    assert len(roots) == 2
    assert all(root.parent is None for root in roots)


class Collector(ThreadingHTTPServer):
    """Takes spans as a collector does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: list[Any] = []
        self.hangs = False
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.hangs:
            time.sleep(30)
        assert self.headers.get("Content-Encoding") is None
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def node(tmp_path: Path, start: Start) -> Path:
    """A running chain."""
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    return ipc


def test_a_real_sidecar_and_a_real_receiver(collector: Collector, node: Path, serve: Serve) -> None:
    flags = ("--source-path", str(node), "--tracing-endpoint", collector.endpoint)
    server = serve(*flags, "--tracing-blocks", "1")
    alice = wallet_of(0xA11CE)
    fund(server, alice)
    body = json.dumps(signed(alice, order()))
    headers = {"Traceparent": TRACEPARENT, "Content-Type": "application/json"}
    answer = requests.post(f"{server.url}/exchange", body, headers=headers, timeout=10)
    assert answer.json()["status"] == "ok"
    told = answer.headers["Traceparent"].split("-")

    def ours() -> list[Any]:
        return [one for one in collector.spans if one.trace_id.hex() == TRACE_ID]

    until_sync(lambda: len(ours()) == 6, 30)
    (root,) = (one for one in ours() if one.name == "order")
    assert (root.trace_id.hex(), root.span_id.hex()) == (told[1], told[2])
    assert root.parent_span_id.hex() == PARENT
    below = sorted(
        (one for one in ours() if one is not root), key=lambda one: one.end_time_unix_nano
    )
    assert [one.name for one in below] == ORDER
    height = int(answer.headers["Sidecar-Height"])
    attributes = {one.key: one.value.int_value for one in root.attributes}
    assert attributes["sidecar.height"] == height
    blocks = {one.span_id: one for one in collector.spans if one.name == "block"}
    assert len(blocks) > 10
    (link,) = root.links
    until_sync(lambda: any(one.span_id == link.span_id for one in collector.spans))
    assert server.stop() == 0


@pytest.mark.parametrize("hangs", [False, True])
def test_a_receiver_that_is_not_there_costs_spans_and_nothing_else(
    collector: Collector, node: Path, serve: Serve, hangs: bool
) -> None:
    collector.hangs = hangs
    endpoint = collector.endpoint if hangs else "http://127.0.0.1:1/v1/traces"
    flags = ("--source-path", str(node), "--tracing-endpoint", endpoint, "--tracing-blocks", "1")
    server = serve(*flags)
    height = server.info(type="serverInfo")["height"]
    until_sync(lambda: server.info(type="serverInfo")["height"] > height + 300)
    if not hangs:
        until_sync(lambda: '"traces are lost"' in server.output)
        assert server.output.count('"traces are lost"') == 1
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 15
    assert "Traceback" not in server.output


def test_where_it_is_off_nothing_of_it_is_imported() -> None:
    program = (
        "import sys; import sidecar.app; from sidecar.telemetry.traced import open_tracing;"
        "from sidecar.settings import TracingSettings; open_tracing(TracingSettings());"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run((sys.executable, "-c", program), check=False).returncode == 0


@pytest.mark.parametrize("more", [(), ("--check",)])
def test_without_the_packages_it_says_how_to_get_them(node: Path, more: tuple[str, ...]) -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None;"
        "from sidecar.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    flags = ("serve", "--source-path", str(node), "--tracing-endpoint", "http://127.0.0.1:1")
    ports = ("--server-port", "0", "--operator-port", "0")
    done = subprocess.run(
        (sys.executable, "-c", program, *flags, *ports, *more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "tracing.endpoint: OpenTelemetry is not installed" in done.stderr
