"""Autobahn's section 9: long messages, whole (9.1, 9.2), in fragments (9.3, 9.4), in small writes
(9.5, 9.6), and many round trips (9.7, 9.8); odd sections are text, even ones binary.

Nothing is reduced: sizes and counts are Autobahn's, which compares lengths only.
"""

from typing import NamedTuple

import pytest

from tests.conformance.casebook import echo_of, end
from tests.conformance.frame_client import BINARY, TEXT, FrameClient, fragments

KIB, MIB = 1 << 10, 1 << 20
ROUND_TRIPS = 1000

_PATTERN = {TEXT: b"BAsd7&jh23", BINARY: b"\x00\xfe\x23\xfa\xf0"}


class Case(NamedTuple):
    """A message, and how often it is sent and heard."""

    opcode: int
    size: int
    fragment: int = 16 * MIB  # bytes of a frame
    chop: int = 0  # bytes of a write
    times: int = 1


def _section(name: str, *cases: Case) -> dict[str, Case]:
    return {f"{name}.{number}": case for number, case in enumerate(cases, 1)}


def _whole(opcode: int) -> list[Case]:
    return [Case(opcode, size) for size in (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB)]


def _fragmented(opcode: int) -> list[Case]:
    sizes = (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)
    return [Case(opcode, 4 * MIB, fragment=size) for size in sizes]


def _chopped(opcode: int) -> list[Case]:
    return [Case(opcode, MIB, chop=chop) for chop in (64, 128, 256, 512, 1024, 2048)]


def _round_trips(opcode: int) -> list[Case]:
    return [Case(opcode, size, times=ROUND_TRIPS) for size in (0, 16, 64, 256, 1024, 4096)]


CASES: dict[str, Case] = {
    **_section("9.1", *_whole(TEXT)),
    **_section("9.2", *_whole(BINARY)),
    **_section("9.3", *_fragmented(TEXT)),
    **_section("9.4", *_fragmented(BINARY)),
    **_section("9.5", *_chopped(TEXT)),
    **_section("9.6", *_chopped(BINARY)),
    **_section("9.7", *_round_trips(TEXT)),
    **_section("9.8", *_round_trips(BINARY)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    pattern = _PATTERN[case.opcode]
    payload = (pattern * (case.size // len(pattern) + 1))[: case.size]
    sent = b"".join(fragments(case.opcode, payload, case.fragment))
    with FrameClient(echo_port) as client:
        for _ in range(case.times):
            client.send(sent, case.chop)
            assert client.hear() == echo_of(payload, case.opcode)
        end(client)
