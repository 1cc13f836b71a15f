"""A chain that is recorded once, and played again as often as tests like: its blocks, as both kinds
of node write them, and its snapshots at every mark.
"""

from collections import Counter
from functools import cached_property
from pathlib import Path

import msgspec

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.hyperliquid.files import HyperliquidFiles
from sidecar.devnet.hyperliquid.snapshot import l4_snapshot
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.node.block_records import encode_block
from sidecar.node.hyperliquid.reader import STREAMS
from sidecar.node.records import frame
from sidecar.node.snapshot import Row, SnapshotHeader
from sidecar.node.transitions import Block, Fill

COINS = ("TOYOTA", "SONY", "NTT")
MARK = 25  # blocks from one mark to the next
START = 50  # blocks that are there when a sidecar starts
BLOCKS = 1_300
BLOCK_MS = 100


class Recording:
    """The blocks 1 to BLOCKS of a chain of three markets."""

    def __init__(self, scratch: Path) -> None:
        """`scratch` is for files that are read back at once."""
        config = DevnetConfig(
            scratch, seed=8, block_ms=BLOCK_MS, actions_per_block=3, makers=3, takers=8,
            gamblers=4, markets=COINS, funding_ms=2_000,
        )  # fmt: skip
        chain = Chain(config)
        self.name = config.chain
        self.genesis_ns = chain.time_ns
        self.blocks: list[Block] = []  # that of height h at h - 1
        self._marks: dict[int, tuple[SnapshotHeader, list[Row]]] = {}
        clock = chain.time_ns
        with HyperliquidFiles(scratch, (), (), local_time_ns=lambda: clock) as files:
            for _ in range(BLOCKS):
                block = msgspec.structs.replace(chain.step(), written_ns=0)
                self.blocks.append(block)
                files.write(block)
                if chain.height % MARK == 0:
                    self._marks[chain.height] = snapshot_header(chain), list(snapshot_rows(chain))
        self._lines = {stream: _lines_of(scratch / stream) for stream in STREAMS}

    def record(self, height: int) -> bytes:
        """A block of the native log."""
        return frame(encode_block(self.blocks[height - 1]))

    def line(self, stream: str, height: int) -> bytes:
        """A block in one of Hyperliquid's files, with its newline."""
        return self._lines[stream][height - 1]

    def rows(self, height: int) -> tuple[SnapshotHeader, list[Row]]:
        """The node's snapshot at a mark."""
        return self._marks[height]

    def l4(self, height: int) -> bytes:
        """Likewise as a Hyperliquid node writes it."""
        header, rows = self._marks[height]
        return l4_snapshot(header, rows, users=True, triggers=True, height=True)

    @cached_property
    def users(self) -> list[str]:
        """Those who trade the most, by address."""
        traded = Counter(
            leg.user
            for block in self.blocks
            for one in block.transitions
            if isinstance(one, Fill)
            for leg in (one.buyer, one.seller)
            if leg is not None
        )
        return ["0x" + user.hex() for user, _ in traded.most_common(3)]


def _lines_of(stream: Path) -> list[bytes]:
    (path,) = stream.glob("hourly/*/*")
    return path.read_bytes().splitlines(keepends=True)
