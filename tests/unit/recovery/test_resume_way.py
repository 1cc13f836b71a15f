"""What is run again has to be of the way that the live messages are of."""

from pathlib import Path

import pytest

from blocks import TOYOTA, bid, block
from sidecar.api.channels import Channels
from sidecar.api.topics import Needs
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.native import NativeOrigin
from sidecar.node.segments import list_segments
from sidecar.node.transitions import Block
from sidecar.recovery.resume import Resumer
from sidecar.recovery.waiting import Resumption
from sidecar.state.chain import ChainState

pytestmark = pytest.mark.anyio
READ = [block(1, TOYOTA), block(2, bid(7, 100)), block(3, bid(8, 99)), block(4)]
OTHER = [*READ[:2], block(3, bid(9, 98)), READ[3]]


class Client:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def replay(self, _: Resumption, frame: bytes, height: int) -> None:
        assert frame
        self.heard.append(f"message {height}")

    def resumed(self, resumption: Resumption) -> None:
        self.heard.append(f"goes on behind {resumption.height}")

    def lost(self, _: Resumption, reason: str) -> None:
        self.heard.append(reason)


def write(ipc: IpcDirectory, blocks: list[Block]) -> None:
    for segment in list_segments(ipc.log):
        segment.unlink()
    with LogWriter(ipc.log, "t") as writer:
        for one in blocks:
            writer.append(one)


@pytest.mark.parametrize("same", [True, False])
async def test_a_log_of_another_way_leads_nobody_on(tmp_path: Path, *, same: bool) -> None:
    """It was replaced, and the feed has not seen that yet. Found by simulation."""
    ipc, state = IpcDirectory(tmp_path), ChainState()
    for one in READ:
        state.apply(one)
    write(ipc, READ if same else OTHER)
    channels, client = Channels(state), Client()
    topic = channels.resolve({"type": "l4Book", "coin": "TOYOTA"})
    origin = NativeOrigin(ipc, ChainInfo("node-log/1", "t", 0, 1))
    resumer = Resumer(state, origin, lambda _: None)
    await resumer._rerun([Resumption(topic, 2, client, "1.2.3.4")], Needs.BOOKS)
    end = client.heard[-1]
    if same:
        assert client.heard == ["message 3", "goes on behind 4"]
    else:
        assert "another block than the one that was read" in end
        assert not any("goes on" in one for one in client.heard)
