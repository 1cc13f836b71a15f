"""Autobahn's section 1: text (1.1) and binary messages (1.2) of every form of length."""

import pytest

from tests.conformance.casebook import Case, binary, echo_of, merged, play
from tests.conformance.frame_client import BINARY, text

LENGTHS = (0, 125, 126, 127, 128, 65_535, 65_536, 65_536)
CHOP = 997  # of the last of each

CASES = merged(
    {
        f"1.1.{number}": Case(
            (text(b"*" * length),), (echo_of(b"*" * length),), chop=CHOP if number == 8 else 0
        )
        for number, length in enumerate(LENGTHS, 1)
    },
    {
        f"1.2.{number}": Case(
            (binary(b"\xfe" * length),),
            (echo_of(b"\xfe" * length, BINARY),),
            chop=CHOP if number == 8 else 0,
        )
        for number, length in enumerate(LENGTHS, 1)
    },
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)
