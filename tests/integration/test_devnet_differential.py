"""One run of the development chain, read in two languages: the native log and a Hyperliquid node's
files. What a sidecar's state holds is the same at every height, whichever it reads.

    make test         2,000 blocks of the lively default, 100 of the burst profile
    make test-long    2,000 blocks of the burst profile (4 GB of files, a few minutes)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.devnet.hyperliquid.files import HyperliquidFiles
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.hyperliquid import HyperliquidReader
from sidecar.node.transitions import ASK, BID, BookCheck, Fill
from sidecar.state.chain import ChainState

MOVES = (Move("TOYOTA", 400, -30, 20), Move("SONY", 900, 40, 10), Move("NTT", 1_300, -50, 3))
LIVELY = DevnetConfig("unused", seed=7, funding_ms=20_000, prices_blocks=2, moves=MOVES)
BURST = DevnetConfig("unused", seed=8, burst=True, prices_blocks=1)


def books(state: ChainState) -> dict[str, Any]:
    """Every market's queues."""
    return {
        market.symbol: [
            [(order.oid, order.user, order.px, order.sz) for order in market.book.queue(side)]
            for side in (BID, ASK)
        ]
        for market in state.markets.values()
        if market.book.orders
    }


def trades(state: ChainState, found: list[Fill]) -> Iterator[Any]:
    """A block's trades, with what the two languages have in common."""
    for fill in found:
        legs = [
            (leg.user, leg.oid, leg.cloid, leg.start_position, leg.closed_pnl, leg.fee)
            for leg in (fill.buyer, fill.seller)
            if leg is not None
        ]
        symbol = state.markets[fill.market].symbol
        yield symbol, fill.tid, fill.px, fill.sz, fill.taker_side, fill.hash, legs


def check_both_ways(config: DevnetConfig, blocks: int, directory: Path) -> None:
    """Runs the chain, and compares what two states made of it after each block. `apply` compares
    the log's own checks of books, the order of their queues included, and raises if one differs.
    """
    chain, native, theirs = Chain(config), ChainState(), ChainState()
    compared, checks = 0, 0
    with (
        HyperliquidFiles(directory, [], []) as files,
        HyperliquidReader(directory, after=0, markets={}) as reader,
    ):
        for _ in range(blocks):
            block = decode_block(encode_block(chain.step()))
            files.write(block)
            read = reader.next_block()
            assert read is not None
            native.apply(block)
            theirs.apply(read)
            fills = [one for one in block.transitions if isinstance(one, Fill)]
            again = [one for one in read.transitions if isinstance(one, Fill)]
            by_oid = sorted(trades(native, fills)), sorted(trades(theirs, again))
            assert by_oid[0] == by_oid[1]
            assert books(native) == books(theirs)
            compared += len(fills)
            checks += sum(isinstance(one, BookCheck) for one in block.transitions)
    assert compared > blocks
    assert checks > 0.49 * blocks  # five markets, every ten blocks


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("config", "blocks"), [(LIVELY, 2_000), (BURST, 100)])
def test_both_languages_tell_the_same(config: DevnetConfig, blocks: int, tmp_path: Path) -> None:
    check_both_ways(config, blocks, tmp_path)
