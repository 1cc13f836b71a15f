"""Where a state can start beside a Hyperliquid node: its snapshots, the newest first."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sidecar.node.hyperliquid.diff_reader import DiffReader
from sidecar.node.hyperliquid.reader import STREAMS, HyperliquidReader
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot
from sidecar.node.hyperliquid.snapshot_files import SnapshotFiles
from sidecar.node.hyperliquid.start import open_first_snapshot, open_snapshot_files
from sidecar.node.starts import Start
from sidecar.node.transitions import Block
from sidecar.settings import SourceSettings
from sidecar.telemetry.logs import get_log

_log = get_log("node")
_CHAIN = "Hyperliquid"


async def open_hyperliquid(settings: SourceSettings) -> "HyperliquidOrigin":
    """Waits for the first snapshot. Raises `NodeError`, `ConfigInvalid`."""
    snapshot = await open_first_snapshot(settings)
    data = Path(settings.path)
    if missing := [name for name in STREAMS if not (data / name).is_dir()]:
        _log.warning("waiting for the node", path=str(data), missing=", ".join(missing))
    return HyperliquidOrigin(data, snapshot, open_snapshot_files(settings))


class HyperliquidOrigin:
    """A node's data directory, its newest two snapshots, and how to get another."""

    def __init__(
        self, data: Path, snapshot: HyperliquidSnapshot, files: SnapshotFiles | None = None
    ) -> None:
        self.files = files
        self._data = data
        self._snapshots = [snapshot]
        self._markets = dict(snapshot.markets)

    def know(self, markets: Mapping[str, int]) -> None:
        """The ids that symbols have in the state: readers and snapshots go on with them."""
        self._markets = dict(markets)

    def reader(self, after: int) -> HyperliquidReader:
        """A reader of the blocks above a height."""
        return HyperliquidReader(self._data, after=after, markets=self._markets)

    def reader_behind(self, way: Sequence[Block]) -> HyperliquidReader:
        """Likewise behind the last of some blocks; the network agrees on one of each height."""
        return self.reader(way[-1].height)

    def diffs(self, snapshot: HyperliquidSnapshot) -> DiffReader:
        """A reader of book steps alone, from a snapshot on."""
        return DiffReader(self._data, after=snapshot.height, markets=snapshot.markets)

    def starts(self, at_most: int | None = None) -> Iterator[Start]:
        """The snapshots of heights up to `at_most`."""
        for snapshot in self._snapshots:
            height = snapshot.height
            if at_most is None or height <= at_most:
                reader = HyperliquidReader(self._data, after=height, markets=snapshot.markets)
                yield Start(_CHAIN, height, 0, snapshot.rows(), reader)

    async def refresh(self) -> bool:
        """Has the node write a snapshot; False without an info server. Raises `NodeError`."""
        if self.files is None:
            return False
        await self.take()
        return True

    async def take(self) -> HyperliquidSnapshot:
        """A new snapshot, the first of `starts` from now on. Raises `NodeError`."""
        assert self.files is not None
        snapshot = await self.files.open(self._markets)
        self._snapshots = [snapshot, self._snapshots[0]]
        return snapshot
