"""`/metrics` of real sidecars: all that docs/metrics.md says, and nothing else; counted right."""

import json
import os
import re
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from prometheus_client import ProcessCollector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format
from websockets.sync.client import connect

from processes import Serve, Server, Start
from rig import Node, client_of, sidecar_of
from sidecar.telemetry.metrics import BY_NAME, METRICS, Samples, merge
from sidecar.telemetry.process import usage
from test_faults import steps_to_check
from test_workers import until, workers
from trader import fund, order, post, signed, wallet_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ([`\w, ]*) \| (.+) \| (\w+) \|")
Values = dict[tuple[str, ...], float]


def page(server: Server, accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{server.operator_port}/metrics")
    request.add_header("Accept", accept)
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(response.read().decode())


def values(text: str) -> dict[str, Values]:
    """By sample, then by the values of its labels."""
    found: dict[str, Values] = {}
    for family in text_format(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_the_document_says_what_there_is() -> None:
    rows = [
        found.groups() for line in DOCUMENT.read_text().splitlines() if (found := ROW.match(line))
    ]
    there = [
        (
            one.full_name,
            one.kind,
            ", ".join(f"`{label}`" for label in one.labels),
            one.help,
            one.over,
        )
        for one in METRICS
    ]
    assert rows == there


@pytest.fixture
def server(tmp_path: Path, start: Start, serve: Serve) -> Server:
    """Beside a running chain, with checkpoints and orders."""
    ipc, own = tmp_path / "ipc", tmp_path / "own"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    directory = ("--checkpoint-directory", str(own), "--checkpoint-blocks", "20")
    return serve("--source-path", str(ipc), *directory)


def test_everything_in_the_table_is_shown_and_nothing_else(server: Server) -> None:
    alice = wallet_of(0xA11CE)
    fund(server, alice)
    post(server, signed(alice, {"type": "order", "orders": [], "grouping": "na"}))
    with connect(server.ws_url, max_queue=None) as client:
        client.send(json.dumps({"method": "subscribe", "subscription": {"type": "blocks"}}))
        until(lambda: "sidecar_checkpoint_bytes" in page(server))
        shown = page(server)
    once = {"closes_total"}  # shown once there are any
    alone = {"workers", "worker_ends_total"}  # only the supervisor's
    until(lambda: "sidecar_closes_total{" in page(server))
    families = {family.name: family for family in text_format(shown)}
    there = {name.removesuffix("_total"): name for name in values(shown)}
    for metric in METRICS:
        if metric.name in once | alone | {"refusals_total"}:
            continue
        family = families[metric.full_name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        labels = set().union(*(sample.labels for sample in family.samples)) - {"le"}
        assert labels == set(metric.labels)
    known = {metric.full_name.removesuffix("_total") for metric in METRICS}
    assert families.keys() <= known, there
    assert len([sample for family in families.values() for sample in family.samples]) < 500


def test_prometheus_own_parsers_read_it(server: Server) -> None:
    newest = "application/openmetrics-text; version=1.0.0"
    first = {family.name for family in text_format(page(server))}
    second = {family.name for family in open_metrics(page(server, newest))}  # type: ignore[no-untyped-call]
    assert first == second
    assert not any(name.endswith("_created") for name in values(page(server)))


def test_clients_and_orders_are_counted(server: Server) -> None:
    alice = wallet_of(0xA11CE)
    fund(server, alice)
    answer = post(server, signed(alice, order()))
    assert answer["status"] == "ok"
    bad = signed(alice, order())
    assert post(server, bad | {"nonce": 5})["status"] == "err"
    assert requests.get(server.url + "/nowhere", timeout=10).status_code == 404
    before = values(page(server))
    with connect(server.ws_url, max_queue=None) as client, connect(server.ws_url) as idle:
        client.send(json.dumps({"method": "subscribe", "subscription": {"type": "blocks"}}))
        got = 0
        while got < 20:
            got += json.loads(client.recv(timeout=10))["channel"] == "blocks"
        during = values(page(server))
        idle.close(4000, "enough")
    until(lambda: values(page(server))["sidecar_connections"][("websocket",)] == 0)
    after = values(page(server))
    assert during["sidecar_connections"][("websocket",)] == 2
    assert during["sidecar_subscribers"][("blocks",)] == 1
    assert after["sidecar_subscribers"][("blocks",)] == 0
    sent = after["sidecar_frames_total"][("blocks",)]
    assert sent >= 19
    assert 60 * sent < after["sidecar_frame_bytes_total"][("blocks",)] < 1_000 * sent
    assert after["sidecar_closes_total"][("4000",)] == 1
    assert after["sidecar_connections_opened_total"][()] == 2
    assert after["sidecar_connections_closed_total"][()] == 2
    assert before["sidecar_refusals_total"][("404",)] == 1
    assert before["sidecar_orders_total"][("executed",)] == 2  # money and the order
    assert before["sidecar_orders_total"][("refused_here",)] == 1
    assert before["sidecar_order_seconds_count"][("visible",)] == 2
    assert after["sidecar_blocks_total"][()] > before["sidecar_blocks_total"][()]
    assert after["sidecar_stage_seconds_count"][("apply",)] == after["sidecar_blocks_total"][()]
    assert 0 < after["sidecar_stage_seconds_sum"][("apply",)] < 60
    assert after["sidecar_submission_connected"][()] == 1
    assert after["sidecar_feed_state"] == {
        ("live",): 1,
        ("stale",): 0,
        ("behind",): 0,
        ("gap",): 0,
        ("resyncing",): 0,
    }


def test_over_workers_and_over_the_end_of_one(tmp_path: Path, start: Start, serve: Serve) -> None:
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    pair = serve("--source-path", str(ipc), "--workers", "2", "--operator-port", "0")

    def now() -> dict[str, Values]:
        return values(page(pair))

    until(lambda: "sidecar_height" in now())
    with connect(pair.ws_url), connect(pair.ws_url), connect(pair.ws_url):
        until(lambda: now()["sidecar_connections"][("websocket",)] == 3)
    until(lambda: now()["sidecar_connections_closed_total"][()] == 3)
    before = now()
    assert before["sidecar_workers"] == {("running",): 2, ("wanted",): 2}
    os.kill(workers(pair)[1]["pid"], signal.SIGKILL)
    until(lambda: now()["sidecar_worker_ends_total"][()] == 1)
    until(lambda: [one["ready"] for one in workers(pair)] == [True, True])
    after = now()
    for name in ("blocks_total", "connections_opened_total", "connections_closed_total"):
        assert after[f"sidecar_{name}"][()] >= before[f"sidecar_{name}"][()]
    assert after["sidecar_connections_opened_total"][()] == 3
    assert after["sidecar_feed_state"][("live",)] == 2


PLANTED = """
import os, sys
if "worker" in sys.orig_argv:
    import anyio
    import sidecar.telemetry.loop_lag as lag
    real = lag.watch_loop_lag

    async def dies(lags):
        try:
            open(os.environ["PLANTED_MARK"], "x").close()  # the first one dies, and it alone
        except FileExistsError:
            await real(lags)
        await anyio.sleep(1.13)
        raise ValueError("planted")

    lag.watch_loop_lag = dies
"""


def test_what_a_worker_died_of_is_counted(
    tmp_path: Path, start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipc, site = tmp_path / "ipc", tmp_path / "site"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    site.mkdir()
    (site / "sitecustomize.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.setenv("PLANTED_MARK", str(tmp_path / "mark"))
    pair = serve("--source-path", str(ipc), "--workers", "2", "--operator-port", "0")
    pair.wait_for("worker ended")

    def died() -> Values:
        return values(page(pair))["sidecar_task_deaths_total"]

    until(lambda: died().get(("loop lag",)) == 1)
    until(lambda: died().get(("pipeline",)) == 0)  # what is counted is there before it happens


DYING = """
import os, sys
if "serve" in sys.orig_argv and "PLANTED" in os.environ:
    import sidecar.telemetry.loop_lag as lag

    async def dies(lags):
        raise ValueError("planted")

    lag.watch_loop_lag = dies
"""


def test_what_a_run_died_of_is_counted_by_the_next_one(
    tmp_path: Path, start: Start, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under systemd, which keeps the runtime directory over restarts."""
    ipc, site, kept = tmp_path / "ipc", tmp_path / "site", tmp_path / "run"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    site.mkdir()
    kept.mkdir()
    (site / "sitecustomize.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{kept}:/elsewhere")
    source = ("--source-path", str(ipc))
    with monkeypatch.context() as planted:
        planted.setenv("PLANTED", "1")
        assert serve(*source, ready=False).wait() == 70

    def deaths(server: Server) -> dict[str, float]:
        counted = values(page(server))["sidecar_task_deaths_total"]
        assert counted["pipeline",] == 0
        return {task: count for (task,), count in counted.items() if count}

    second = serve(*source)
    assert deaths(second) == {"loop lag": 1}
    second.kill()
    third = serve(*source)
    assert deaths(third) == {"loop lag": 1, "process": 1}
    assert third.stop() == 0
    assert deaths(serve(*source)) == {"loop lag": 1, "process": 1}
    (kept / "deaths.json").write_text("{")
    assert deaths(serve(*source)) == {}


def until_async(holds: Callable[[], object]) -> Any:
    async def wait() -> None:
        with anyio.fail_after(20):
            while not holds():
                await anyio.sleep(0.01)

    return wait()


@pytest.mark.anyio
async def test_what_goes_wrong_is_counted(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        node.snapshot()
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            parts = sidecar.app.parts
            market = sidecar.state.by_symbol["TOYOTA"]
            list(market.book.queue(0))[-1].sz += 1
            steps_to_check(node, market.id)
            found = [(["book"], 1), (["account"], 0), (["everything"], 0)]
            await until_async(lambda: parts.samples()["mismatches_total"] == found)
            await until_async(lambda: parts.samples()["resyncs_total"] == found)
            await client.subscribe(20, type="trades", coin="TOYOTA")
            await until_async(lambda: parts.counts.resumptions)
            node.writer.close()
            (newest, *_) = sorted(node.ipc.log.iterdir(), reverse=True)
            with newest.open("ab") as file:
                file.write(b"\xff" * 64)  # no record
            await until_async(lambda: parts.counts.gaps)
            states = {name: on for (name,), on in parts.samples()["feed_state"]}
            assert states["gap"] == 1


@pytest.mark.anyio
async def test_every_message_that_a_client_reads_is_counted_once(tmp_path: Path) -> None:
    """Snapshots, what a block says, and what is read on after coming back."""
    topics: list[dict[str, Any]] = [{"type": "l4Book", "coin": "TOYOTA"}, {"type": "status"}]
    topics += [{"type": "trades", "coin": "TOYOTA"}, {"type": "blocks"}]
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            for topic in topics:
                await client.subscribe(**topic)
            await sidecar.reaches(node.step(20))
            async with client_of(sidecar) as back:
                await back.subscribe(30, **topics[0])  # out of the log
                await back.subscribe(60, **topics[2])  # out of what was sent of late
                node.step(20)
                read = await client.quiet() + await back.quiet()
                parts = sidecar.app.parts
                counted: dict[str, Any] = {
                    one: count for (one,), count in parts.samples()["frames_total"]
                }
    assert counted == Counter(message["channel"] for message in read)
    assert counted["l4Book"] > 40


def test_merging() -> None:
    one: Samples = {
        "blocks_total": [([], 3.0)],
        "height": [([], 7.0)],
        "gc_pause_seconds": [([], [1.0, 2.0])],
    }
    other: Samples = {
        "blocks_total": [([], 4.0)],
        "height": [([], 6.0)],
        "gc_pause_seconds": [([], [5.0, 6.0])],
    }
    assert merge([one, other]) == {
        "blocks_total": [([], 7.0)],
        "height": [([], 6.0)],
        "gc_pause_seconds": [([], [6.0, 8.0])],
    }
    assert all(metric.over for metric in BY_NAME.values())


def test_what_the_kernel_says_is_what_prometheus_client_finds() -> None:
    theirs = {
        sample.name: sample.value
        for family in ProcessCollector(registry=None).collect()
        for sample in family.samples
    }
    ours = usage()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=0.1, abs=1.1), name
