"""The submission socket's language: signed actions to the node, results back (docs/node-log.md).

Records as the log's, one a message:

    to the node    [request_id, received_ns, body]           body: signed JSON, byte for byte
    back           [request_id, ok, height, response]        a message where it is not ok; height 0:
                                                             no block saw it

Many may be in flight, answers come in any order. Pure: bytes in, messages out.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecar.errors import SubmissionInvalid
from sidecar.node.block_records import UNDECODABLE
from sidecar.node.records import HEAD_BYTES, crc32c, frame, unpack_head

_Natural = Annotated[int, Meta(ge=0)]


class Request(msgspec.Struct, array_like=True, frozen=True):
    """An action. `request_id` is the client's, unique among its requests in flight; `received_ns`
    is when the client had it from whoever signed it, ns since the epoch.
    """

    request_id: _Natural
    received_ns: _Natural
    body: bytes


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What became of it: the exchange endpoint's `response` where `ok`, else a message."""

    request_id: _Natural
    ok: bool
    height: _Natural
    response: Any


class RecordStream:
    """Takes records out of a stream of bytes, however it is cut."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: of a record's payload."""
        self._bytes_max = bytes_max
        self._waiting = bytearray()

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        self._waiting += data

    def next_payload(self) -> bytes | None:
        """The payload of the next whole record, None while there is none. O(payload).

        Raises `SubmissionInvalid` as soon as no good record can follow.
        """
        if len(self._waiting) < HEAD_BYTES:
            return None
        length, crc = unpack_head(self._waiting[:HEAD_BYTES])
        if not 0 < length <= self._bytes_max:
            raise SubmissionInvalid(f"a record of {length} bytes; it takes 1 to {self._bytes_max}")
        end = HEAD_BYTES + length
        if len(self._waiting) < end:
            return None
        payload = bytes(self._waiting[HEAD_BYTES:end])
        if crc32c(payload) != crc:
            raise SubmissionInvalid("a record whose CRC does not match")
        del self._waiting[:end]
        return payload


_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


def encode_request(request: Request) -> bytes:
    """A request as a record. Raises `NumberInvalid` for one over 64 MiB."""
    return frame(_encode(request))


def encode_answer(answer: Answer) -> bytes:
    """An answer as a record."""
    return frame(_encode(answer))


def decode_request(payload: bytes) -> Request:
    """A request of a record's payload. Raises `SubmissionInvalid`."""
    try:
        return _decode_request(payload)
    except UNDECODABLE as error:
        raise SubmissionInvalid(f"not a request: {error}") from error


def decode_answer(payload: bytes) -> Answer:
    """An answer of a record's payload. Raises `SubmissionInvalid`."""
    try:
        return _decode_answer(payload)
    except UNDECODABLE as error:
        raise SubmissionInvalid(f"not an answer: {error}") from error
