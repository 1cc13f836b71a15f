"""Brings a chain to the last height of its log by executing it again from genesis."""

import anyio.lowlevel
import msgspec

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.recipe import Recipe
from sidecar.errors import LogUnwritable
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.snapshot import list_snapshots
from sidecar.node.transitions import Block

_SLICE_BLOCKS = 8  # between two chances to be cancelled


async def resume(config: DevnetConfig, recipe: Recipe, ipc: IpcDirectory, height: int) -> Chain:
    """The chain after `height`, the last one of the log. O(blocks since genesis).

    Raises `LogUnwritable` where the newest block comes out otherwise than it is in the log: then
    the code has changed, and going on would make a log that contradicts itself.
    """
    chain = Chain(config)
    newest: Block | None = None
    for number in range(1, height + 1):
        newest = step(chain, recipe)
        if number % _SLICE_BLOCKS == 0:
            await anyio.lowlevel.checkpoint()
    if newest is not None:
        _compare(newest, ipc, chain)
    _drop_snapshots_above(ipc, height)
    return chain


def step(chain: Chain, recipe: Recipe) -> Block:
    """The next block, at the time that the recipe knows for it; `written_ns` is 0."""
    start_ns = recipe.starts.get(chain.height + 1)
    if start_ns is not None:
        chain.set_time(start_ns)
    return chain.step(0)


def _compare(executed: Block, ipc: IpcDirectory, chain: Chain) -> None:
    with LogReader(ipc.log, after=executed.height - 1, chain=chain.config.chain) as log:
        logged = log.next_block()
    if logged is None or msgspec.structs.replace(logged, written_ns=0) != executed:
        raise LogUnwritable(
            "the chain comes out otherwise than it is in the log: it was made by other code; "
            "use a fresh directory",
            path=ipc.log,
            height=executed.height,
        )


def _drop_snapshots_above(ipc: IpcDirectory, height: int) -> None:
    """After a power failure a snapshot may be on disk whose last blocks are not."""
    for path in list_snapshots(ipc.snapshots):
        if path.stem.isdecimal() and int(path.stem) > height:
            path.unlink()
