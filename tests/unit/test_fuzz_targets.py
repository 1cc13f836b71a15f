"""The fuzz targets hold for a moment of hypothesis, on raw bytes and on bytes that mean
something.
"""

import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.node.submission import Answer, encode_answer
from targets import TARGETS

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def client_frame(head: int, payload: bytes) -> bytes:
    return bytes((head, 0x80 | len(payload))) + bytes(4) + payload


def compressed_frame(text: str) -> bytes:
    """A message of a client that compresses."""
    deflater = zlib.compressobj(wbits=-15)
    body = deflater.compress(text.encode()) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return client_frame(0xC1, body[:-4])


ACTION_PIECES = (
    *(b'{"action": {"type": "order", "orders": [', b'], "grouping": "na"}, ', b'"nonce": 7, '),
    b'{"a": 0, "b": true, "p": "2500", "s": "1", "r": false, "t": {"limit": {"tif": "Gtc"}}}',
    b'"signature": {"r": "0x11", "s": "0x12", "v": 27}}',
)
ANSWER = (st.integers(0, 9), st.booleans(), st.text(max_size=5))
PIECES = st.one_of(
    st.binary(max_size=40),
    st.builds(client_frame, st.integers(0, 255), st.binary(max_size=125)),
    st.builds(compressed_frame, st.text(max_size=30)),
    st.sampled_from(ACTION_PIECES),
    st.builds(lambda number, ok, said: encode_answer(Answer(number, ok, 1, said)), *ANSWER),
    st.sampled_from((UPGRADE, b'{"method":"ping"}', b"Content-Length: 3\r\n", b"\r\n\r\n", b"abc")),
)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
@given(pieces=st.lists(PIECES, max_size=6))
@example(pieces=[UPGRADE, client_frame(0x81, b'{"method":"ping"}'), client_frame(0x88, b"")])
@example(pieces=[compressed_frame("a" * 9_000), client_frame(0x88, b"")])
@example(pieces=[b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"] * 3)
@example(
    pieces=list(ACTION_PIECES[:1] + ACTION_PIECES[3:4] + ACTION_PIECES[1:3] + ACTION_PIECES[4:])
)
def test_target_holds(target: Callable[[bytes], None], pieces: list[bytes]) -> None:
    target(b"".join(pieces))
