"""Whatever a node's blocks say: the state takes it, or notes what is wrong; all that readers are
sent, and all that they ask for, can be encoded; `prev` goes on; the state can be kept and restored.
"""

import random

import msgspec

import chain_case
from mutators.records import mutate_records, split
from serving import new_reader
from sidecar.node.block_records import UNDECODABLE, decode_block
from sidecar.node.transitions import Block

AIMED_AT = (
    "sidecar.state.chain",
    "sidecar.state.accounts",
    "sidecar.state.book",
    "sidecar.state.orders",
    "sidecar.state.history",
    "sidecar.state.candles",
    "sidecar.state.checks",
    "sidecar.state.checkpoint",
)
_BLOCKS_MAX = 6


def check(data: bytes) -> None:
    """The records are blocks that follow the chain's."""
    reader = new_reader(_blocks(data))
    reader.follow()
    reader.check()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other blocks."""
    return mutate_records(data, rng)


def _blocks(data: bytes) -> list[Block]:
    found: list[Block] = []
    for payload in split(data)[0][:_BLOCKS_MAX]:
        try:
            block = decode_block(payload)
        except UNDECODABLE:
            continue
        height = chain_case.HEIGHT + 1 + len(found)
        found.append(msgspec.structs.replace(block, height=height))
    return found
