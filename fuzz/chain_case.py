"""A development chain for targets: its state after some blocks, and the blocks that follow."""

from collections import Counter
from collections.abc import Iterator
from functools import cache

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import TradeRow
from sidecar.node.transitions import Block, Record
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows, restorer
from sidecar.state.history import FillRow
from sidecar.state.orders import StatusRow

HEIGHT = 90
FOLLOWING = 6  # blocks behind it
# Few accounts, and all that may happen to them: a crash with liquidations, funding, agents.
CONFIG = DevnetConfig(
    path="unused",
    seed=7,
    actions_per_block=8,
    markets=("TOYOTA", "SONY"),
    makers=2,
    takers=6,
    gamblers=8,
    funding_ms=3_000,
    moves=(Move("TOYOTA", 25, -30, 15), Move("SONY", 50, 35, 20)),
)
_KEPT = {StatusRow: 60, FillRow: 40, TradeRow: 12}  # the newest ones


@cache
def blocks() -> list[Block]:
    """As a log holds them, from the first one on."""
    chain = Chain(CONFIG)
    return [decode_block(encode_block(chain.step())) for _ in range(HEIGHT + FOLLOWING)]


@cache
def _rows() -> list[Record]:
    whole = ChainState()
    for block in blocks()[:HEIGHT]:
        whole.apply(block)
    return list(_thinned(list(checkpoint_rows(whole))))


def _thinned(rows: list[Record]) -> Iterator[Record]:
    """Without most of the past: a state is made for nearly every input."""
    left = Counter(type(row) for row in rows)
    for row in rows:
        left[type(row)] -= 1
        if left[type(row)] < _KEPT.get(type(row), len(rows)):
            yield row


def new_state(*, strict: bool = True) -> ChainState:
    """The state of `HEIGHT`, made of a checkpoint's rows: the same one each time."""
    state = ChainState(strict=strict)
    last = blocks()[HEIGHT - 1]
    restorer(state, last.height, last.time_ns).rows(_rows())
    state.way.add(last)
    return state
