"""The parts of a running process, as far as there are any yet, and what they say of themselves."""

from typing import Any

from sidecar.checkpoints import Checkpoints
from sidecar.feed import Feed
from sidecar.garbage import Pauses
from sidecar.readiness import in_doubt
from sidecar.recovery.repair import Repairer
from sidecar.samples import (
    collect,
    of_checkpoints,
    of_counts,
    of_deaths,
    of_orders,
    of_pauses,
    of_process,
    of_recovery,
    of_server,
    of_state,
)
from sidecar.server.server import Server
from sidecar.server.services import Services
from sidecar.state.health import LIVE
from sidecar.telemetry.counts import Counts
from sidecar.telemetry.metrics import Samples
from sidecar.vital import VitalTasks


class Parts:
    """Filled in by `App` as it builds them."""

    def __init__(self, pauses: Pauses) -> None:
        self.pauses = pauses
        self.counts = Counts()
        self.vital = VitalTasks()
        self.has_node = False  # until then it is waited for
        self.restored = 0  # rows of a checkpoint or snapshot, at the start
        self.feed: Feed | None = None
        self.repairer: Repairer | None = None
        self.services: Services | None = None  # once there is something to serve
        self.server: Server | None = None
        self.address: str | None = None  # HOST:PORT or unix:PATH, once clients can connect there
        self.checkpoints: Checkpoints | None = None

    def note_restored(self, rows: int) -> None:
        """So many more."""
        self.restored += rows

    @property
    def progress(self) -> int:
        """Of the start, and of the end: while it goes up, the process gets on."""
        height = 0 if self.services is None else self.services.state.height
        written = 0 if self.checkpoints is None else self.checkpoints.rows
        return self.restored + height + written

    def report(self) -> dict[str, Any]:
        """What `/readyz` says."""
        services = self.services
        if services is None:
            rows = f", {self.restored} rows so far" if self.restored else ""
            reads = f"the node's snapshot and log are being read{rows}"
            reason = reads if self.has_node else "the node is waited for, or its first snapshot"
            waits = {"state": "starting", "reason": reason}
            return {"ready": False, "height": 0, "feed": waits}
        state, orders = services.state, services.orders
        assert state.health is not None
        feed = state.health.feed
        told: dict[str, Any] = {
            "ready": feed.state == LIVE,
            "height": state.height,
            "feed": {"state": feed.state, "reason": feed.reason},
            **in_doubt(state, state.health, self.checkpoints),
        }
        if self.address is not None:
            told["address"] = self.address
        if orders is not None:
            node = orders.submitter
            told["ready"] = told["ready"] and node.connected
            reason = "" if node.connected else node.why
            told["submission"] = {"connected": node.connected, "reason": reason}
        return told

    def samples(self) -> Samples:
        """What `/metrics` shows."""
        said = [of_process(), of_counts(self.counts), of_deaths(self.vital)]
        said.append(of_pauses(self.pauses))
        services, server = self.services, self.server
        if services is not None:
            assert services.state.health is not None
            said.append(of_state(services.state, services.state.health))
            if server is not None:
                said.append(of_server(server, services.hub))
            if services.orders is not None:
                said.append(of_orders(services.orders, self.counts))
        if self.repairer is not None and self.feed is not None:
            said.append(of_recovery(self.repairer, self.feed.rebuilds))
        if self.checkpoints is not None:
            said.append(of_checkpoints(self.checkpoints))
        return collect(*said)


def status_line(report: dict[str, Any]) -> str:
    """What `systemctl status` shows of a report."""
    workers = report.get("workers")
    if workers is not None:
        ready = sum(bool(one["ready"]) for one in workers)
        height = max((one["height"] for one in workers), default=0)
        return f"height {height}, {ready} of {len(workers)} workers ready"
    feed = report["feed"]
    reason = f" ({feed['reason']})" if feed["reason"] else ""
    return f"height {report['height']}, {feed['state']}{reason}"
