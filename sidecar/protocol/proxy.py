"""Whose connection it is where a proxy stands in between: PROXY protocol v2, X-Forwarded-For.

    0d0a0d0a 000d0a51 5549540a   21          11              000c      addresses, ports, more
    signature                    v2, PROXY   TCP over IPv4   length of what follows

(https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2; RFC 7239 for what
X-Forwarded-For became.) Both are believed only of proxies that are named in the settings.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from sidecar.errors import HttpRefused
from sidecar.limits import PROXY_HEADER_BYTES_MAX

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
UNIX = "unix"  # the address of whoever comes over a unix socket
_HEAD_BYTES = 16
_LOCAL, _PROXY = 0x20, 0x21
_IP_BYTES = {0x11: 4, 0x21: 16}  # TCP over IPv4, over IPv6


class Behind(NamedTuple):
    """A PROXY header: the client's address, None where the proxy speaks for itself; its length."""

    address: str | None
    size: int


def read_header(data: bytes) -> Behind | None:
    """The PROXY header that `data` begins with, None while it is not whole. O(1).

    Raises `HttpRefused` as soon as no good one can follow.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise HttpRefused(400, "a PROXY protocol v2 header is expected")
    if len(data) < _HEAD_BYTES:
        return None
    command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or length > PROXY_HEADER_BYTES_MAX:
        raise HttpRefused(400, "a PROXY protocol header that makes no sense")
    size = _HEAD_BYTES + length
    if len(data) < size:
        return None
    ip_bytes = _IP_BYTES.get(family)
    if command == _LOCAL or ip_bytes is None:
        return Behind(None, size)
    if length < 2 * ip_bytes + 4:
        raise HttpRefused(400, "a PROXY protocol header without its addresses")
    return Behind(_plain(ip_address(data[16 : 16 + ip_bytes])), size)


class Networks:
    """Addresses of proxies: single ones, networks, and "unix"."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises `ValueError` for a text that is neither."""
        given = set(texts)
        self._unix = UNIX in given
        self._networks = [ip_network(text) for text in sorted(given - {UNIX})]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, address: str) -> bool:
        """O(networks)."""
        if address == UNIX:
            return self._unix
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)


def forwarded_for(values: Sequence[str], trusted: Networks) -> str | None:
    """The client's address by X-Forwarded-For: the last one that no trusted proxy has, since what
    stands before it the client may have written. None where there is none. O(entries).
    """
    found = None
    for entry in reversed(",".join(values).split(",")):
        address = _address(entry.strip(" \t"))
        if address is None:
            break
        found = address
        if address not in trusted:
            break
    return found


def _address(text: str) -> str | None:
    """Without port and brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return _plain(ip_address(text))
    except ValueError:
        return None


def _plain(ip: IPv4Address | IPv6Address) -> str:
    """One text for each address: an IPv4 one in IPv6 clothes is an IPv4 one."""
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return str(mapped or ip)


def counted_as(address: str) -> str:
    """What limits per address count by: of an IPv6 one its /64, which one host has all of."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    plain = _plain(ip)
    if ":" not in plain:
        return plain
    return str(IPv6Network(f"{plain}/64", strict=False))
