"""A client that says any frames, wrong ones included, cut as told, and hears frames as they are."""

import socket
from base64 import b64encode
from hashlib import sha1
from types import TracebackType
from typing import NamedTuple, Self

from sidecar.protocol.inbound import unmask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

TIMEOUT_S = 30.0  # guards against hanging, nothing else
_MASK = b"\x37\xfa\x21\x3d"
_KEY = b64encode(b"sixteen octets..")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """A client's frame. `rsv` has RSV1 as 4, RSV2 as 2, RSV3 as 1."""
    size = len(payload)
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if size < 126:
        head += bytes((masked << 7 | size,))
    elif size < 1 << 16:
        head += bytes((masked << 7 | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((masked << 7 | 127,)) + size.to_bytes(8, "big")
    return head + _MASK + unmask(_MASK, payload) if masked else head + payload


def text(payload: bytes, *, fin: bool = True) -> bytes:
    """A text frame."""
    return frame(TEXT, payload, fin=fin)


def more(payload: bytes, *, fin: bool = False) -> bytes:
    """A continuation frame."""
    return frame(CONTINUATION, payload, fin=fin)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A Close, of any code and reason."""
    return frame(CLOSE, (b"" if code is None else code.to_bytes(2, "big")) + reason)


def fragments(opcode: int, payload: bytes, size: int, *, rsv: int = 0) -> list[bytes]:
    """A message in frames of that many bytes, the last one with what is left."""
    starts = range(0, max(len(payload), 1), size)
    return [
        frame(
            CONTINUATION if start else opcode,
            payload[start : start + size],
            fin=start + size >= len(payload),
            rsv=0 if start else rsv,
        )
        for start in starts
    ]


class Heard(NamedTuple):
    """A frame of the server."""

    opcode: int
    payload: bytes
    rsv: int = 0
    fin: bool = True


class FrameClient:
    """A WebSocket after its handshake; `extensions` is what the server answered to the offer."""

    def __init__(self, port: int, offer: str | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")
        self.extensions = self._open(port, offer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, data: bytes, chop: int = 0) -> None:
        """Bytes, at once or in writes of `chop` bytes. Each is a segment of its own as far as the
        kernel keeps them apart.
        """
        if not chop:
            self._socket.sendall(data)
        for start in range(0, len(data), chop) if chop else ():
            self._socket.sendall(data[start : start + chop])

    def hear(self) -> Heard | None:
        """The next frame; None where the server has ended."""
        head = self._stream.read(2)
        if not head:
            return None
        assert not head[1] & 0x80, "a server never masks"
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        return Heard(head[0] & 0xF, self._exactly(size), head[0] >> 4 & 7, fin=bool(head[0] & 0x80))

    def hear_all(self) -> list[Heard]:
        """Every frame up to the server's end."""
        return list(iter(self.hear, None))

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        assert len(data) == size, "the server ended within a frame"
        return data

    def _open(self, port: int, offer: str | None) -> str | None:
        lines = [
            b"GET / HTTP/1.1",
            b"Host: 127.0.0.1:%d" % port,
            b"Upgrade: WebSocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + _KEY,
        ]
        if offer is not None:
            lines.append(b"Sec-WebSocket-Extensions: " + offer.encode())
        self.send(b"\r\n".join(lines) + b"\r\n\r\n")
        status = self._stream.readline()
        assert status == b"HTTP/1.1 101 Switching Protocols\r\n", status
        headers = dict[str, str]()
        while (line := self._stream.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        accepted = b64encode(sha1(_KEY + _GUID, usedforsecurity=False).digest()).decode()
        assert headers["sec-websocket-accept"] == accepted
        return headers.get("sec-websocket-extensions")
