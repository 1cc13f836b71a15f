"""Autobahn's section 10: a message that the client's library cuts into frames by itself."""

import pytest

from tests.conformance.casebook import Case, echo_of, play
from tests.conformance.frame_client import TEXT, fragments

_PAYLOAD = b"*" * 65_536

CASES = {"10.1.1": Case(tuple(fragments(TEXT, _PAYLOAD, 1300)), (echo_of(_PAYLOAD),))}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    assert len(case.sent) == 51, "50 frames of 1300 bytes and one with the rest"
    play(case, echo_port)
