"""What the node says on the submission socket: answers, each of which becomes what an order's
sender is told, or a `SubmissionInvalid`; the same however it is cut.
"""

import random
from contextlib import suppress

import msgspec

from cutting import ways
from mutators.records import mutate_records
from sidecar.api.orders.outcomes import executed, refused
from sidecar.errors import SubmissionInvalid
from sidecar.node.submission import Answer, RecordStream, decode_answer, decode_request

AIMED_AT = ("sidecar.node.submission", "sidecar.node.records")
_RECORD_BYTES_MAX = 1 << 12


def check(data: bytes) -> None:
    """As answers, and each record as a request, too: the development chain reads those."""
    first, *others = [_read(pieces) for pieces in ways(data)]
    assert all(other == first for other in others)
    for answer in first[0]:
        _tell(answer)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other records."""
    return mutate_records(data, rng)


def _read(pieces: list[bytes]) -> tuple[list[Answer], str]:
    records, found = RecordStream(_RECORD_BYTES_MAX), list[Answer]()
    try:
        for piece in pieces:
            records.feed(piece)
            while (payload := records.next_payload()) is not None:
                with suppress(SubmissionInvalid):
                    decode_request(payload)
                found.append(decode_answer(payload))
    except SubmissionInvalid as error:
        return found, str(error)
    return found, ""


def _tell(answer: Answer) -> None:
    """As `server.flights` does: a response that JSON can't say leaves the order's fate unknown."""
    make = executed if answer.ok else refused
    try:
        outcome = make(answer.response, answer.height)
    except (TypeError, ValueError, RecursionError):
        return
    msgspec.json.decode(outcome.body)
    msgspec.json.encode(outcome.as_post())
