"""Autobahn's section 7: the closing handshake, begun by the client.

7.1: what comes behind a Close is ignored; 7.3: payloads of every length; 7.5: a reason that is not
UTF-8; 7.7: valid codes are echoed; 7.9: invalid ones are answered with 1002, as 7.3.2 and 7.3.6
are. 7.1.6 and 7.13 are INFORMATIONAL: no answer is wrong; what is held here is ours.
"""

import pytest

from tests.conformance.casebook import (
    INVALID_PAYLOAD,
    NO_CODE,
    NORMAL,
    PROTOCOL_ERROR,
    Case,
    echo_of,
    merged,
    ping,
    play,
)
from tests.conformance.frame_client import CLOSE, close, frame, more, text

_HELLO = b"Hello World!"
_LONG = b"BAsd7&jh23" * 26_215  # 256 KiB
_NOT_UTF_8 = "κόσμε".encode() + b"\xed\xa0\x80edited"

_VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
_INVALID = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)

CASES = merged(
    {
        "7.1.1": Case((text(_HELLO),), (echo_of(_HELLO),)),
        "7.1.2": Case((close(NORMAL), close()), closed=NORMAL),
        "7.1.3": Case((close(NORMAL), ping()), closed=NORMAL),
        "7.1.4": Case((close(NORMAL), text(_HELLO)), closed=NORMAL),
        "7.1.5": Case(
            (text(b"fragment1", fin=False), close(NORMAL), more(b"fragment2", fin=True)),
            closed=NORMAL,
        ),
        "7.1.6": Case(
            (text(_LONG[: 256 << 10]), text(_HELLO), close(NORMAL), ping()),
            (echo_of(_LONG[: 256 << 10]), echo_of(_HELLO)),
            NORMAL,
        ),
        "7.3.1": Case((close(),), closed=NO_CODE),
        "7.3.2": Case((frame(CLOSE, b"a"),), closed=PROTOCOL_ERROR),
        "7.3.3": Case((close(NORMAL),), closed=NORMAL),
        "7.3.4": Case((close(NORMAL, _HELLO),), closed=NORMAL),
        "7.3.5": Case((close(NORMAL, b"*" * 123),), closed=NORMAL),
        "7.3.6": Case((close(NORMAL, b"*" * 124),), closed=PROTOCOL_ERROR),
        "7.5.1": Case((close(NORMAL, _NOT_UTF_8),), closed=INVALID_PAYLOAD),
    },
    {f"7.7.{at}": Case((close(code),), closed=code) for at, code in enumerate(_VALID, 1)},
    {
        f"7.9.{at}": Case((close(code),), closed=PROTOCOL_ERROR)
        for at, code in enumerate(_INVALID, 1)
    },
    {
        "7.13.1": Case((close(5000),), closed=PROTOCOL_ERROR),
        "7.13.2": Case((close(65_535),), closed=PROTOCOL_ERROR),
    },
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)
