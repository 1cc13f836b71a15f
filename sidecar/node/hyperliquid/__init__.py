"""A Hyperliquid node's files as a source: the same blocks and rows as the native log's.

<data>/node_order_statuses_by_block/hourly/20260505/17 ─▶ Stream ─┐
<data>/node_raw_book_diffs_by_block/hourly/20260505/17 ─▶ Stream ─┼─▶ HyperliquidReader ─▶ Block
<data>/node_fills_by_block/hourly/20260505/17          ─▶ Stream ─┘
the diffs alone                                        ─▶ DiffReader ─▶ steps of books
an L4 snapshot, .json or .json.gz                      ─▶ HyperliquidSnapshot ─▶ rows
its info server, :3001/info ◀─ InfoClient ◀─ SnapshotFiles: has it write one
"""

from sidecar.node.hyperliquid.diff_reader import DiffReader
from sidecar.node.hyperliquid.info_client import InfoAnswer, InfoClient
from sidecar.node.hyperliquid.reader import STREAMS, HyperliquidReader
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot
from sidecar.node.hyperliquid.snapshot_files import SnapshotFiles
from sidecar.node.hyperliquid.start import (
    open_first_snapshot,
    open_info_client,
    open_snapshot_files,
)

__all__ = [
    "STREAMS",
    "DiffReader",
    "HyperliquidReader",
    "HyperliquidSnapshot",
    "InfoAnswer",
    "InfoClient",
    "SnapshotFiles",
    "open_first_snapshot",
    "open_info_client",
    "open_snapshot_files",
]
