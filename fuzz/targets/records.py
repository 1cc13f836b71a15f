"""A segment's records: blocks whose heights go up by one, silence, `LogCorrupt` or `LogGap` that
name the place; the same blocks and the same end however the file grew. A block that is read can be
written again, and has a digest.
"""

import random
from pathlib import Path

import msgspec

from cutting import ways
from mutators.records import mutate_records
from scratch import scratch
from sidecar.errors import LogCorrupt, LogGap
from sidecar.node.block_records import block_digest, decode_block, encode_block
from sidecar.node.extent import last_height
from sidecar.node.log import LogReader
from sidecar.node.records import frame
from sidecar.node.segments import FORMAT, SegmentHeader, segment_name
from sidecar.node.transitions import Block

AIMED_AT = ("sidecar.node.segments", "sidecar.node.block_records", "sidecar.node.records")
FIRST = 1
_HEADER = frame(msgspec.msgpack.encode(SegmentHeader(FORMAT, "fuzz", FIRST, 0)))

Outcome = tuple[list[Block], type | None]


def check(data: bytes) -> None:
    """The bytes are what follows a good header."""
    with scratch() as directory:
        path = directory / segment_name(FIRST)
        first, *others = [_read_growing(directory, path, pieces) for pieces in ways(data)]
        for other in others:
            assert content(other[0]) == content(first[0])
            assert other[1] == first[1]
        if first[1] is None:
            assert last_height(path) == FIRST - 1 + len(first[0])
    for block in first[0]:
        block_digest(block)
        if not block.unknown:
            assert encode_block(decode_block(encode_block(block))) == encode_block(block)


def content(blocks: list[Block]) -> list[bytes]:
    """What tells blocks apart: NaN is not equal to itself, nor are two objects of an extension."""
    return [encode_block(block) for block in blocks]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other records."""
    return mutate_records(data, rng)


def _read_growing(directory: Path, path: Path, pieces: list[bytes]) -> Outcome:
    path.write_bytes(_HEADER)
    blocks: list[Block] = []
    with LogReader(directory) as reader, path.open("ab", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            try:
                while (block := reader.next_block()) is not None:
                    assert block.height == reader.height == FIRST + len(blocks)
                    blocks.append(block)
            except (LogCorrupt, LogGap) as error:
                assert error.path == path
                assert error.height == reader.height + 1
                return blocks, type(error)
    return blocks, None
