"""Autobahn's section 5: messages in fragments, control frames between them, and frames that
continue nothing.
"""

import pytest

from tests.conformance.casebook import (
    FRAMES,
    OCTETS,
    PROTOCOL_ERROR,
    Case,
    echo_of,
    end,
    ping,
    play,
    pong_of,
    say,
)
from tests.conformance.frame_client import PONG, FrameClient, frame, more, text

_ONE, _TWO, _THREE = b"fragment1", b"fragment2", b"fragment3"
_WHOLE = (text(_ONE, fin=False), more(_TWO, fin=True))
_PINGED = (_WHOLE[0], ping(b"ping payload"), _WHOLE[1])
_PONG_THEN_ECHO = (pong_of(b"ping payload"), echo_of(_ONE + _TWO))
_HELLO = text(b"Hello, world!")
_LAST_OF_NOTHING = (more(b"non-continuation payload", fin=True), _HELLO)
_MORE_OF_NOTHING = (more(b"non-continuation payload"), _HELLO)


def _failed(sent: tuple[bytes, ...], chop: int = 0) -> Case:
    return Case(sent, closed=PROTOCOL_ERROR, chop=chop)


CASES = {
    "5.1": _failed((ping(_ONE, fin=False), more(_TWO, fin=True))),
    "5.2": _failed((frame(PONG, _ONE, fin=False), more(_TWO, fin=True))),
    "5.3": Case(_WHOLE, (echo_of(_ONE + _TWO),)),
    "5.4": Case(_WHOLE, (echo_of(_ONE + _TWO),), chop=FRAMES),
    "5.5": Case(_WHOLE, (echo_of(_ONE + _TWO),), chop=OCTETS),
    "5.6": Case(_PINGED, _PONG_THEN_ECHO),
    "5.7": Case(_PINGED, _PONG_THEN_ECHO, chop=FRAMES),
    "5.8": Case(_PINGED, _PONG_THEN_ECHO, chop=OCTETS),
    "5.9": _failed(_LAST_OF_NOTHING),
    "5.10": _failed(_LAST_OF_NOTHING, FRAMES),
    "5.11": _failed(_LAST_OF_NOTHING, OCTETS),
    "5.12": _failed(_MORE_OF_NOTHING),
    "5.13": _failed(_MORE_OF_NOTHING, FRAMES),
    "5.14": _failed(_MORE_OF_NOTHING, OCTETS),
    "5.15": Case(
        (*_WHOLE, more(_THREE), text(b"fragment4")), (echo_of(_ONE + _TWO),), PROTOCOL_ERROR
    ),
    "5.16": _failed((more(_ONE), text(_TWO, fin=False), more(_THREE, fin=True)) * 2),
    "5.17": _failed((more(_ONE, fin=True), text(_TWO, fin=False), more(_THREE, fin=True)) * 2),
    "5.18": _failed((text(_ONE, fin=False), text(_TWO))),
}

# The first Ping is answered before the message is complete: nothing else is sent until then.
CASES_IN_TWO_PARTS = {"5.19": 0, "5.20": FRAMES}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)


@pytest.mark.parametrize("chop", CASES_IN_TWO_PARTS.values(), ids=CASES_IN_TWO_PARTS)
def test_case_in_two_parts(chop: int, echo_port: int) -> None:
    parts = [b"fragment%d" % number for number in range(1, 6)]
    with FrameClient(echo_port) as client:
        say(client, (text(parts[0], fin=False), more(parts[1]), ping(b"pongme 1!")), chop)
        assert client.hear() == pong_of(b"pongme 1!")
        rest = (more(parts[2]), more(parts[3]), ping(b"pongme 2!"), more(parts[4], fin=True))
        say(client, rest, chop)
        assert client.hear() == pong_of(b"pongme 2!")
        assert client.hear() == echo_of(b"".join(parts))
        end(client)
