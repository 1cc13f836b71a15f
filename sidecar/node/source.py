"""Opens the configured node: where a state can start, and readers that go on from there.

A node that has not started yet is waited for, with a log line.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from sidecar.errors import SourceMissing
from sidecar.limits import SOURCE_RETRY_S
from sidecar.node.hyperliquid.origin import open_hyperliquid
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.native import NativeOrigin
from sidecar.node.row_files import RowDirectory
from sidecar.node.starts import Origin
from sidecar.settings import SourceSettings
from sidecar.telemetry.logs import get_log

_log = get_log("node")


async def open_source(settings: SourceSettings, own: RowDirectory[Any] | None = None) -> Origin:
    """Waits until the node has written what is needed, then opens it. `own` is where the sidecar's
    own checkpoints are. Raises `NodeError`, `ConfigInvalid`.
    """
    if settings.kind == "hyperliquid":
        return await open_hyperliquid(settings)
    ipc = IpcDirectory(Path(settings.path))
    return NativeOrigin(ipc, await _wait(ipc.read_chain), own)


async def _wait(read: Callable[[], ChainInfo]) -> ChainInfo:
    told = False
    while True:
        try:
            return read()
        except SourceMissing as missing:
            if not told:
                _log.warning("waiting for the node", reason=str(missing))
                told = True
            await anyio.sleep(SOURCE_RETRY_S)
