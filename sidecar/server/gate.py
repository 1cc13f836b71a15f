"""Who comes in: how many, whose connection it is behind a proxy, from which pages, with what token.

accept ─▶ refusal ─▶ enter ─▶ PROXY header ─▶ requests: X-Forwarded-For, Origin ─▶ leave
"""

from collections import Counter

import anyio

from sidecar.errors import HttpRefused
from sidecar.limits import REQUEST_HEAD_TIMEOUT_S
from sidecar.protocol.proxy import Networks, counted_as, forwarded_for, read_header
from sidecar.protocol.request import Request
from sidecar.server.connection import Connection
from sidecar.server.tokens import READ, Tokens
from sidecar.settings import ServerSettings


class Gate:
    """The connections there are, and how many count for each address."""

    def __init__(self, settings: ServerSettings, tokens: Tokens | None = None) -> None:
        self.connections: dict[Connection, None] = {}  # that are in
        self._by_address: Counter[str] = Counter()
        self.adopt(settings, tokens)

    def adopt(self, settings: ServerSettings, tokens: Tokens | None) -> None:
        """Who comes in, and what is asked, from now on is held to these."""
        self._settings = settings
        self._tokens = tokens
        self._trusted = Networks(settings.trusted())
        self._origins = settings.allowed_origins()

    def refusal(self, address: str) -> HttpRefused | None:
        """Why a new connection is refused. A proxy's are counted once they say whose they are."""
        settings = self._settings
        if len(self.connections) >= settings.connections_max:
            return HttpRefused(503, f"the server has its {settings.connections_max} connections")
        if address not in self._trusted and self._is_full(counted_as(address)):
            return self._too_many()
        return None

    def enter(self, connection: Connection) -> None:
        """A connection comes in."""
        self.connections[connection] = None
        connection.limit_key = counted_as(connection.address)
        self._by_address[connection.limit_key] += 1

    def leave(self, connection: Connection) -> None:
        """It has ended."""
        del self.connections[connection]
        self._count_down(connection.limit_key)

    async def read_proxy_header(self, connection: Connection) -> None:
        """Takes the PROXY header that a proxy's connection begins with, where the settings say so.
        Raises `HttpRefused`.
        """
        if not self._settings.proxy_protocol or connection.address not in self._trusted:
            return
        data = b""
        with anyio.move_on_after(REQUEST_HEAD_TIMEOUT_S):
            while (behind := read_header(data)) is None:
                more = await connection.receive()
                if not more:
                    return
                data += more
            connection.put_back(data[behind.size :])
            if behind.address is not None:
                self._move(connection, behind.address)
            return
        raise HttpRefused(408, "the PROXY protocol header took too long")

    def check(self, connection: Connection, request: Request) -> None:
        """Looks at a request before it is answered. Raises `HttpRefused`."""
        if connection.peer in self._trusted and not self._settings.proxy_protocol:
            behind = forwarded_for(request.values("x-forwarded-for"), self._trusted)
            self._move(connection, connection.peer if behind is None else behind)
        origin = request.header("origin")
        if self._origins and origin is not None and origin.lower() not in self._origins:
            raise HttpRefused(403, f"pages of {origin[:100]!r} may not connect here")
        if self._tokens is not None:
            connection.grant = self._tokens.grant(request)
            connection.grant.require(READ)

    def _move(self, connection: Connection, address: str) -> None:
        """The connection is that address's."""
        before, key = connection.limit_key, counted_as(address)
        connection.address = address
        if key == before:
            return
        if address not in self._trusted and self._is_full(key):
            raise self._too_many()
        self._count_down(before)
        connection.limit_key = key
        self._by_address[key] += 1

    def _is_full(self, key: str) -> bool:
        return self._by_address[key] >= self._settings.connections_per_ip

    def _too_many(self) -> HttpRefused:
        return HttpRefused(429, f"{self._settings.connections_per_ip} connections from one address")

    def _count_down(self, key: str) -> None:
        self._by_address[key] -= 1
        if self._by_address[key] <= 0:
            del self._by_address[key]
