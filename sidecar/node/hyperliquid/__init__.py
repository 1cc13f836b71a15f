"""A Hyperliquid node's files as a source: the same blocks and rows as the native log's.

<data>/node_order_statuses_by_block/hourly/20260505/17 ─▶ Stream ─┐
<data>/node_raw_book_diffs_by_block/hourly/20260505/17 ─▶ Stream ─┼─▶ HyperliquidReader ─▶ Block
<data>/node_fills_by_block/hourly/20260505/17          ─▶ Stream ─┘
an L4 snapshot, .json or .json.gz                      ─▶ HyperliquidSnapshot ─▶ rows
"""

from sidecar.node.hyperliquid.reader import STREAMS, HyperliquidReader
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot

__all__ = ["STREAMS", "HyperliquidReader", "HyperliquidSnapshot"]
