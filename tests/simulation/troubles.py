"""What happens to a node, each trouble by its name, and what leads on from it, at once or later.

Pauses, torn records, death in the middle of one, holes, corrupt and doubled records, being set back
to the same blocks or to others, snapshots of every wrong kind.
"""

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec

from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.errors import NodeError
from sidecar.node.block_records import encode_block
from sidecar.node.records import frame
from sidecar.node.segments import SegmentReader, first_height, list_segments
from sidecar.node.snapshot import SNAPSHOTS, list_snapshots
from tests.simulation.node import BLOCK_MS, SimulatedNode


async def trouble(node: SimulatedNode, name: str) -> None:
    """Lets it happen."""
    await TROUBLES[name](node)


async def _pause(node: SimulatedNode) -> None:
    await anyio.sleep(node.world.rng.random() * 3)


async def _burst(node: SimulatedNode) -> None:
    for _ in range(node.world.rng.randrange(2, 6)):
        node.log(node.make())


async def _torn(node: SimulatedNode) -> None:
    """A record that is seen in two pieces."""
    node.world.faults.cut = node.world.rng.randrange(1 << 20)
    block = node.make()
    answers, node.unanswered = node.unanswered, []
    node.log(block)
    node.world.faults.cut = None  # a block of next to nothing is not cut
    await anyio.sleep(node.world.rng.random() * 0.5)
    node.world.faults.write_rest()
    node.written[block.height] = node.world.clock.now
    node.world.faults.touched(node.ipc.log)
    node.unanswered = answers
    node.answer(block.height)


async def _die(node: SimulatedNode) -> None:
    """Killed in the middle of a record; it starts again and writes that block again."""
    faults, rng = node.world.faults, node.world.rng
    faults.cut = rng.randrange(1 << 20)
    block = node.make()
    node.unanswered = []  # they die with it
    node.log(block)
    faults.rest = faults.cut = None
    node.submission.drop()
    node.writer.close()
    node.submission.alive = False
    await anyio.sleep(rng.random() * 2)
    node.submission.alive = True
    _mend(node)
    node.open()
    again = msgspec.structs.replace(block, written_ns=node.world.clock.wall_ns())
    if node.writer.height < block.height:
        node.log(again)


async def _hole(node: SimulatedNode) -> None:
    """Blocks that were made, but never logged; a snapshot leads on, not at once."""
    node.close_segment()
    for _ in range(node.world.rng.choice((1, 2, 10))):
        node.make()
        node.answer(node.height)
    node.writer.height = node.height
    await _lead_on(node)


async def _corrupt(node: SimulatedNode) -> None:
    """A bit of a record is wrong, and stays so, or is mended."""
    rng = node.world.rng
    record = bytearray(frame(encode_block(block := node.make())))
    path = list_segments(node.ipc.log)[-1]
    at = rng.randrange(len(record))
    record[at] ^= 1 << rng.randrange(8)
    node.writer.append(block)
    offset = path.stat().st_size - len(record)
    if list_segments(node.ipc.log)[-1] != path or offset < 0:
        return  # it went into a new segment: nothing is wrong with it
    _overwrite(path, offset, bytes(record))
    node.world.faults.touched(node.ipc.log)
    node.answer(block.height)
    node.damaged = path, offset, frame(encode_block(block))
    if rng.random() < 0.5:
        await anyio.sleep(rng.random())
        _mend(node)
    else:
        node.close_segment()
        await _lead_on(node)


def _mend(node: SimulatedNode) -> None:
    if node.damaged is not None:
        (path, offset, record), node.damaged = node.damaged, None
        if path.exists():
            _overwrite(path, offset, record)
            node.world.faults.touched(node.ipc.log)


async def _doubled(node: SimulatedNode) -> None:
    """The newest record a second time."""
    block = node.make()
    node.log(block)
    path = list_segments(node.ipc.log)[-1]
    with path.open("ab") as file:
        file.write(frame(encode_block(block)))
    node.world.faults.touched(node.ipc.log)
    node.close_segment()
    await _lead_on(node)


async def _lead_on(node: SimulatedNode) -> None:
    """A new segment, and after a while a snapshot in it."""
    for _ in range(node.world.rng.randrange(1, 5)):
        node.log(node.make())
        await anyio.sleep(BLOCK_MS / 1000)
    node.snapshot()


async def _rewind(node: SimulatedNode) -> None:
    """Set back to an older state; then the same blocks come again."""
    await _go_back(node, fork=False)


async def _fork(node: SimulatedNode) -> None:
    """Set back to an older state; then other blocks come."""
    await _go_back(node, fork=True)


async def _go_back(node: SimulatedNode, *, fork: bool) -> None:
    rng, faults = node.world.rng, node.world.faults
    back = max(node.height - rng.randrange(1, 12), 1)
    _mend(node)
    kept = [one for one in list_segments(node.ipc.log) if first_height(one) <= back]
    end = _end_of(kept[-1], back) if kept else None
    if end is None:
        return  # nothing is left of what it would go back to
    faults.write_rest()
    node.writer.close()
    node.submission.drop()
    before = node.height
    for path in list_segments(node.ipc.log):
        if path not in kept:
            path.unlink()
    os.truncate(kept[-1], end)
    for path in list_snapshots(node.ipc.snapshots):
        if int(path.stem) > back:
            path.unlink()
    faults.touched(node.ipc.log)
    node.set_back(back, fork=fork)
    if rng.random() < 0.6:  # else it writes on before anybody looks
        await anyio.sleep(rng.random())
    node.open()
    assert node.writer.height == back
    for _ in range(before - back):
        node.log(node.make())
        if rng.random() < 0.3:
            await anyio.sleep(BLOCK_MS / 1000)


async def _bad_snapshot(node: SimulatedNode) -> None:
    """One that can't be used: torn, damaged, misnamed, of another chain, of nothing."""
    rng = node.world.rng
    good = node.snapshot().read_bytes()
    kind = rng.choice(("torn", "flipped", "misnamed", "stranger", "empty", "half written"))
    height = node.height
    path = node.ipc.snapshots / SNAPSHOTS.file_name(height)
    match kind:
        case "torn":
            path.write_bytes(good[: rng.randrange(len(good))])
        case "flipped":
            at = rng.randrange(len(good))
            path.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        case "misnamed":
            path.rename(node.ipc.snapshots / SNAPSHOTS.file_name(height + 7))
        case "stranger":
            header = msgspec.structs.replace(snapshot_header(node.chain), chain="another")
            SNAPSHOTS.write(node.ipc.snapshots, header, snapshot_rows(node.chain))
        case "empty":
            path.write_bytes(b"")
        case _:
            shutil.move(path, path.with_name(f".{path.name}.1.tmp"))


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _end_of(segment: Path, height: int) -> int | None:
    """The offset behind the block of that height; None where what is before it can't be read on."""
    reader = SegmentReader(segment)
    try:
        while reader.height < height:
            if reader.next_block() is None:
                return None
    except NodeError:
        return None
    finally:
        reader.close()
    return reader.offset


TROUBLES: dict[str, Callable[[SimulatedNode], Awaitable[None]]] = {
    "pause": _pause,
    "burst": _burst,
    "torn": _torn,
    "die": _die,
    "hole": _hole,
    "corrupt": _corrupt,
    "doubled": _doubled,
    "rewind": _rewind,
    "fork": _fork,
    "bad_snapshot": _bad_snapshot,
}
