"""Asks a running sidecar, its operator port first: plain HTTP, over TCP or a unix socket."""

import http.client
import json
import re
import socket
from contextlib import closing
from typing import Any, NamedTuple

from sidecar.errors import ConfigInvalid, SidecarError

_TIMEOUT_S = 5.0
_PAGE_BYTES_MAX = 8 << 20
_OK, _UNAUTHORIZED = 200, 401
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - listened on, which is no address to connect to
_SHOWN = 200  # bytes of a refusal
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Unreachable(SidecarError):
    """Nobody answers, or somebody who is no sidecar."""


class Sample(NamedTuple):
    """One line of `/metrics`."""

    labels: dict[str, str]
    value: float


Metrics = dict[str, list[Sample]]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


class OperatorClient:
    """An operator port. Each question is a connection of its own."""

    def __init__(self, place: str) -> None:
        """`place` is HOST:PORT, [IPV6]:PORT, unix:PATH or a path. Raises `ConfigInvalid`."""
        self.place = place
        self._path = place.removeprefix("unix:") if _is_path(place) else None
        self._host, self._port = ("", 0) if self._path else _host_and_port(place)

    def page(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body; with `body` it is posted. Raises `Unreachable`."""
        with closing(self._connection()) as connection:
            try:
                connection.request("GET" if body is None else "POST", path, body)
                answer = connection.getresponse()
                return answer.status, answer.read(_PAGE_BYTES_MAX)
            except TimeoutError as error:
                what = f"no answer in {_TIMEOUT_S:g} s: its event loop hangs"
                raise Unreachable(f"{self.place}: {what}") from error
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"{self.place}: no sidecar answers: {error}") from error

    def ready(self) -> dict[str, Any]:
        """What `/readyz` says. Raises `Unreachable`."""
        _, body = self.page("/readyz")
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if not isinstance(told, dict) or not isinstance(told.get("ready"), bool):
            raise Unreachable(f"{self.place}: who answers there is no sidecar's operator port")
        return told

    def at(self, address: str) -> "OperatorClient":
        """For the clients' port of that sidecar, as `/readyz` says where it is. One that listens
        everywhere is asked where its operator port is.
        """
        client = OperatorClient(address)
        if client._host in _ANYWHERE:
            client._host = self._host or "localhost"
        return client

    def server_info(self) -> dict[str, Any] | None:
        """What the clients' port answers to `serverInfo`; None where it takes nobody without a
        token. Raises `Unreachable`, also where it refuses, with its reason.
        """
        status, body = self.page("/info", b'{"type": "serverInfo"}')
        if status == _UNAUTHORIZED:
            return None
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if status != _OK or not isinstance(told, dict) or "height" not in told:
            reason = body[:_SHOWN].decode(errors="replace").strip()
            raise Unreachable(f"{self.place}: {status} {reason}".rstrip())
        return told

    def metrics(self) -> Metrics:
        """What `/metrics` says, by name; empty where there is no such page."""
        status, body = self.page("/metrics")
        return parse_metrics(body.decode(errors="replace")) if status == _OK else {}

    def _connection(self) -> http.client.HTTPConnection:
        if self._path is not None:
            return _UnixConnection(self._path)
        return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)


def parse_metrics(text: str) -> Metrics:
    """The samples of a page in Prometheus' text format."""
    found: Metrics = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is not None:
            sample = Sample(dict(_LABEL.findall(match[2] or "")), float(match[3]))
            found.setdefault(match[1], []).append(sample)
    return found


def _is_path(place: str) -> bool:
    return place.startswith("unix:") or "/" in place


def _host_and_port(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigInvalid(f"--operator takes HOST:PORT or unix:PATH, not {place!r}")
    return host.strip("[]"), int(port)
