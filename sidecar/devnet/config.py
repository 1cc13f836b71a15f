"""What shapes a development chain."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from sidecar.devnet.execution.markets import MARKETS, Market
from sidecar.devnet.execution.prices import Move
from sidecar.errors import ConfigInvalid
from sidecar.limits import SEGMENT_BLOCKS

TRADERS = {"makers": (1, 20), "takers": (1, 200), "gamblers": (0, 10_000)}  # money for so many
ACTIONS_MAX = 100_000  # of a block by flag: its record stays below the bound of one
BURST_ACTIONS = 1_500  # a block of the burst profile: about 3,000 transitions


@dataclass(frozen=True)
class DevnetConfig:
    """The settings of one producer.

    `seed`, `block_ms`, `actions_per_block`, `burst`, `markets`, `makers`, `takers`, `gamblers`,
    `prices_blocks`, `funding_ms` and `moves` make the chain: a chain that exists is only continued
    with the same. The others may change from one start to the next. `blocks`: stop after producing
    so many, None for never.
    """

    path: str | Path
    seed: int = 1
    block_ms: int = 100
    snapshot_blocks: int = 600
    segment_blocks: int = SEGMENT_BLOCKS
    actions_per_block: int = 40
    burst: bool = False
    blocks: int | None = None
    markets: tuple[str, ...] = tuple(market.symbol for market in MARKETS)
    makers: int = 6
    takers: int = 24
    gamblers: int = 16
    prices_blocks: int = 5  # oracle and marks every so many blocks
    funding_ms: int = 3_600_000
    moves: tuple[Move, ...] = ()
    hyperliquid: str | Path | None = None  # where the same blocks go as a Hyperliquid node's files
    info_port: int | None = None  # of the local info server that such a node has

    def __post_init__(self) -> None:
        for key in ("block_ms", "snapshot_blocks", "segment_blocks", "prices_blocks", "funding_ms"):
            self._within(key, 1)
        for key, (least, most) in TRADERS.items():
            self._within(key, least, most)
        self._within("actions_per_block", 0, ACTIONS_MAX)
        if self.info_port is not None:
            self._within("info_port", 0, 65535)
        if self.blocks is not None:
            self._within("blocks", 0)
        known = {market.symbol for market in MARKETS}
        if not self.markets or len(set(self.markets)) < len(self.markets):
            raise ConfigInvalid("devnet.markets: name at least one market, each once")
        if unknown := [symbol for symbol in self.markets if symbol not in known]:
            raise ConfigInvalid(f"devnet.markets: {unknown[0]!r} is none of {sorted(known)}")
        self._check_moves()

    @property
    def actions(self) -> int:
        """Orders and cancels of an average block."""
        return max(self.actions_per_block, BURST_ACTIONS) if self.burst else self.actions_per_block

    @property
    def block_ns(self) -> int:
        return self.block_ms * 1_000_000

    @property
    def funding_ns(self) -> int:
        return self.funding_ms * 1_000_000

    @property
    def listed(self) -> tuple[Market, ...]:
        """The markets of the chain, with the ids that they have in every chain."""
        return tuple(market for market in MARKETS if market.symbol in self.markets)

    @property
    def chain(self) -> str:
        """The chain's name, as logs and snapshots carry it."""
        return f"devnet-{self.seed}"

    def _check_moves(self) -> None:
        for move in self.moves:
            move.check()
            if move.market not in self.markets:
                raise ConfigInvalid(f"devnet.moves: {move.market!r} is none of {self.markets}")
        for one, other in combinations(self.moves, 2):
            if one.overlaps(other):
                raise ConfigInvalid(f"devnet.moves: two of {one.market} at the same time")

    def _within(self, key: str, least: int, most: int | None = None) -> None:
        value = getattr(self, key)
        if value < least or (most is not None and value > most):
            allowed = f"{least} or more" if most is None else f"{least} to {most}"
            raise ConfigInvalid(f"devnet.{key}: {value}; it takes {allowed}")
