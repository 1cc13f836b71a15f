"""The local info server of a Hyperliquid node (--serve-info), as far as a sidecar needs one.

    POST /info {"type": "exchangeStatus"}                     200 {"time", "specialStatuses"}
               {"type": "fileSnapshot", "outPath", ...}       200 null, once the file is there
               anything else                                  422 and why
    other methods                                             405
    other paths                                               404

It writes wherever its user may, for whoever reaches it: so it listens on the loopback only, and
takes nothing but `Content-Type: application/json`, which no web page can send here unasked (415).
"""

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from sidecar.devnet.hyperliquid.snapshot import l4_snapshot
from sidecar.errors import ConfigInvalid
from sidecar.limits import REQUEST_BODY_BYTES_MAX, REQUEST_HEAD_TIMEOUT_S
from sidecar.node.snapshot import Row, SnapshotHeader
from sidecar.telemetry.logs import get_log

_log = get_log("devnet")

_HOST = "127.0.0.1"
_CONNECTIONS_MAX = 32  # a thread each; further ones are closed at once
_ACCEPT_POLL_S = 0.05  # how long `stop()` may go unnoticed
_STOP_GRACE_S = 2.0  # for requests that are being answered

_numbers = itertools.count()  # of temporary files


class L4Snapshots(msgspec.Struct, tag="l4Snapshots", tag_field="type", rename="camel"):
    """What a snapshot is to hold."""

    include_users: bool
    include_trigger_orders: bool


class FileSnapshot(msgspec.Struct, tag="fileSnapshot", tag_field="type", rename="camel"):
    """Asks for a snapshot in a file on the node's machine."""

    request: L4Snapshots
    out_path: str
    include_height_in_output: bool


class ExchangeStatus(msgspec.Struct, tag="exchangeStatus", tag_field="type"):
    """Asks for the consensus time."""


_decode = msgspec.json.Decoder(FileSnapshot | ExchangeStatus).decode


class InfoServer:
    """Serves on the loopback, in threads of its own."""

    def __init__(
        self,
        port: int,
        snapshot: Callable[[], tuple[SnapshotHeader, list[Row]]],
        time_ms: Callable[[], int],
    ) -> None:
        """Port 0 is any free one. `snapshot` and `time_ms` are called in the server's threads."""
        self._port = port
        self._snapshot = snapshot
        self._time_ms = time_ms
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, once started."""
        return self._port

    def start(self) -> None:
        """Begins to listen. Raises `ConfigInvalid` where the port can't be had."""
        assert self._server is None, "started already"
        try:
            self._server = _Server((_HOST, self._port), self._answerer())
        except OSError as error:
            what = f"can't listen on {_HOST}:{self._port}: {error.strerror}; take another port"
            raise ConfigInvalid(f"devnet.info_port: {what}") from error
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": _ACCEPT_POLL_S},
            name="info server",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stops listening. Requests that are being answered get a moment for it, then go.

        To be called from another thread than the one that `snapshot` waits for.
        """
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.end_connections(_STOP_GRACE_S)
        self._server = self._thread = None

    def _answerer(self) -> type["_Handler"]:
        """Handlers that answer for this server; http.server wants a class."""
        return type("_InfoHandler", (_Handler,), {"answer": staticmethod(self._answer)})

    def _answer(self, body: bytes) -> tuple[HTTPStatus, bytes]:
        try:
            request = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            what = f"Failed to deserialize the JSON body into the target type: {error}"
            return HTTPStatus.UNPROCESSABLE_ENTITY, what.encode()
        if isinstance(request, ExchangeStatus):
            status = {"time": self._time_ms(), "specialStatuses": None}
            return HTTPStatus.OK, msgspec.json.encode(status)
        return self._write_snapshot(request)

    def _write_snapshot(self, request: FileSnapshot) -> tuple[HTTPStatus, bytes]:
        header, rows = self._snapshot()
        asked = request.request
        content = l4_snapshot(
            header,
            rows,
            users=asked.include_users,
            triggers=asked.include_trigger_orders,
            height=request.include_height_in_output,
        )
        try:
            _write_whole(Path(request.out_path), content)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            what = f"can't write {request.out_path!r}: {error}"
            _log.warning("snapshot not written", path=request.out_path, reason=str(error))
            return HTTPStatus.INTERNAL_SERVER_ERROR, what.encode()
        return HTTPStatus.OK, b"null"


class _Server(ThreadingHTTPServer):
    """Knows its connections, to bound and to end them."""

    daemon_threads = True
    block_on_close = False  # end_connections() waits, but not for ever

    def __init__(self, address: tuple[str, int], handler: type["_Handler"]) -> None:
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="info request",
            daemon=True,
        )
        with self._lock:
            full = len(self._connections) >= _CONNECTIONS_MAX
            if not full:
                self._connections[request] = thread
        if full:
            self.shutdown_request(request)
        else:
            thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _log.exception("info request failed", peer=str(client_address))

    def end_connections(self, grace_s: float) -> None:
        """Ends what is idle, and after `grace_s` everything."""
        with self._lock:
            left = dict(self._connections)
        for connection in left:
            _shut(connection, socket.SHUT_RD)  # an answer can still go out
        deadline = time.monotonic() + grace_s
        for connection, thread in left.items():
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                _log.warning("info request abandoned")
                _shut(connection, socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """HTTP around an answer."""

    protocol_version = "HTTP/1.1"
    server_version = "sidecar-devnet"
    sys_version = ""
    timeout = REQUEST_HEAD_TIMEOUT_S  # of a read
    answer: Callable[[bytes], tuple[HTTPStatus, bytes]]

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path.partition("?")[0] != "/info":
            self._send(HTTPStatus.NOT_FOUND, b"")
        elif self.headers.get_content_type() != "application/json":
            what = b"Expected request with `Content-Type: application/json`"
            self._send(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what)
        else:
            self._send(*self.answer(body))

    def refuse_method(self) -> None:
        """Any other method."""
        if self._body() is None:
            return
        known = self.path.partition("?")[0] == "/info"
        self._send(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND, b"")

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = refuse_method  # noqa: N815

    def _body(self) -> bytes | None:
        """The whole body; None where it was refused, and the connection ends."""
        text = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdigit()):
            refused = HTTPStatus.LENGTH_REQUIRED
        elif len(text) > 20 or int(text) > REQUEST_BODY_BYTES_MAX:
            refused = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        else:
            body = self.rfile.read(int(text))
            if len(body) == int(text):
                return body
            refused = HTTPStatus.BAD_REQUEST  # it ended before
        self.close_connection = True
        self._send(refused, b"")
        return None

    def _send(self, status: HTTPStatus, content: bytes) -> None:
        self.send_response(status)
        ok = status is HTTPStatus.OK
        self.send_header("Content-Type", "application/json" if ok else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
        _log.debug("info request", what=format % args)


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        return  # ended meanwhile
