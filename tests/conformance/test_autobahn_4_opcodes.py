"""Autobahn's section 4: a frame with a reserved opcode, 3 to 7 (4.1) or 11 to 15 (4.2), fails the
connection. What was complete before is echoed, the Ping behind is not answered.
"""

import pytest

from tests.conformance.casebook import OCTETS, PROTOCOL_ERROR, Case, echo_of, merged, ping, play
from tests.conformance.frame_client import frame, text

_HELLO = b"Hello, world!"


def _section(name: str, opcode: int) -> dict[str, Case]:
    def behind_an_echo(opcode: int, payload: bytes, chop: int = 0) -> Case:
        sent = (text(_HELLO), frame(opcode, payload), ping())
        return Case(sent, (echo_of(_HELLO),), PROTOCOL_ERROR, chop)

    return {
        f"{name}.1": Case((frame(opcode),), closed=PROTOCOL_ERROR),
        f"{name}.2": Case((frame(opcode + 1, b"a payload"),), closed=PROTOCOL_ERROR),
        f"{name}.3": behind_an_echo(opcode + 2, b""),
        f"{name}.4": behind_an_echo(opcode + 3, _HELLO),
        f"{name}.5": behind_an_echo(opcode + 4, _HELLO, OCTETS),
    }


CASES = merged(_section("4.1", 3), _section("4.2", 11))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)
