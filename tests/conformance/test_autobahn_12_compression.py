"""Autobahn's section 12: compressed messages of five kinds of data in 18 sizes and cuttings, with
the default offer.

Reduced: 8 messages of a case instead of 1000, and data of the same kinds that is made here.
"""

import random

import pytest

from tests.conformance.compression import SHAPES, Data, Shape, converse, json_record, repeated

OFFER = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

_FAUST = "Habe nun ach Philosophie Juristerei und Medizin durchaus studiert mit heißem Bemühn"
_WORDS = _FAUST.split()


def _line_of_a_picture(seeded: random.Random) -> str:
    start = seeded.randrange(128)
    return "".join(chr(start + at // 8 + seeded.randrange(4)) for at in range(512))


def _verse(seeded: random.Random) -> str:
    return " ".join(seeded.choices(_WORDS, k=8)) + "\r\n"


def _element(seeded: random.Random) -> str:
    return f'<li class="row"><a href="/{seeded.randrange(10_000)}">{_verse(seeded)}</a> €</li>\n'


def _object_of_a_document(seeded: random.Random) -> str:
    stream = seeded.randbytes(seeded.randrange(2000)).decode("latin-1")
    return f"{seeded.randrange(1000)} 0 obj << /Filter /FlateDecode >> stream {stream} endstream\n"


KINDS = {
    "12.1": repeated(json_record),
    "12.2": repeated(_line_of_a_picture, binary=True),
    "12.3": repeated(_verse, binary=True),
    "12.4": repeated(_element),
    "12.5": repeated(_object_of_a_document, binary=True),
}

CASES = {
    f"{name}.{number}": (data, shape)
    for name, data in KINDS.items()
    for number, shape in enumerate(SHAPES, 1)
}


@pytest.mark.parametrize(("data", "shape"), CASES.values(), ids=CASES)
def test_case(data: Data, shape: Shape, echo_port: int) -> None:
    converse(echo_port, OFFER, ANSWER, data, shape)
