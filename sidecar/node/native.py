"""The native log as what states are rebuilt from: its snapshots, then its beginning."""

from collections.abc import Iterator

from sidecar.errors import SnapshotInvalid
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log import LogReader, first_height, list_segments
from sidecar.node.snapshot import SnapshotReader, list_snapshots
from sidecar.node.starts import Start
from sidecar.telemetry.logs import get_log

_log = get_log("node")


class NativeOrigin:
    """An IPC directory of a chain."""

    def __init__(self, ipc: IpcDirectory, info: ChainInfo) -> None:
        self._ipc = ipc
        self._info = info

    def reader(self, after: int) -> LogReader:
        """A reader of the blocks above a height."""
        return LogReader(self._ipc.log, after=after, chain=self._info.chain)

    def starts(self, at_most: int | None = None) -> Iterator[Start]:
        """Snapshots of heights up to `at_most` that are whole, newest first; then height 0 where
        the log has its first block still.
        """
        chain = self._info.chain
        for path in list_snapshots(self._ipc.snapshots):
            if at_most is not None and int(path.stem) > at_most:
                continue
            try:
                snapshot = SnapshotReader(path, chain=chain)
            except SnapshotInvalid as error:
                _log.warning("snapshot not used", reason=str(error))
                continue
            header = snapshot.header
            yield Start(
                chain, header.height, header.time_ns, snapshot.rows(), self.reader(header.height)
            )
        segments = list_segments(self._ipc.log)
        if segments and first_height(segments[0]) == 1:
            yield Start(chain, 0, self._info.genesis_ns, (), self.reader(0), whole=True)
