"""The submission socket's language: whatever the stream is cut into, whatever is in it."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import SubmissionInvalid
from sidecar.node.records import frame
from sidecar.node.submission import (
    Answer,
    RecordStream,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

NATURALS = st.integers(0, 2**64 - 1)
REQUESTS = st.builds(Request, NATURALS, NATURALS, st.binary(max_size=200))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ANSWERS = st.builds(Answer, NATURALS, st.booleans(), NATURALS, JSON)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(one, len(data)) for one in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def read(stream: RecordStream, pieces: list[bytes]) -> list[bytes]:
    found = []
    for piece in pieces:
        stream.feed(piece)
        while (payload := stream.next_payload()) is not None:
            found.append(payload)
    return found


@given(st.lists(REQUESTS, max_size=4), st.lists(st.integers(0, 1000), max_size=12))
def test_requests_survive_every_split(requests: list[Request], cuts: list[int]) -> None:
    data = b"".join(map(encode_request, requests))
    payloads = read(RecordStream(1 << 16), cut(data, cuts))
    assert [decode_request(payload) for payload in payloads] == requests


@given(ANSWERS)
def test_answers_come_back(answer: Answer) -> None:
    (payload,) = read(RecordStream(1 << 16), [encode_answer(answer)])
    assert decode_answer(payload) == answer


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_are_a_record_or_an_error_in_words(pieces: list[bytes]) -> None:
    try:
        for payload in read(RecordStream(64), pieces):
            decode_request(payload)
    except SubmissionInvalid as error:
        assert str(error)  # noqa: PT017


@given(st.binary(max_size=60))
def test_any_payload_is_a_message_or_an_error(payload: bytes) -> None:
    for decode in (decode_request, decode_answer):
        try:
            decode(payload)
        except SubmissionInvalid as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\0\0\0\0\0", "a record of 0 bytes"),
        (b"\x41\0\0\0\0\0\0\0", "a record of 65 bytes; it takes 1 to 64"),
        (b"\xff\xff\xff\xff\0\0\0\0", "a record of 4294967295 bytes"),
        (b"\x01\0\0\0\0\0\0\0x", "CRC"),
    ],
)
def test_what_can_be_no_record_is_refused_at_once(data: bytes, message: str) -> None:
    with pytest.raises(SubmissionInvalid, match=message):
        read(RecordStream(64), [data])


@pytest.mark.parametrize("value", [[1, 2], [-1, 0, b""], [0, 0, "text"], {}, [1.5, 0, b""], None])
def test_what_is_no_request_says_so(value: Any) -> None:
    (payload,) = read(RecordStream(64), [frame(msgspec.msgpack.encode(value))])
    with pytest.raises(SubmissionInvalid, match="not a request"):
        decode_request(payload)


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    payload = msgspec.msgpack.encode([7, 8, b"body", "more"])
    assert decode_request(payload) == Request(7, 8, b"body")
