"""After our Close nothing that the peer sends is parsed: it costs a read, and no more."""

import anyio
import pytest
from wsproto.frame_protocol import FrameProtocol

from hostile import CLOSE, PING, TEXT, Peer, frame, frames_of
from test_sessions import running

pytestmark = pytest.mark.anyio


async def test_flood_after_our_close_is_discarded_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    receive = FrameProtocol.receive_bytes

    def spied(self: FrameProtocol, data: bytes) -> None:
        parsed.append(len(data))
        receive(self, data)

    monkeypatch.setattr(FrameProtocol, "receive_bytes", spied)
    async with running(messages_per_minute=1) as sidecar:
        with Peer(sidecar.server.port) as peer:
            await peer.upgrade()
            await peer.send(frame(TEXT, b"{") * 2)
            assert [first for first, _ in frames_of(await peer.rest())] == [TEXT, CLOSE]
            await peer.send(frame(PING) * 1_000)
            await anyio.sleep(0.05)
            assert not parsed
