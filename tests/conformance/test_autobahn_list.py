"""Autobahn runs 517 cases; each of them is here."""

from tests.conformance import test_autobahn_1_framing as framing
from tests.conformance import test_autobahn_2_pings as pings
from tests.conformance import test_autobahn_3_reserved_bits as reserved_bits
from tests.conformance import test_autobahn_4_opcodes as opcodes
from tests.conformance import test_autobahn_5_fragmentation as fragmentation
from tests.conformance import test_autobahn_6_utf8 as utf8
from tests.conformance import test_autobahn_7_close as closing
from tests.conformance import test_autobahn_9_limits as limits
from tests.conformance import test_autobahn_10_auto_fragmentation as auto_fragmentation
from tests.conformance import test_autobahn_12_compression as compression
from tests.conformance import test_autobahn_13_parameters as parameters

# How many cases a section has; there are no sections 8 and 11, and 7 and 9 have gaps.
SECTIONS = (
    {"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20}
    | {"6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4}
    | {"6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5}
    | {"6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7}
    | {"7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2}
    | {"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1}
    | {f"12.{kind}": 18 for kind in range(1, 6)}
    | {f"13.{parameters}": 18 for parameters in range(1, 8)}
)


def test_every_case_is_here() -> None:
    named = [
        *framing.CASES,
        *pings.CASES,
        *reserved_bits.CASES,
        *opcodes.CASES,
        *fragmentation.CASES,
        *fragmentation.CASES_IN_TWO_PARTS,
        *utf8.CASES,
        *utf8.FAIL_FAST_IN_FRAMES,
        *utf8.FAIL_FAST_IN_CHOPS,
        *closing.CASES,
        *limits.CASES,
        *auto_fragmentation.CASES,
        *compression.CASES,
        *parameters.CASES,
    ]
    wanted = [f"{name}.{at}" for name, count in SECTIONS.items() for at in range(1, count + 1)]
    assert len(named) == 517
    assert sorted(named) == sorted(wanted)
