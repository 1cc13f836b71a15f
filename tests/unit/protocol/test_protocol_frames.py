import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri
from wsproto.connection import CLIENT, Connection
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from sidecar.limits import CLOSE_REASON_BYTES_MAX, DEFLATE_BYTES_MIN
from sidecar.protocol import deflate, frames

LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 70000]


def read_by_websockets(data: bytes, *extensions: Extension) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://test/"), state=State.OPEN, max_size=None)
    client.extensions = list(extensions)
    client.receive_data(data)
    assert client.parser_exc is None
    events = client.events_received()
    assert all(isinstance(event, Frame) for event in events)
    return [event for event in events if isinstance(event, Frame)]


def read_by_wsproto(data: bytes) -> list[object]:
    client = Connection(CLIENT)
    client.receive_data(data)
    return list(client.events())


@pytest.mark.parametrize("length", LENGTHS)
def test_text_of_every_length_form_is_read_by_both_clients(length: int) -> None:
    payload = b"x" * length
    frame = frames.text(payload)
    assert type(frame) is bytes  # P38: a transport keeps a reference
    assert [(f.opcode, f.data, f.fin) for f in read_by_websockets(frame)] == [
        (Opcode.TEXT, payload, True)
    ]
    text = "".join(e.data for e in read_by_wsproto(frame) if isinstance(e, TextMessage))
    assert text.encode() == payload


DEFLATED = [  # lengths and how many letters: deflated, they are of each form of length
    (DEFLATE_BYTES_MIN, 1),
    (200, 1),
    (70_000, 1),
    (90_000, 200),
    (400_000, 256),
]


@pytest.mark.parametrize(("length", "letters"), DEFLATED)
def test_what_is_deflated_is_read_by_who_took_the_extension(length: int, letters: int) -> None:
    chance = random.Random(length)
    payload = bytes(chance.choices(range(32, min(127, 32 + letters)), k=length))
    frame = frames.deflated(frames.text(payload))
    assert len(frame) < length
    (read,) = read_by_websockets(frame, PerMessageDeflate(True, True, 15, 15))
    assert (read.opcode, read.data, read.fin) == (Opcode.TEXT, payload, True)


@pytest.mark.parametrize("form", [125, 126, 65_535, 65_536])
def test_deflated_lengths_have_the_shortest_form(
    form: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deflate, "compress", lambda payload: payload[:form])
    frame = frames.deflated(frames.text(bytes(65_600)))
    heads = {125: b"\xc1\x7d", 126: b"\xc1\x7e\x00\x7e", 65_535: b"\xc1\x7e\xff\xff"}
    assert frame == heads.get(form, b"\xc1\x7f" + (65_536).to_bytes(8, "big")) + bytes(form)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_where_compressing_does_not_pay_the_frame_stays_as_it_is(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is the payload that is looked at, whatever the form of the length before it."""
    seen: list[bytes] = []
    monkeypatch.setattr(deflate, "compress", seen.append)
    frame = frames.text(bytes(length))
    assert frames.deflated(frame) is frame
    assert seen == [bytes(length)]


@given(st.lists(st.text(max_size=300), max_size=5))
def test_frames_written_one_after_another_are_read_as_such(texts: list[str]) -> None:
    data = b"".join(frames.text(text.encode()) for text in texts)
    assert [bytes(frame.data).decode() for frame in read_by_websockets(data)] == texts


@pytest.mark.parametrize("length", [0, 1, 125])
@pytest.mark.parametrize(
    ("make", "opcode", "kind"),
    [(frames.ping, Opcode.PING, Ping), (frames.pong, Opcode.PONG, Pong)],
)
def test_control_frames_are_read_by_both_clients(
    make: Callable[[bytes], bytes], opcode: Opcode, kind: type[Ping | Pong], length: int
) -> None:
    payload = b"p" * length
    assert [(f.opcode, f.data) for f in read_by_websockets(make(payload))] == [(opcode, payload)]
    (event,) = read_by_wsproto(make(payload))
    assert isinstance(event, kind)
    assert event.payload == payload


def test_a_control_frame_of_126_bytes_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="125"):
        frames.ping(b"p" * 126)


def test_close_is_read_by_both_clients() -> None:
    frame = frames.close(1013, "trades BTC: resume from 4711")
    (read,) = read_by_websockets(frame)
    assert read.opcode is Opcode.CLOSE
    assert read_by_wsproto(frame) == [CloseConnection(1013, "trades BTC: resume from 4711")]


def test_close_without_a_code_is_empty() -> None:
    assert frames.close(1005, "not sent") == b"\x88\x00"


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000])
def test_p34_a_code_that_must_not_be_sent_is_our_bug(code: int) -> None:
    with pytest.raises(AssertionError, match="wire"):
        frames.close(code, "")


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_a_close_reason_is_cut_between_characters(reason: str) -> None:
    payload = frames.close(1000, reason)[2:]
    cut = payload[2:].decode("utf-8")  # strict
    assert len(payload) <= 125
    assert reason.encode("utf-8", "replace").decode().startswith(cut)


def test_a_close_reason_keeps_all_that_fits() -> None:
    assert len(frames.close(1000, "x" * 500)) == 2 + 2 + CLOSE_REASON_BYTES_MAX
    assert frames.close(1000, "é" * 62)[4:] == "é".encode() * 61  # 123 is odd: the 62nd is halved


def test_a_close_has_no_reason_unless_it_is_given_one() -> None:
    assert frames.close(1000) == b"\x88\x02\x03\xe8"


def test_what_has_no_utf_8_is_a_question_mark_in_a_reason() -> None:
    assert frames.close(1000, "a\ud800\udfffz")[4:] == b"a??z"
