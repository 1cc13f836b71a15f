"""Clients of a sidecar that is behind a proxy, from several loopback addresses."""

import http.client
import json
import socket
import ssl
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from websockets.asyncio.client import connect

from proxy_processes import Certificate, Proxy, program
from rig import Sidecar

ALICE, BOB = "127.0.0.2", "127.0.0.3"  # clients' addresses; 127.0.0.1 is the proxy's
LIVE = b'{"type": "serverInfo"}'
KINDS = ("nginx", "nginx-unix", "haproxy")
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy"}


def installed(kind: str) -> Any:
    """The kind as a test's parameter; the test is skipped where its program is not installed."""
    name = kind.partition("-")[0]
    missing = f"{name} is not installed: apt-get install {PACKAGES[name]}"
    return pytest.param(kind, marks=pytest.mark.skipif(program(name) is None, reason=missing))


each_kind = pytest.mark.parametrize("kind", [installed(kind) for kind in KINDS])
each_program = pytest.mark.parametrize("kind", [installed(kind) for kind in PACKAGES])


def upstream_flags(kind: str, path: Path) -> dict[str, str]:
    """The sidecar's settings for a kind of proxy."""
    if kind == "nginx-unix":
        return {"server.host": f"unix:{path}", "server.trusted_proxies": "unix"}
    flags = {"server.trusted_proxies": "127.0.0.1"}
    return flags | ({"server.proxy_protocol": "true"} if kind == "haproxy" else {})


class Behind(Proxy):
    """A proxy with its sidecar, and clients of it from several addresses."""

    sidecar: Sidecar
    certificate: Certificate

    def connect(
        self, source: str = ALICE, version: ssl.TLSVersion | None = None, **options: Any
    ) -> connect:
        context = self.certificate.client(version)
        return connect(
            self.ws_url, ssl=context, local_addr=(source, 0), max_size=None, proxy=None, **options
        )

    def open(self, source: str = ALICE) -> ssl.SSLSocket:
        """A TLS connection without a word of HTTP."""
        sock = socket.socket()
        sock.settimeout(20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", self.port))
        return self.certificate.client().wrap_socket(sock, server_hostname="127.0.0.1")

    async def ask(self, source: str = ALICE, **headers: str) -> tuple[int, Any]:
        """Status and answer of a `serverInfo` request."""
        return await anyio.to_thread.run_sync(lambda: self._ask(source, headers))

    def _ask(self, source: str, headers: dict[str, str]) -> tuple[int, Any]:
        client = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, source_address=(source, 0),
            context=self.certificate.client(),
        )  # fmt: skip
        try:
            client.request("POST", "/info", LIVE, headers)
            answer = client.getresponse()
            return answer.status, json.load(answer)
        finally:
            client.close()

    async def answer(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of what these bytes are answered with."""
        return await anyio.to_thread.run_sync(self._answer, request)

    def _answer(self, request: bytes) -> tuple[int, bytes]:
        with self.open() as sock:
            with suppress(OSError):  # refused before all of it was sent
                sock.sendall(request)
            with closing(http.client.HTTPResponse(sock)) as answer:
                answer.begin()
                return answer.status, answer.read()


def read_all(sock: ssl.SSLSocket) -> bytes:
    found = bytearray()
    while more := sock.recv(1 << 16):
        found += more
    return bytes(found)
