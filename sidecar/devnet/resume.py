"""Brings a chain to the last height of its log: from its newest snapshot, executing what the log
holds behind it with the inputs that were kept.
"""

import anyio.lowlevel
import msgspec

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.inputs import Inputs, InputsLog
from sidecar.devnet.mempool import Submitted, admit
from sidecar.devnet.rows import NODE
from sidecar.devnet.saved import restore
from sidecar.errors import LogUnwritable, PeerError, SnapshotInvalid
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.snapshot import NodeRow, SnapshotReader, list_snapshots
from sidecar.node.transitions import Block
from sidecar.telemetry.logs import get_log

_log = get_log("devnet")

_SLICE_BLOCKS = 8  # between two chances to be cancelled


async def resume(config: DevnetConfig, ipc: IpcDirectory, inputs: InputsLog, height: int) -> Chain:
    """The chain after `height`, the last one of the log. O(blocks since the snapshot).

    Raises `LogUnwritable` where a block comes out otherwise than it is in the log: then the code
    has changed or an input is gone, and going on would make a log that contradicts itself.
    """
    _drop_snapshots_above(ipc, height)
    chain = _from_snapshot(config, ipc)
    kept = inputs.read(chain.height, height)
    if chain.height == height:
        return chain
    _log.info("executing again", after_height=chain.height, to_height=height)
    with LogReader(ipc.log, after=chain.height, chain=config.chain) as log:
        while chain.height < height:
            _compare(_execute(chain, kept.get(chain.height + 1)), log.next_block(), ipc)
            if chain.height % _SLICE_BLOCKS == 0:
                await anyio.lowlevel.checkpoint()
    return chain


def _from_snapshot(config: DevnetConfig, ipc: IpcDirectory) -> Chain:
    """The chain as of its newest usable snapshot, or before its first block."""
    for path in list_snapshots(ipc.snapshots):
        chain = Chain(config)
        try:
            reader = SnapshotReader(path, chain=config.chain)
            for row in reader.rows():
                if isinstance(row, NodeRow) and row.name == NODE:
                    restore(chain, row.state)
                    return chain
            _log.warning("no state of this chain in the snapshot", path=str(path), state=NODE)
        except (SnapshotInvalid, msgspec.DecodeError) as error:
            _log.warning("the snapshot can't be used", path=str(path), reason=str(error))
    return Chain(config)


def _execute(chain: Chain, inputs: Inputs | None) -> Block:
    submitted: list[Submitted] = []
    if inputs is not None:
        if inputs.clock_ns is not None:
            chain.set_time(inputs.clock_ns)
        try:
            submitted = [admit(body, chain.exchange.markets) for body in inputs.bodies]
        except PeerError as error:
            what = f"an action that was executed is refused now: {error}; use a fresh directory"
            raise LogUnwritable(what, height=inputs.height) from error
    return chain.step(submitted)


def _compare(executed: Block, logged: Block | None, ipc: IpcDirectory) -> None:
    if logged is None or msgspec.structs.replace(logged, written_ns=0) != executed:
        raise LogUnwritable(
            "the chain comes out otherwise than it is in the log: it was made by other code, or "
            "its inputs are damaged; use a fresh directory",
            path=ipc.log,
            height=executed.height,
        )


def _drop_snapshots_above(ipc: IpcDirectory, height: int) -> None:
    """After a power failure a snapshot may be on disk whose last blocks are not."""
    for path in list_snapshots(ipc.snapshots):
        if path.stem.isdecimal() and int(path.stem) > height:
            path.unlink()
