"""What the state weighs and what applying a block costs, part by part.

    python benchmarks/state.py

Bytes are of live objects (tracemalloc) for each thing beyond the first thousand; times are of one
core, as ratios to decoding the same blocks with msgspec, in the same run.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    Fill,
    LedgerChanged,
    Leg,
    MarketListed,
    OrderStatus,
    Transition,
)
from sidecar.state.chain import ChainState

PX = 10**8
COUNT = 50_000
BLOCKS = 120
LISTED = tuple(MarketListed(market, f"M{market}", 2, 20) for market in (1, 2))


def address(number: int) -> bytes:
    return number.to_bytes(20, "big")


def resting(number: int) -> list[Transition]:
    """An order with its status, one of 20 of its user's."""
    user, px = address(number // 20), (100_000 + number % 5_000) * PX
    status = OrderStatus(
        number, user, 1, ASK, px, PX, PX, "Gtc", False, None, None, "open", number, number
    )
    return [status, BookAdded(1, number, user, ASK, px, PX)]


def account(number: int) -> list[Transition]:
    """A user with money and two positions."""
    user = address(number)
    found: list[Transition] = [LedgerChanged(user, "deposit", 10**12)]
    for market in (1, 2):
        leg = Leg(user, 1, None, 0, 0, 0)
        found.append(Fill(number, market, 100 * PX, PX, BID, bytes(32), leg, None))
    return found


def weigh(make: Callable[[int], list[Transition]]) -> float:
    """Bytes for each, as read from a log."""
    state = ChainState()
    state.apply(Block(1, 1, 0, list(LISTED)))
    blocks = [
        encode_block(
            Block(height, height, 0, [t for n in range(first, first + 100) for t in make(n)])
        )
        for height, first in enumerate(range(1, COUNT, 100), start=2)
    ]
    before = 0
    for number, encoded in enumerate(blocks):
        if number == 10:
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
        state.apply(decode_block(encoded))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown / (COUNT - 1_000)


def best_of(run: Callable[[], None], times: int = 5) -> float:
    found = []
    for _ in range(times):
        gc.collect()
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    print(f"a resting order, its status and indexes   {weigh(resting):7.0f} bytes")
    print(f"an account with two positions, two fills  {weigh(account):7.0f} bytes")
    chain = Chain(DevnetConfig(path="unused", burst=True, funding_ms=2_000))
    encoded = [encode_block(chain.step()) for _ in range(BLOCKS)]
    blocks = [decode_block(one) for one in encoded]
    count = sum(len(block.transitions) for block in blocks)

    def decode() -> None:
        for one in encoded:
            decode_block(one)

    def apply() -> None:
        state = ChainState()
        for block in blocks:
            state.apply(block)

    decoding, applying = best_of(decode), best_of(apply)
    print(f"applying a transition                     {applying / count * 1e6:7.2f} us")
    print(f"of it, times the decoding                 {applying / decoding:7.2f}")


if __name__ == "__main__":
    main()
