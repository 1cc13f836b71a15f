"""A case of a conformance suite: what is sent, what must be heard, who ends the connection and how.

Verdicts are Autobahn's: a case that tells OK from NON-STRICT there must be OK here.
"""

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from tests.conformance.frame_client import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameClient,
    Heard,
    close,
    frame,
)

NORMAL, PROTOCOL_ERROR, NO_CODE, INVALID_PAYLOAD = 1000, 1002, 1005, 1007

OCTETS = 1  # a `chop` of one octet
FRAMES = -1  # one write for each frame


class Case(NamedTuple):
    """`sent` frames; the server must answer with exactly `heard`, then with one Close, and end."""

    sent: tuple[bytes, ...]
    heard: tuple[Heard, ...] = ()
    closed: int = 0  # the code of the server's Close; 0: it waits for ours
    chop: int = 0  # bytes of a write; 0: all in one


def echo_of(payload: bytes, opcode: int = TEXT) -> Heard:
    """The message again."""
    return Heard(opcode, payload)


def pong_of(payload: bytes) -> Heard:
    """The answer to a Ping."""
    return Heard(PONG, payload)


def ping(payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A Ping."""
    return frame(PING, payload, fin=fin)


def binary(payload: bytes) -> bytes:
    """A binary message."""
    return frame(BINARY, payload)


def play(case: Case, port: int) -> None:
    """Plays it on a connection of its own."""
    with FrameClient(port) as client:
        say(client, case.sent, case.chop)
        heard = [client.hear() for _ in case.heard]
        assert heard == list(case.heard)
        if case.closed:
            assert closed_with(client) == case.closed
        else:
            end(client)


def say(client: FrameClient, frames: Iterable[bytes], chop: int = 0) -> None:
    """Sends frames, cut as told."""
    if chop == FRAMES:
        for one in frames:
            client.send(one)
    else:
        client.send(b"".join(frames), chop)


def closed_with(client: FrameClient) -> int:
    """The code of the server's Close, 1005 if it has none. Nothing comes before or after it."""
    (last,) = client.hear_all()
    assert last.opcode == CLOSE, last
    return int.from_bytes(last.payload[:2], "big") if last.payload else NO_CODE


def end(client: FrameClient) -> None:
    """A clean end: our Close is answered with the same code, and the server ends first."""
    client.send(close(NORMAL))
    assert client.hear_all() == [Heard(CLOSE, NORMAL.to_bytes(2, "big"))]


def merged(*tables: dict[str, Case]) -> dict[str, Case]:
    """Tables as one."""
    return dict(chain.from_iterable(table.items() for table in tables))
