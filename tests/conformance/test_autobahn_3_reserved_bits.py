"""Autobahn's section 3: without an extension, a frame with a reserved bit fails the connection.
What was complete before is echoed (leaving that out would be NON-STRICT), the Ping behind is not
answered.
"""

import pytest

from tests.conformance.casebook import FRAMES, OCTETS, PROTOCOL_ERROR, Case, echo_of, ping, play
from tests.conformance.frame_client import BINARY, CLOSE, PING, TEXT, frame, text

_HELLO = b"Hello, world!"


def _behind_an_echo(rsv: int, chop: int = 0) -> Case:
    sent = (text(_HELLO), frame(TEXT, _HELLO, rsv=rsv), ping())
    return Case(sent, (echo_of(_HELLO),), PROTOCOL_ERROR, chop)


CASES = {
    "3.1": Case((frame(TEXT, _HELLO, rsv=1),), closed=PROTOCOL_ERROR),
    "3.2": _behind_an_echo(2),
    "3.3": _behind_an_echo(3, FRAMES),
    "3.4": _behind_an_echo(4, OCTETS),
    "3.5": Case((frame(BINARY, b"\x00\xff\xfe\xfd", rsv=5),), closed=PROTOCOL_ERROR),
    "3.6": Case((frame(PING, _HELLO, rsv=6),), closed=PROTOCOL_ERROR),
    "3.7": Case((frame(CLOSE, rsv=7),), closed=PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)
