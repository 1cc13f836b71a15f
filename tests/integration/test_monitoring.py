"""The monitoring kit as Prometheus' own tools judge it, and a real Prometheus at a real sidecar."""

import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from test_metrics import page

from processes import Serve, Server, Start
from sidecar.telemetry.metrics import HISTOGRAM, METRICS
from test_workers import until

KIT = Path(__file__).resolve().parents[2] / "systemd" / "monitoring"
OPERATIONS = KIT.parents[1] / "docs" / "operations.md"
DASHBOARD: dict[str, Any] = json.loads((KIT / "dashboard.json").read_text())
ALERTS = re.findall(r"- alert: (\w+)\n +expr: (.*)", (KIT / "alerts.yml").read_text())
OF_PROMETHEUS = {"up": {"job", "instance"}}
EVERYWHERE = {"job", "instance", "le"}
SELECTOR = re.compile(r"\b((?:sidecar|process)_\w+|up)\b(?:\{([^}]*)\})?")

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="prometheus is not installed",
)


def promtool(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        ("promtool", *arguments),
        input=given,
        cwd=KIT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Of all alerts and panels, without Grafana's variables."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    plain = [one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in shown]
    return plain + [expression for _, expression in ALERTS]


def names() -> dict[str, set[str]]:
    """The series there are, with their labels."""
    there = dict(OF_PROMETHEUS)
    for metric in METRICS:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind is HISTOGRAM else ("",)
        for suffix in suffixes:
            there[metric.full_name + suffix] = {*metric.labels}
    return there


@needs_prometheus
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
    tests = (KIT / "alerts_test.yml").read_text()
    for name, _ in ALERTS:
        assert f"  - name: {name}\n" in tests
        assert f"{{alertname: {name}, eval_time: 25m, exp_alerts: []}}" in tests  # a healthy one


@needs_prometheus
def test_prometheus_takes_rules_and_settings(tmp_path: Path) -> None:
    promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    line = "    - {{record: 'a:{}', expr: {}}}"
    rules = [line.format(at, json.dumps(one)) for at, one in enumerate(expressions())]
    (tmp_path / "all.yml").write_text("groups:\n- name: all\n  rules:\n" + "\n".join(rules))
    promtool("check", "rules", str(tmp_path / "all.yml"))


def test_what_is_asked_for_exists() -> None:
    there = names()
    for expression in expressions():
        found = SELECTOR.findall(expression)
        assert found, expression
        for name, matchers in found:
            assert name in there, f"{name} in {expression}"
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert labels <= there[name] | EVERYWHERE, expression


def test_what_a_legend_shows_is_there() -> None:
    there = names()
    for target in (target for panel in panels() for target in panel["targets"]):
        (name, _), *_ = SELECTOR.findall(target["expr"])
        kept = re.search(r"sum by \(([\w, ]+)\)", target["expr"])
        labels = there[name] | EVERYWHERE if kept is None else set(kept[1].split(", "))
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, target


def test_every_metric_of_interest_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    alerted = " ".join(expression for _, expression in ALERTS)
    elsewhere = {
        *("sidecar_block_time_seconds", "sidecar_build_info", "sidecar_topics"),
        *("sidecar_repair_failures_total", "sidecar_checkpoint_height"),
        *("sidecar_connections_opened_total", "sidecar_connections_closed_total"),
        *("sidecar_nonce_refusals_total", "sidecar_signature_refusals_total"),
        *("sidecar_checkpoints_written_total", "process_virtual_memory_bytes"),
    }
    for metric in METRICS:
        assert metric.full_name in elsewhere or metric.full_name in shown + alerted


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)) > 0
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
        assert one["x"] + one["w"] <= 24


def test_each_alert_has_its_section() -> None:
    headings = re.findall(r"^#+ (.*)$", OPERATIONS.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
    links = re.findall(r"runbook_url: docs/operations\.md#(\S+)", (KIT / "alerts.yml").read_text())
    assert len(links) == len(ALERTS)
    assert set(links) <= anchors
    assert {name.lower() for name, _ in ALERTS} == set(links)


class Prometheus:
    """A running one."""

    def __init__(self, directory: Path, target: int) -> None:
        shutil.copy(KIT / "alerts.yml", directory)
        settings = (KIT / "prometheus.yml").read_text()
        settings = settings.replace("127.0.0.1:8011", f"127.0.0.1:{target}").replace("5s", "1s")
        (directory / "prometheus.yml").write_text(settings)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        flags = (
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        with (directory / "out").open("wb") as file:
            self.process = subprocess.Popen(("prometheus", *flags), stdout=file, stderr=file)

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except OSError:
            return None

    def rules(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("rules")["groups"][0]["rules"]
        return found

    def value(self, expression: str) -> float | None:
        found = self.ask("query", query=expression)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None


@pytest.fixture
def server(tmp_path: Path, start: Start, serve: Serve) -> Server:
    """Beside a running chain."""
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    return serve("--source-path", str(ipc))


@pytest.fixture
def prometheus(tmp_path: Path, server: Server) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path, server.operator_port)
    yield running
    running.process.terminate()
    running.process.wait(20)


@needs_prometheus
def test_promtool_finds_nothing_odd_in_the_page(server: Server) -> None:
    assert not promtool("check", "metrics", given=page(server)).strip()


@needs_prometheus
def test_a_real_prometheus_scrapes_a_real_sidecar(server: Server, prometheus: Prometheus) -> None:
    until(lambda: prometheus.value('up{job="sidecar"}') == 1)
    until(lambda: prometheus.value("sidecar_height"))
    first = prometheus.value("sidecar_height")
    assert first is not None
    until(lambda: (prometheus.value("sidecar_height") or 0) > first)
    assert first <= server.info(type="serverInfo")["height"]
    until(lambda: (prometheus.value("rate(sidecar_blocks_total[10s])") or 0) > 10)
    quantile = "histogram_quantile(0.5, rate(sidecar_stage_seconds_bucket{stage='apply'}[10s]))"
    assert 0 < (prometheus.value(quantile) or 0) < 1
    assert {rule["name"] for rule in prometheus.rules()} == {name for name, _ in ALERTS}
    until(
        lambda: all(
            rule["health"] == "ok" for rule in prometheus.ask("rules")["groups"][0]["rules"]
        )
    )
    server.kill()
    until(lambda: prometheus.value('up{job="sidecar"}') == 0)
    until(lambda: "SidecarDown" in json.dumps(prometheus.ask("alerts")))
