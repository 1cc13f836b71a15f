"""Asks the info server of the node beside us: one HTTP request, one answer, no connection kept.

    POST /info  {"type": ...}  ─▶  status, content type, body

The server is the node's own (--serve-info), on this machine or in this network: plain HTTP. What
comes back is bounded in time and size, and not looked into.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

import anyio
import h11
from anyio.abc import SocketStream

from sidecar.errors import ConfigInvalid, NodeUnreachable
from sidecar.limits import RECV_BYTES

_DEFAULT_PATH = "/info"


class InfoAnswer(NamedTuple):
    """What the server said. A `status` other than 200 comes with its reason as text."""

    status: int
    content_type: str
    body: bytes

    def text(self) -> str:
        """The body for a log or an error message, cut."""
        return self.body[:200].decode(errors="replace")


class InfoClient:
    """A node's info server."""

    def __init__(self, url: str) -> None:
        """`url` is such as http://127.0.0.1:3001/info. Raises `ConfigInvalid`."""
        self.url = url
        try:
            parts = urlsplit(url)
            self._port = parts.port or 80
        except ValueError as error:
            raise _invalid(url, str(error)) from error
        if parts.scheme != "http" or not parts.hostname or not url.isascii():
            raise _invalid(url, "not http:// and a host")
        if parts.username is not None or parts.query or parts.fragment:
            raise _invalid(url, "more than host, port and path")
        self._host = parts.hostname
        self._authority = parts.netloc
        self._path = parts.path if parts.path.strip("/") else _DEFAULT_PATH

    async def post(self, body: bytes, *, timeout_s: float, answer_bytes_max: int) -> InfoAnswer:
        """The answer to a JSON request, whatever its status.

        Raises `NodeUnreachable` where there is none: no server, no answer in time, one that is
        cut, longer than `answer_bytes_max` or not HTTP.
        """
        try:
            with anyio.fail_after(timeout_s):
                async with await anyio.connect_tcp(self._host, self._port) as stream:
                    return await self._exchange(stream, body, answer_bytes_max)
        except TimeoutError as error:
            raise self._unreachable(f"gave no answer in {timeout_s:g} s", timeout=True) from error
        except anyio.BrokenResourceError as error:
            raise self._unreachable("broke the connection") from error
        except OSError as error:
            raise self._unreachable(f"can't be reached: {error.strerror or error}") from error
        except h11.ProtocolError as error:
            raise self._unreachable(f"gave a broken answer: {error}") from error

    async def _exchange(self, stream: SocketStream, body: bytes, bytes_max: int) -> InfoAnswer:
        http = h11.Connection(h11.CLIENT)
        await stream.send(self._request(http, body))
        head: h11.Response | None = None
        content = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await _receive(stream))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
                if len(content) > bytes_max:
                    raise self._unreachable(f"gave an answer of more than {bytes_max} bytes")
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return InfoAnswer(head.status_code, _content_type(head), bytes(content))
            elif not isinstance(event, h11.InformationalResponse):
                raise self._unreachable("broke the connection")

    def _request(self, http: h11.Connection, body: bytes) -> bytes:
        headers = [
            ("host", self._authority),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        head = http.send(h11.Request(method="POST", target=self._path, headers=headers))
        data = http.send(h11.Data(data=body))
        return b"".join(part or b"" for part in (head, data, http.send(h11.EndOfMessage())))

    def _unreachable(self, what: str, *, timeout: bool = False) -> NodeUnreachable:
        return NodeUnreachable(f"the node's info server at {self.url} {what}", timeout=timeout)


async def _receive(stream: SocketStream) -> bytes:
    try:
        return await stream.receive(RECV_BYTES)
    except anyio.EndOfStream:
        return b""


def _content_type(head: h11.Response) -> str:
    values = [value for name, value in head.headers if name == b"content-type"]
    return values[0].decode("latin-1") if values else "application/octet-stream"


def _invalid(url: str, what: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"source.info_url: {url[:200]!r} is {what}; it is such as http://127.0.0.1:3001/info"
    )
