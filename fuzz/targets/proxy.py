"""What proxies say: a PROXY header is read at its last byte and not before, or refused, the same
however it is cut; an address is one that `ipaddress` writes, or there is none.
"""

from ipaddress import ip_address
from itertools import accumulate

from cutting import ways
from sidecar.errors import HttpRefused
from sidecar.limits import PROXY_HEADER_BYTES_MAX
from sidecar.protocol.proxy import (
    SIGNATURE,
    Behind,
    Networks,
    counted_as,
    forwarded_for,
    read_header,
)

AIMED_AT = ("sidecar.protocol.proxy",)
TOKENS = (
    *(SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c", SIGNATURE + b"\x21\x21\x00\x24"),
    *(SIGNATURE + b"\x20\x00\x00\x00", b"\x21\x31", b"\x00\x0c", b"127.0.0.1", b"10.1.2.3"),
    *(b"[2001:db8::1]:443", b"::ffff:1.2.3.4", b"fe80::1%eth0", b"unix", b", ", b"1.2.3.4:80"),
)
_TRUSTED = Networks(["10.0.0.0/8", "2001:db8::/32", "127.0.0.1", "unix"])


def check(data: bytes) -> None:
    """The bytes as a header, and as text as an X-Forwarded-For."""
    first, *others = [_read(list(accumulate(pieces))) for pieces in ways(data)]
    assert all(other == first for other in others)
    if isinstance(first, Behind):
        assert first.size <= 16 + PROXY_HEADER_BYTES_MAX
        assert first.size <= len(data)
        _check_address(first.address)
        assert read_header(data[: first.size - 1]) is None
    _check_forwarded(data.decode("latin-1"))


def _read(prefixes: list[bytes]) -> Behind | str | None:
    """What comes of a header that grows."""
    found = None
    for data in prefixes:
        try:
            found = read_header(data)
        except HttpRefused as refusal:
            assert refusal.status == 400
            return str(refusal)
        if found is not None:
            return found
    return found


def _check_forwarded(text: str) -> None:
    _check_address(forwarded_for(text.split("\n"), _TRUSTED))
    for word in (text, text.rpartition(",")[2].strip()):
        assert word not in _TRUSTED or word == "unix" or ip_address(word)
        counted = counted_as(word)
        assert counted == word or counted.endswith("/64") or "." in counted


def _check_address(address: str | None) -> None:
    if address is not None:
        assert str(ip_address(address)) == address
        assert counted_as(address)
