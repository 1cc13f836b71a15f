"""Where a state beside a Hyperliquid node starts: a snapshot file, or one that the node writes now.

The settings decide: `source.snapshot` names a file; else `source.info_url` the node's info server.
"""

from pathlib import Path

from sidecar.errors import ConfigInvalid
from sidecar.node.hyperliquid.info_client import InfoClient
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot
from sidecar.node.hyperliquid.snapshot_files import SnapshotFiles
from sidecar.settings import SourceSettings


def open_info_client(settings: SourceSettings) -> InfoClient | None:
    """The node's info server, where one is configured. Raises `ConfigInvalid`."""
    if settings.kind != "hyperliquid" or settings.info_url is None:
        return None
    return InfoClient(settings.info_url)


def open_snapshot_files(settings: SourceSettings) -> SnapshotFiles | None:
    """How to get snapshots, where there is an info server. Raises `ConfigInvalid`."""
    client = open_info_client(settings)
    if client is None:
        return None
    directory = settings.snapshot_directory
    return SnapshotFiles(client, None if directory is None else Path(directory))


async def open_first_snapshot(settings: SourceSettings) -> HyperliquidSnapshot:
    """The snapshot to start from. Waits for a node that has not started yet. Raises `NodeError`,
    `ConfigInvalid`.
    """
    if settings.snapshot is not None:
        path, height = Path(settings.snapshot), settings.snapshot_height
        return await HyperliquidSnapshot.open(path, height=height)
    files = open_snapshot_files(settings)
    if files is None:
        raise ConfigInvalid(
            "source.snapshot: a Hyperliquid node's files hold changes only; name an L4 snapshot "
            "file (fileSnapshot of the node's info server, or compute-l4-snapshots), or with "
            "source.info_url the info server, to have the node write one"
        )
    return await HyperliquidSnapshot.open(await files.request_first())
