"""JSON that is made to hurt: nested, with endless numbers, with the same keys a thousand times."""

import json

import msgspec
import pytest

from blocks import TOYOTA, block
from sidecar.api.channels import Channels
from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.api.requests import Subscribe, decode_json, decode_request
from sidecar.errors import RequestInvalid
from sidecar.limits import MESSAGE_BYTES_MAX, REQUEST_BODY_BYTES_MAX
from sidecar.state.chain import ChainState

HALF = REQUEST_BODY_BYTES_MAX // 2
DEEP = {
    "arrays": "[" * HALF + "]" * HALF,
    "arrays without an end": "[" * REQUEST_BODY_BYTES_MAX,
    "objects": '{"a":' * (HALF // 5) + "1" + "}" * (HALF // 5),
}
LONG = {
    "digits": "9" * REQUEST_BODY_BYTES_MAX,
    "a negative number": "-" + "9" * HALF,
    "an exponent": "1e" + "9" * HALF,
    "a large exponent": "1e999999",
}
WIDE = {
    "one key again and again": "{" + ",".join(['"a":1'] * (HALF // 6)) + "}",
    "many keys": json.dumps({str(i): i for i in range(5_000)}),
    "large integers": json.dumps([10**4_000] * 15),
}


def subscription(value: str) -> str:
    return f'{{"method": "subscribe", "subscription": {{"type": "trades", "coin": {value}}}}}'


@pytest.mark.parametrize("what", [*DEEP, *LONG])
def test_what_cannot_be_read_is_said(what: str) -> None:
    text = (DEEP | LONG)[what]
    with pytest.raises(RequestInvalid, match="not JSON"):
        decode_json(text.encode())
    for request in (subscription(text[: MESSAGE_BYTES_MAX - 100]), f'{{"method": {text}}}'):
        with pytest.raises(RequestInvalid):
            decode_request(request)


@pytest.mark.parametrize("what", sorted(WIDE))
@pytest.mark.parametrize("depth", [0, 300])
def test_what_can_be_read_is_refused_for_what_it_is(what: str, depth: int) -> None:
    """Also where it is nested, but not deeply enough for the reader to refuse it."""
    state = ChainState()
    state.apply(block(1, TOYOTA))
    value = "[" * depth + WIDE[what] + "]" * depth
    with pytest.raises(RequestInvalid) as error:
        answer_info(state, decode_json(value.encode()))
    assert len(str(error.value)) < 2_000
    with pytest.raises(RequestInvalid) as error:
        answer_info(state, decode_json(f'{{"type": "l2Book", "coin": {value}}}'.encode()))
    assert len(str(error.value)) < 2_000
    request = decode_request(subscription(value))
    assert isinstance(request, Subscribe)
    with pytest.raises(RequestInvalid) as error:
        Channels(state).resolve(request.subscription)
    assert len(str(error.value)) < 2_000


def test_an_id_of_thousands_of_digits_comes_back_as_it_is() -> None:
    number = 10**4_000
    assert msgspec.json.decode(encode({"id": number})) == {"id": number}
