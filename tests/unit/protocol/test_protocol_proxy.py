"""The client's address behind a proxy, and what a liar can't do to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

PROXIES = Networks(["10.0.0.0/8", "fd00::/8", "unix"])


def header(body: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


V4 = bytes((203, 0, 113, 7, 10, 0, 0, 1)) + b"\x12\x34\x1f\x4a"
V6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(16) + b"\x12\x34\x1f\x4a"
MAPPED = bytes(10) + b"\xff\xff" + bytes((203, 0, 113, 7)) + bytes(16) + b"\x12\x34\x1f\x4a"


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (header(V4), "203.0.113.7"),
        (header(V4 + b"\x03\x00\x04\xde\xad\xbe\xef"), "203.0.113.7"),
        (header(V6, family=0x21), "2001:db8::7"),
        (header(MAPPED, family=0x21), "203.0.113.7"),
        (header(b"", command=0x20, family=0), None),
        (header(bytes(216), family=0x31), None),
        (header(b"", family=0), None),
        (header(V4 + bytes(PROXY_HEADER_BYTES_MAX - len(V4))), "203.0.113.7"),
    ],
)
def test_a_header_says_whose_connection_it_is(data: bytes, address: str | None) -> None:
    for end in range(len(data)):
        assert read_header(data[:end]) is None
    assert read_header(data) == read_header(data + b"GET / ") == Behind(address, len(data))


def test_the_bytes_of_the_specification_are_read() -> None:
    data = bytes.fromhex("0d0a0d0a 000d0a51 5549540a 21 11 000c cb007107 0a000001 1234 1f4a")
    assert read_header(data) == Behind("203.0.113.7", len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /ws HTTP/1.1\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n",
        SIGNATURE[:-1] + b"!",
        header(V4, command=0x11),
        header(V4, command=0x22),
        header(V4[:-1]),
        header(V4, family=0x21),
        SIGNATURE + b"\x21\x11" + (PROXY_HEADER_BYTES_MAX + 1).to_bytes(2, "big"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(HttpRefused) as refused:
        read_header(data)
    assert refused.value.status == 400


@given(data=st.binary(max_size=60), good=st.booleans())
def test_any_bytes_are_a_header_or_not(data: bytes, good: bool) -> None:
    try:
        found = read_header(SIGNATURE + data if good else data)
    except HttpRefused:
        return
    assert found is None or found.size <= len(SIGNATURE) + len(data)


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([], None),
        ([""], None),
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:DB8:0::7"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # the first is the client's own word
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 10.1.1.1, fd00::5"], "203.0.113.7"),
        (["nonsense, 10.1.1.1"], "10.1.1.1"),
        (["203.0.113.7, nonsense"], None),
        (["198.51.100.1, X203.0.113.7"], None),
        (["203.0.113.7,\xa010.1.1.1"], None),  # no space of HTTP's
        (["203.0.113.7,\t10.1.1.1 "], "203.0.113.7"),
        (["10.1.1.1"], "10.1.1.1"),
    ],
)
def test_forwarded_for(values: list[str], address: str | None) -> None:
    assert forwarded_for(values, PROXIES) == address


@given(values=st.lists(st.text(max_size=30), max_size=4))
def test_any_header_is_an_address_or_none(values: list[str]) -> None:
    found = forwarded_for(values, PROXIES)
    assert found is None or counted_as(found)


def test_networks() -> None:
    assert "10.200.0.1" in PROXIES
    assert "11.0.0.1" not in PROXIES
    assert "unix" in PROXIES
    assert "nonsense" not in PROXIES
    assert "unix" not in Networks(["10.0.0.1"])
    assert not Networks([])
    assert Networks(["unix"])
    assert Networks(["10.0.0.1"])


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("unix", "unix"),
    ],
)
def test_what_limits_count_by(address: str, key: str) -> None:
    assert counted_as(address) == key
