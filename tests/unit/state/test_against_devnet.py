"""State fed by the development chain, which shares no code with it: each checks the other."""

import struct
from typing import Any

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.rows import snapshot_rows
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import Row
from sidecar.node.transitions import ASK, BID, Block, BookCheck
from sidecar.state.book import Book
from sidecar.state.chain import ChainState

BLOCKS = 60


def run_chain(seed: int, actions: int, blocks: int) -> tuple[list[Block], list[list[Row]]]:
    """A chain's blocks as read from its log, and its snapshot after every block."""
    chain = Chain(DevnetConfig(path="unused", seed=seed, actions_per_block=actions))
    made, snapshots = [], []
    for _ in range(blocks):
        made.append(decode_block(encode_block(chain.step())))
        snapshots.append(list(snapshot_rows(chain)))
    return made, snapshots


def view(state: ChainState) -> dict[str, Any]:
    """Everything that the state holds."""
    return {
        market.symbol: (
            market.listing,
            [list(market.book.queue(side)) for side in (BID, ASK)],
            list(market.trades),
            (market.oracle_px, market.mark_px, market.trades_height, market.orders_height),
        )
        for market in state.markets.values()
    } | {"height": state.height, "time_ns": state.time_ns}


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), actions=st.integers(5, 120))
def test_snapshot_at_any_height_plus_the_rest_is_the_state_from_the_start(
    seed: int, actions: int
) -> None:
    blocks, snapshots = run_chain(seed, actions, BLOCKS)
    whole = ChainState()
    for block in blocks:
        whole.apply(block)
    for index in range(0, BLOCKS, 7):
        state = ChainState()
        state.restore(blocks[index].height, blocks[index].time_ns, snapshots[index])
        for block in blocks[index + 1 :]:
            state.apply(block)
        assert view(state) == view(whole)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), actions=st.integers(5, 200))
def test_books_are_sound_and_never_crossed_after_a_block(seed: int, actions: int) -> None:
    state = ChainState()
    for block in run_chain(seed, actions, BLOCKS)[0]:
        for changed in state.apply(block).markets.values():
            book = changed.market.book
            book.check_invariants()
            bid, ask = book.best(BID), book.best(ASK)
            assert bid is None or ask is None or bid[0] < ask[0]


@pytest.mark.parametrize("seed", range(3))
def test_state_agrees_with_every_check_of_the_chain(seed: int) -> None:
    state, checks = ChainState(), 0
    for block in run_chain(seed, 100, 200)[0]:
        state.apply(block)
        for check in block.transitions:
            if isinstance(check, BookCheck):
                assert check_of(check.market, state.markets[check.market].book) == check
                checks += 1
    assert checks >= 90


def check_of(market: int, book: Book) -> BookCheck:
    """What docs/node-log.md says a check is, worked out from the sidecar's book."""
    bids, asks = (list(book.queue(side)) for side in (BID, ASK))
    return BookCheck(
        market,
        *(book.best(BID) or (0, 0, 0)),
        *(book.best(ASK) or (0, 0, 0)),
        len(bids) + len(asks),
        sum(order.sz for order in bids),
        sum(order.sz for order in asks),
        half_hash(bids) << 32 | half_hash(asks),
    )


def half_hash(orders: list[Any]) -> int:
    data = b"".join(struct.pack("<QQQ", order.oid, order.px, order.sz) for order in orders)
    return int(google_crc32c.value(data))


def test_the_highest_rate_is_applied_too() -> None:
    chain, state = Chain(DevnetConfig(path="unused", burst=True)), ChainState()
    transitions = 0
    for _ in range(12):
        block = chain.step()
        state.apply(block)
        transitions += len(block.transitions)
    assert transitions > 10_000
