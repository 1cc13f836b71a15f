"""However a client's bytes are cut, from the first of its request to its Close: the server says
the same.
"""

import zlib
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile import (
    BINARY,
    CLOSE,
    DEFLATE,
    FIRST,
    LAST,
    MORE,
    PING,
    PONG,
    RSV1,
    TEXT,
    UPGRADE,
    Peer,
    frame,
    frames_of,
)
from test_sessions import running

pytestmark = pytest.mark.anyio

ASK = b'{"method":"ping"}'
QUERY = (
    b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n" + b'{"type":"exchangeStatus"}'
)


def deflated(payload: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


parts = st.sampled_from(
    [
        frame(TEXT, ASK),
        frame(TEXT, b"{"),
        frame(TEXT, b'{"method":"dance"}'.ljust(300)),
        frame(FIRST, ASK[:5]) + frame(PING, b"between") + frame(LAST, ASK[5:]),
        frame(FIRST, "é".encode()[:1]) + frame(MORE) + frame(LAST, "é".encode()[1:]),
        frame(PING, b"alive?"),
        frame(TEXT | RSV1, deflated(ASK)),
        frame(FIRST | RSV1, deflated(ASK)[:4]) + frame(PING) + frame(LAST, deflated(ASK)[4:]),
        frame(TEXT, b"\xff"),
        frame(BINARY, b"x"),
        frame(MORE, b"astray"),
        frame(CLOSE, b"\x03\xe9bye"),
    ]
)


async def said_to(port: int, pieces: list[bytes]) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    """Heads and bodies of HTTP answers, then frames. Of a Close not what it says: where bytes break
    two rules, the one that is seen first counts. No pongs: once a Close is here, none is owed.
    """
    with Peer(port) as peer:
        for piece in pieces:
            try:
                await peer.send(piece)
            except OSError:
                break  # the server has gone
            await anyio.sleep(0)
            await anyio.sleep(0)
        *answers, frames = (await peer.rest()).split(b"\r\n\r\n")
        said = [(one, data) for one, data in frames_of(frames) if one != PONG]
        return answers, [(one, b"" if one == CLOSE else data) for one, data in said]


@settings(max_examples=40)
@given(
    queries=st.integers(0, 2),
    extension=st.sampled_from([b"", DEFLATE]),
    said=st.lists(parts, max_size=6),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=25),
)
async def test_chunking_equivalence_over_a_socket(
    queries: int, extension: bytes, said: list[bytes], cuts: list[int]
) -> None:
    end = frame(CLOSE, b"\x03\xe8")
    data = QUERY * queries + UPGRADE + extension + b"\r\n" + b"".join(said) + end
    places = sorted({0, len(data), *(place % len(data) for place in cuts)})
    async with running() as sidecar:
        whole = await said_to(sidecar.server.port, [data])
        pieces = [data[start:end] for start, end in pairwise(places)]
        assert await said_to(sidecar.server.port, pieces) == whole
    assert len(whole[0]) == queries + 1
    assert whole[1][-1] == (CLOSE, b"")


async def test_chunking_equivalence_byte_by_byte_over_a_socket() -> None:
    data = (
        QUERY + UPGRADE + DEFLATE + b"\r\n" + frame(TEXT | RSV1, deflated(ASK)) + frame(PING, b"!")
    )
    data += frame(FIRST, ASK[:9]) + frame(LAST, ASK[9:]) + frame(CLOSE, b"\x03\xe8")
    async with running() as sidecar:
        port = sidecar.server.port
        whole = await said_to(port, [data])
        assert await said_to(port, [data[at : at + 1] for at in range(len(data))]) == whole
    texts = [(TEXT, b'{"channel":"pong"}')]
    assert whole[1] == [*texts, *texts, (CLOSE, b"")]
