"""Seeds of a node's native output: records, segments, blocks, snapshots and checkpoints."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

import chain_case
import filesets
from filesets import File
from scratch import scratch
from sidecar.checkpoints import CHECKPOINTS
from sidecar.checkpoints import FORMAT as CHECKPOINT_FORMAT
from sidecar.devnet.chain import Chain
from sidecar.devnet.rows import snapshot_rows
from sidecar.node.block_records import encode_block
from sidecar.node.log_writer import LogWriter
from sidecar.node.records import frame
from sidecar.node.row_files import RowFileHeader
from sidecar.node.snapshot import FORMAT as SNAPSHOT_FORMAT
from sidecar.node.snapshot import SNAPSHOTS, NodeRow
from sidecar.node.transitions import Block, MarketListed
from sidecar.state.checkpoint import checkpoint_rows

T = TypeVar("T")

_CHAIN = "devnet-1"
_FEW = 3  # transitions of a kind in a block
_ROWS_OF_A_KIND = 4


def records() -> Iterator[bytes]:
    """Blocks that follow a header, with a few transitions of each kind."""
    blocks = _short_blocks()
    yield b"".join(frame(encode_block(block)) for block in blocks[:4])
    yield b"".join(frame(encode_block(block)) for block in blocks[:2])[:-5]
    yield frame(encode_block(blocks[0])) + frame(encode_block(blocks[2]))
    unknown = msgspec.msgpack.encode([1, 7, 7, [[99, "new"], [1, 9, "X"]]])
    yield frame(unknown)


def segments() -> Iterator[bytes]:
    """Logs with rotations, a torn end, a gap, a damaged header, a segment that is retired."""
    with scratch() as directory:
        with LogWriter(directory, _CHAIN, segment_blocks=2) as writer:
            for block in _short_blocks(listed=True)[:5]:
                writer.append(block)
        files = [File(path.name, path.read_bytes()) for path in sorted(directory.iterdir())]
    yield filesets.encode(files)
    yield filesets.encode([*files[:-1], File(files[-1].name, files[-1].content[:-3])])
    yield filesets.encode([files[0], *files[2:]])
    yield filesets.encode(files[1:])
    yield filesets.encode([files[0], File(files[1].name, files[0].content)])


def blocks() -> Iterator[bytes]:
    """The chain's next blocks, and others with a few transitions of each kind."""
    following = chain_case.blocks()[chain_case.HEIGHT :]
    yield b"".join(frame(encode_block(block)) for block in following[:2])
    lively = sorted(chain_case.blocks(), key=_kinds, reverse=True)[:6]
    for block in lively:
        yield frame(encode_block(_short(block)))


def row_files() -> Iterator[bytes]:
    """A snapshot and a checkpoint, with a few rows of each kind."""
    chain, state = Chain(chain_case.CONFIG), chain_case.new_state()
    for _ in range(chain_case.HEIGHT):
        chain.step()
    taken = [row for row in snapshot_rows(chain) if not isinstance(row, NodeRow)]
    header = RowFileHeader(SNAPSHOT_FORMAT, _CHAIN, state.height, state.time_ns)
    with scratch() as directory:
        path = SNAPSHOTS.write(directory, header, _few(taken, _ROWS_OF_A_KIND))
        yield path.read_bytes()
        header = RowFileHeader(CHECKPOINT_FORMAT, _CHAIN, state.height, state.time_ns, 7)
        few = _few(checkpoint_rows(state), _ROWS_OF_A_KIND)
        yield CHECKPOINTS.write(directory, header, few).read_bytes()


def _short_blocks(*, listed: bool = False) -> list[Block]:
    """Blocks from height 1 on; `listed`: the markets, too, so that a state takes them."""
    chosen = sorted(chain_case.blocks(), key=_kinds, reverse=True)[:6]
    shortened = [_short(block) for block in chosen]
    markets = [one for one in chain_case.blocks()[0].transitions if isinstance(one, MarketListed)]
    return [
        Block(height, block.time_ns, block.written_ns, [*markets * listed, *block.transitions])
        for height, block in enumerate(shortened, 1)
    ]


def _short(block: Block) -> Block:
    return msgspec.structs.replace(block, transitions=_few(block.transitions, _FEW))


def _few(items: Iterable[T], at_most: int) -> list[T]:
    """The first ones of each kind, in their order."""
    seen: dict[type, int] = {}
    taken = []
    for item in items:
        kind = type(item)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= at_most:
            taken.append(item)
    return taken


def _kinds(block: Block) -> int:
    return len({type(one) for one in block.transitions})


SEEDS = {"records": records, "segments": segments, "blocks": blocks, "row_files": row_files}
