"""What the raw clients say, as bytes made by hand."""

import json

_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
UPGRADE = _UPGRADE % b""
UPGRADE_WITH_DEFLATE = _UPGRADE % b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
TEXT, CONTINUATION, CLOSE, PING, PONG = 0x81, 0x80, 0x88, 0x89, 0x8A
COINS = ("TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO")  # of the development chain


def masked(payload: bytes, first: int = TEXT) -> bytes:
    """A client's frame (mask of zeros)."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def subscribe(**subscription: str) -> bytes:
    """A request, framed."""
    return masked(json.dumps({"method": "subscribe", "subscription": subscription}).encode())
