"""Autobahn's section 13: compressed messages in 18 sizes and cuttings, with seven sets of offers.

What the server sends has a window of 12 bits and no memory, for it is shared by all clients. So an
offer that wants a smaller window is declined (13.3, 13.5: UNIMPLEMENTED, which RFC 7692 section 5
allows), and of several offers the first that can be kept is taken (13.7).

Reduced: 8 messages of a case instead of 1000, and data that is made here.
"""

from typing import NamedTuple

import pytest

from tests.conformance.compression import SHAPES, Shape, converse, json_record, repeated

_DEFAULT = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
_FORGETS = f"{_DEFAULT}; server_no_context_takeover"
_TAKEN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
_TAKEN_15 = f"{_TAKEN}; server_max_window_bits=15"
_DECLINED = None


class Parameters(NamedTuple):
    """What a client offers and is answered."""

    offer: str
    answer: str | None


SETS = {
    "13.1": Parameters(_DEFAULT, _TAKEN),
    "13.2": Parameters(_FORGETS, _TAKEN),
    "13.3": Parameters(f"{_DEFAULT}; server_max_window_bits=9", _DECLINED),
    "13.4": Parameters(f"{_DEFAULT}; server_max_window_bits=15", _TAKEN_15),
    "13.5": Parameters(f"{_FORGETS}; server_max_window_bits=9", _DECLINED),
    "13.6": Parameters(f"{_FORGETS}; server_max_window_bits=15", _TAKEN_15),
    "13.7": Parameters(
        f"{_FORGETS}; server_max_window_bits=9, {_FORGETS}, {_DEFAULT}",
        _TAKEN,
    ),
}

CASES = {
    f"{name}.{number}": (parameters, shape)
    for name, parameters in SETS.items()
    for number, shape in enumerate(SHAPES, 1)
}

_DATA = repeated(json_record)


@pytest.mark.parametrize(("parameters", "shape"), CASES.values(), ids=CASES)
def test_case(parameters: Parameters, shape: Shape, echo_port: int) -> None:
    converse(echo_port, *parameters, _DATA, shape)
