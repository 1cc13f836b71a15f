"""Autobahn's section 2: Pings are answered with their payload, Pongs that nobody asked for are
ignored.

2.10 and 2.11 want a Pong for each of ten Pings, which RFC 6455 does not; they get it.
"""

import pytest

from tests.conformance.casebook import OCTETS, PROTOCOL_ERROR, Case, ping, play, pong_of
from tests.conformance.frame_client import PONG, frame

_NOT_UTF_8 = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
_LONGEST = b"\xfe" * 125
_UNASKED = frame(PONG, b"unsolicited pong payload")
_TEN = tuple(b"payload-%d" % number for number in range(10))

CASES = {
    "2.1": Case((ping(),), (pong_of(b""),)),
    "2.2": Case((ping(b"Hello, world!"),), (pong_of(b"Hello, world!"),)),
    "2.3": Case((ping(_NOT_UTF_8),), (pong_of(_NOT_UTF_8),)),
    "2.4": Case((ping(_LONGEST),), (pong_of(_LONGEST),)),
    "2.5": Case((ping(_LONGEST + b"\xfe"),), closed=PROTOCOL_ERROR),
    "2.6": Case((ping(_LONGEST),), (pong_of(_LONGEST),), chop=OCTETS),
    "2.7": Case((frame(PONG),)),
    "2.8": Case((_UNASKED,)),
    "2.9": Case((_UNASKED, ping(b"ping payload")), (pong_of(b"ping payload"),)),
    "2.10": Case(tuple(map(ping, _TEN)), tuple(map(pong_of, _TEN))),
    "2.11": Case(tuple(map(ping, _TEN)), tuple(map(pong_of, _TEN)), chop=OCTETS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)
