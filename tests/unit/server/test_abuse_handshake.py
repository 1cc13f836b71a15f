"""Hostile handshakes over real sockets: an answer each, and nobody else notices."""

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from hostile import UPGRADE, Peer
from test_sessions import running, say

pytestmark = pytest.mark.anyio

EXTENSIONS = b"Sec-WebSocket-Extensions: permessage-deflate; "

BODY = b"0\r\n\r\n"  # of five bytes, or of no chunk


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (EXTENSIONS + b"client_max_window_bits=abc", 101),
        (EXTENSIONS + b'client_max_window_bits="10"', 101),
        (EXTENSIONS + b"server_max_window_bits=9999999999999999999", 101),
        (EXTENSIONS + b"\xff", 400),
        (b"Sec-WebSocket-Protocol: \xff\xfe", 101),
        (b"Connection: keep-alive", 101),
        (b"Connection: \xff", 101),
        (b"Origin: \xff", 101),
        (b"Host: xn--\xff", 400),
        (b"Host: y", 400),
        (b"Content-Length: 5", 400),
        (b"Transfer-Encoding: chunked", 400),
        (b"X: \x01", 400),
        (b"X: a\r\n b", 400),
        (b"X: a\nY: b", 400),
    ],
)
async def test_p3_p6_p21_hostile_headers_are_answered(line: bytes, status: int) -> None:
    with capture_logs() as logs:
        async with running() as sidecar, connect(sidecar.url) as other:
            with Peer(sidecar.server.port) as peer:
                await peer.send(UPGRADE + line + b"\r\n\r\n" + BODY)
                assert (await peer.receive()).startswith(b"HTTP/1.1 %d " % status)
            assert await say(other, method="ping") == {"channel": "pong"}
    assert [one for one in logs if "bug" in one["event"]] == []
