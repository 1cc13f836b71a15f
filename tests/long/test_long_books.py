"""10,000 blocks of the lively default: the log's checks of books find nothing."""

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import BookCheck
from sidecar.state.chain import ChainState
from test_devnet_differential import MOVES


def test_state_agrees_with_every_book_check_over_10_000_blocks() -> None:
    """`apply` compares each check with its own book, the order of the queues included."""
    chain, state, checks = Chain(DevnetConfig("unused", seed=11, moves=MOVES)), ChainState(), 0
    for _ in range(10_000):
        block = decode_block(encode_block(chain.step()))
        state.apply(block)  # strict: any mismatch raises
        checks += sum(isinstance(one, BookCheck) for one in block.transitions)
    assert checks > 4_900  # five markets, every ten blocks
