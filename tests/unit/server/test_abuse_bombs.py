"""Bombs: what is small on the wire and large in memory is refused before it is there."""

import json
import zlib

import pytest
from websockets.asyncio.client import connect

from hostile import DEFLATE, FIRST, LAST, MORE, RSV1, TEXT, Peer, frame, memory_flat
from sidecar.limits import MESSAGE_BYTES_MAX
from test_sessions import running, say

pytestmark = pytest.mark.anyio

TOO_LONG = (1009, f"a message is longer than {MESSAGE_BYTES_MAX} bytes")


def bomb(size: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


WHOLE = bomb(64 << 20)[:65_535]


def in_fragments(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    firsts = [FIRST | RSV1, *[MORE] * (len(pieces) - 2), LAST]
    return b"".join(frame(first, piece) for first, piece in zip(firsts, pieces, strict=True))


@pytest.mark.parametrize(
    "data",
    [frame(TEXT | RSV1, WHOLE), in_fragments(WHOLE, 2_000), in_fragments(WHOLE[:600], 30)],
    ids=["whole", "in fragments", "in small fragments"],
)
async def test_bombs_are_1009_with_memory_flat(data: bytes) -> None:
    """64 MiB in 64 KiB."""
    async with running() as sidecar, connect(sidecar.url) as other:
        with memory_flat(1 << 20), Peer(sidecar.server.port) as peer:
            await peer.upgrade(DEFLATE)
            await peer.send(data)
            assert await peer.close_frame() == TOO_LONG
        assert await say(other, method="ping") == {"channel": "pong"}


async def test_bombs_that_never_end_are_1009_with_memory_flat() -> None:
    """A frame that says it is 2**62 bytes long, and one plain message without end."""
    async with running() as sidecar:
        for head in (frame(FIRST), b""):
            with memory_flat(1 << 20), Peer(sidecar.server.port) as peer:
                await peer.upgrade()
                first = MORE if head else TEXT
                length = (1 << 62).to_bytes(8, "big")
                await peer.send(head + bytes((first, 0xFF)) + length + bytes(4))
                try:
                    for _ in range(1_000):
                        await peer.send(b"x" * 4_096)
                except OSError:
                    pass  # the server has gone
                assert await peer.close_frame() == TOO_LONG


HEADERS_20_000 = b"".join(b"X-%05d: y\r\n" % number for number in range(20_000))
HEAD = b"GET /ws HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + b"Host: x\r\n" + HEADERS_20_000 + b"\r\n", 431),
        (HEAD + b"Host: x\r\n" + b"A: b\r\n" * 2_000 + b"\r\n", 431),
        (HEAD + b"Host: x\r\nX: " + b"y" * 229_000 + b"\r\n\r\n", 431),
        (HEAD + b"Host: xn--" + b"a" * 15_000 + b"\r\n\r\n", 431),
        (HEAD + b"Host: xn--" + b"a" * 300 + b"\r\n\r\n", 400),
        (b"GET /" + b"x" * 229_000, 414),
    ],
    ids=["229 kB", "2,000 headers", "one header", "15 kB Host", "300 byte Host", "target"],
)
async def test_bombs_of_heads_are_refused_with_memory_flat(head: bytes, status: int) -> None:
    """All at once; and the answer arrives, though most of what was sent is never read (P23)."""
    async with running() as sidecar, connect(sidecar.url) as other:
        with memory_flat(1 << 20), Peer(sidecar.server.port) as peer:
            await peer.send(head)
            answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == status
        assert await say(other, method="ping") == {"channel": "pong"}
