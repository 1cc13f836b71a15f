"""Fuzz targets: each takes any bytes and holds one invariant. What it lets pass is the
specification.

`python fuzz/run.py websocket` runs one with atheris, guided by coverage;
`tests/unit/test_fuzz_targets.py` runs all of them for a moment with hypothesis.
"""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from sidecar.api.orders.admission import Admission, read_action
from sidecar.api.orders.signing import decode_signed, recover, signed_digest
from sidecar.api.requests import decode_request
from sidecar.errors import (
    HttpRefused,
    LogCorrupt,
    LogGap,
    PeerError,
    RequestInvalid,
    SubmissionInvalid,
)
from sidecar.limits import MESSAGE_BYTES_MAX
from sidecar.node.log import FORMAT, LogReader, SegmentHeader
from sidecar.node.records import frame
from sidecar.node.submission import Answer, RecordStream, decode_answer
from sidecar.protocol.http import HttpConnection
from sidecar.protocol.websocket import CloseReceived, Message, Violation, WebSocketConnection
from sidecar.state.chain import ChainState


def websocket(data: bytes) -> None:
    """However a client's bytes are cut, the same messages and the same end; nothing is raised."""
    _same_however_cut(data, deflate=False)


def compressed(data: bytes) -> None:
    """Likewise where the client may compress; no message is longer than the limit."""
    _same_however_cut(data, deflate=True)


def http(data: bytes) -> None:
    """Requests or one refusal with a status, the same however the bytes are cut."""
    assert _http_outcome(data, 1 << 20) == _http_outcome(data, 1) == _http_outcome(data, 7)


def request(data: bytes) -> None:
    """A client's text is a request or a `RequestInvalid`."""
    with suppress(RequestInvalid):
        decode_request(data.decode(errors="replace"))


def log(data: bytes) -> None:
    """Whatever stands in a segment, it is blocks of rising height, silence, `LogCorrupt` or
    `LogGap`.
    """
    with tempfile.TemporaryDirectory() as directory:
        header = frame(msgspec.msgpack.encode(SegmentHeader(FORMAT, "fuzz", 1, 0)))
        (Path(directory) / f"{1:020d}.seg").write_bytes(header + data + frame(data or b"x"))
        with LogReader(Path(directory)) as reader:
            try:
                while (block := reader.next_block()) is not None:
                    assert block.height == reader.height
            except (LogCorrupt, LogGap) as error:
                assert error.path is not None


def action(data: bytes) -> None:
    """What is posted as a signed action is one, somebody's, or a refusal; what is an action in
    itself is asked every rule.
    """
    with suppress(PeerError):
        signed = decode_signed(data)
        made = read_action(signed, data)
        _ADMISSION.check(made, bytes(20))
        made.touches(recover(signed_digest(signed), signed.signature))


def answers(data: bytes) -> None:
    """Whatever the node says is answers or a `SubmissionInvalid`, the same however it is cut."""
    assert _answers(data, 1 << 20) == _answers(data, 1) == _answers(data, 7)


def _answers(data: bytes, step: int) -> list[Answer]:
    records, found = RecordStream(1 << 16), list[Answer]()
    with suppress(SubmissionInvalid):
        for start in range(0, len(data), step):
            records.feed(data[start : start + step])
            while (payload := records.next_payload()) is not None:
                found.append(decode_answer(payload))
    return found


_ADMISSION = Admission(ChainState(), frozenset(), lambda _: False)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "websocket": websocket,
    "compressed": compressed,
    "http": http,
    "request": request,
    "log": log,
    "action": action,
    "answers": answers,
}


def _same_however_cut(data: bytes, *, deflate: bool) -> None:
    whole = _websocket_events([data], deflate=deflate)
    bytewise = [data[at : at + 1] for at in range(len(data))]
    assert whole == _websocket_events(bytewise, deflate=deflate)
    half = len(data) // 2
    assert whole == _websocket_events([data[:half], data[half:]], deflate=deflate)


def _websocket_events(pieces: list[bytes], *, deflate: bool) -> tuple[list[str], bool]:
    connection = WebSocketConnection(deflate=deflate)
    events = [event for piece in pieces for event in connection.receive(piece)]
    messages = [event.data for event in events if isinstance(event, Message)]
    assert all(len(message.encode()) <= MESSAGE_BYTES_MAX for message in messages)
    ended = any(isinstance(event, CloseReceived | Violation) for event in events)
    return messages, ended


def _http_outcome(data: bytes, step: int) -> tuple[list[str], int | None]:
    connection, targets = HttpConnection(), []
    try:
        while not connection.closed and not connection.should_close:
            found = connection.next_request()
            if found is not None:
                targets.append(found.target)
                connection.respond(200, b"{}")
            elif not connection.closed and not connection.should_close:
                size = min(step, connection.room())
                piece, data = data[:size], data[size:]
                connection.receive(piece)
    except HttpRefused as refusal:
        assert connection.refuse(refusal).startswith(b"HTTP/1.1 %d " % refusal.status)
        return targets, refusal.status
    return targets, None
