"""Where a sidecar is to run: its settings, the machine, and what several checks look at."""

import http.client
import json
from contextlib import closing
from functools import cached_property
from pathlib import Path

from sidecar.checkpoints import find_directory
from sidecar.doctor.machine import Machine
from sidecar.doctor.motion import Sighting, watch_hyperliquid, watch_native
from sidecar.errors import NodeError
from sidecar.limits import DOCTOR_ANSWER_S
from sidecar.node.ipc import IpcDirectory
from sidecar.node.snapshot import SNAPSHOTS
from sidecar.settings import Settings

_UNIX = "unix:"


class Site:
    """Made for one examination: what was looked at once is kept."""

    def __init__(
        self,
        settings: Settings,
        machine: Machine,
        config: Path | None = None,
    ) -> None:
        self.settings = settings
        self.machine = machine
        self.config = config

    @property
    def is_native(self) -> bool:
        """Which kind of node is configured."""
        return self.settings.source.kind == "native"

    @property
    def source(self) -> Path:
        """The node's directory."""
        return Path(self.settings.source.path)

    @property
    def ipc(self) -> IpcDirectory:
        """The same of a native node."""
        return IpcDirectory(self.source)

    @property
    def checkpoints(self) -> Path | None:
        """Where this sidecar's own checkpoints are to be."""
        given = self.settings.checkpoint.directory
        return Path(given) if given and self.is_native else None

    @cached_property
    def source_is_there(self) -> bool:
        """Whether the node's directory can be looked into."""
        try:
            return next(self.source.iterdir(), None) is not None
        except OSError:
            return False

    @cached_property
    def sightings(self) -> dict[str, list[Sighting]]:
        """New blocks that were seen while it was watched, by stream; a native log is one."""
        if not self.source_is_there:
            return {}
        try:
            if not self.is_native:
                return watch_hyperliquid(self.source)
            return {"log": watch_native(self.ipc, self.ipc.read_chain().chain)}
        except NodeError:
            return {}

    @cached_property
    def state_bytes(self) -> int:
        """The size of the newest file that holds a whole state; 0 where there is none."""
        sizes = [0]
        source = self.settings.source
        try:
            if self.is_native:
                own = find_directory(self.settings.checkpoint)
                files = SNAPSHOTS.list(self.ipc.snapshots)[:1] + (own.list()[:1] if own else [])
                sizes += [path.stat().st_size for path in files]
            elif source.snapshot is not None:
                sizes.append(Path(source.snapshot).stat().st_size)
        except (OSError, NodeError):
            pass
        return max(sizes)

    @cached_property
    def is_served(self) -> bool:
        """Whether a sidecar answers where this one would answer its operators."""
        operator = self.settings.operator
        if operator.host.startswith(_UNIX) or not operator.port:
            return False
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(operator.host, operator.host)  # noqa: S104
        connection = http.client.HTTPConnection(host, operator.port, timeout=DOCTOR_ANSWER_S)
        with closing(connection):
            try:
                connection.request("GET", "/healthz")
                answer = json.loads(connection.getresponse().read(1 << 10))
            except (OSError, http.client.HTTPException, ValueError):
                return False
        return bool(answer == {"alive": True})
