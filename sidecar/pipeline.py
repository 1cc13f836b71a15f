"""The one pipeline: the node's blocks in, every subscriber's frames out."""

from collections.abc import AsyncIterator

from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.node.transitions import Block
from sidecar.protocol import frames
from sidecar.server.hub import Hub
from sidecar.state.chain import ChainState
from sidecar.telemetry.counts import StageClock


async def run_pipeline(
    blocks: AsyncIterator[Block],
    state: ChainState,
    channels: Channels,
    hub: Hub,
    clock: StageClock,
) -> None:
    """Moves block after block from the node's log to the sockets; nothing in it waits but for the
    next block, and where a block has thousands of readers, for others to have their turn.

    A message is encoded and framed once, whoever reads it, and only if somebody does; a client's
    frames of one block leave in one send. Raises what the source and the state raise: a log or a
    book that is wrong is never served.
    """
    async for block in blocks:  # node: bytes -> Block
        clock.begin(block.height, block.written_ns)
        changes = state.apply(block)  # state: Block -> Changes
        clock.lap("apply")
        for topic, message in channels.publish(changes):  # api: Changes -> messages
            hub.stage(topic, frames.text(encode(message)))  # protocol: one frame for all
        clock.lap("publish")
        await hub.flush(block.height)  # server: one send per subscriber
        clock.lap("send")
        clock.end(block.height, block.transitions, hub.messages)
