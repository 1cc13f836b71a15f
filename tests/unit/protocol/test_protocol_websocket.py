import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri
from wsproto.frame_protocol import FrameProtocol

from sidecar.limits import MESSAGE_BYTES_MAX, MESSAGE_FRAGMENTS_MAX
from sidecar.protocol import frames
from sidecar.protocol.websocket import (
    BinaryMessage,
    CloseReceived,
    Event,
    Message,
    PingReceived,
    PongReceived,
    Violation,
    WebSocketConnection,
)

MASK = b"\x01\x02\x03\x04"
NOT_UTF_8 = "a text or a close reason is not UTF-8"


def a_client() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://test/"), state=State.OPEN, max_size=None)


def sent_by(client: ClientProtocol) -> bytes:
    return b"".join(client.data_to_send())


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """Any client frame, wrong ones included."""
    first = fin << 7 | rsv << 4 | opcode
    if len(payload) < 126:
        head = bytes((first, masked << 7 | len(payload)))
    elif len(payload) < 1 << 16:
        head = bytes((first, masked << 7 | 126)) + len(payload).to_bytes(2, "big")
    else:
        head = bytes((first, masked << 7 | 127)) + len(payload).to_bytes(8, "big")
    if not masked:
        return head + payload
    repeated = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + MASK + mixed.to_bytes(len(payload), "big")


def text(payload: bytes | str, *, fin: bool = True) -> bytes:
    return frame(Opcode.TEXT, payload.encode() if isinstance(payload, str) else payload, fin=fin)


def more(payload: bytes = b"", *, fin: bool = True) -> bytes:
    return frame(Opcode.CONT, payload, fin=fin)


def close(payload: bytes = b"") -> bytes:
    return frame(8, payload)


def received(data: bytes) -> list[Event]:
    return WebSocketConnection().receive(data)


def the_violation(data: bytes) -> Violation:
    event = received(data)[-1]
    assert isinstance(event, Violation)
    return event


def test_a_new_connection_can_send() -> None:
    server = WebSocketConnection()
    assert server.can_send
    assert not server.close_sent
    assert not server.close_received
    assert server.ping(b"p") == frames.ping(b"p")


def test_a_conversation_with_a_real_client() -> None:
    client, server = a_client(), WebSocketConnection()
    client.send_text(b"one")
    client.send_text(b"t", fin=False)
    client.send_ping(b"between")
    client.send_continuation("wö".encode(), fin=True)
    client.send_pong(b"unasked")
    assert server.receive(sent_by(client)) == [
        Message("one"),
        PingReceived(b"between"),
        Message("twö"),
        PongReceived(b"unasked"),
    ]
    client.receive_data(server.pong(b"between") + frames.text(b"{}") + server.ping(b"alive?"))
    assert [event.opcode for event in client.events_received() if isinstance(event, Frame)] == [
        Opcode.PONG,
        Opcode.TEXT,
        Opcode.PING,
    ]
    assert server.receive(sent_by(client)) == [PongReceived(b"alive?")]
    client.send_close(1000, "bye")
    (closing,) = server.receive(sent_by(client))
    assert closing == CloseReceived(1000, "bye")
    assert isinstance(closing, CloseReceived)
    client.receive_data(server.close_reply(closing))
    client.receive_eof()
    assert client.close_rcvd == Close(1000, "")
    assert client.state is State.CLOSED


def test_our_close_is_answered_by_a_real_client() -> None:
    client, server = a_client(), WebSocketConnection()
    client.receive_data(server.close(1013, "trades BTC: resume from 4711"))
    assert client.close_rcvd == Close(1013, "trades BTC: resume from 4711")
    assert server.close_sent
    assert server.receive(sent_by(client)) == [CloseReceived(1013, "trades BTC: resume from 4711")]
    assert server.close_received


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_messages_of_every_length_form(length: int) -> None:
    assert length <= MESSAGE_BYTES_MAX
    assert received(text(b"x" * length)) == [Message("x" * length)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.BINARY, b"{}"), 1003),
        (frame(Opcode.BINARY, b""), 1003),
        (text(b"\xff"), 1007),
        (text(b"\xed\xa0\x80"), 1007),  # a surrogate
        (text(b"\xc3", fin=False) + more(b"("), 1007),
        (text(b"\xc3"), 1007),  # ends within a character
        (close(b"\x03\xe8\xff"), 1007),
        (frame(Opcode.TEXT, b"{}", masked=False), 1002),
        (frame(Opcode.TEXT, b"{}", rsv=4), 1002),
        (frame(Opcode.TEXT, b"{}", rsv=1), 1002),
        (frame(3), 1002),
        (frame(11), 1002),
        (more(b"x"), 1002),
        (text(b"x", fin=False) + text(b"y"), 1002),
        (frame(Opcode.PING, fin=False), 1002),
        (frame(Opcode.PING, b"p" * 126), 1002),
        (b"\x81\xfe\x00\x05" + MASK + b"hello", 1002),  # not the shortest length
        (b"\x81\xff\x80" + bytes(7), 1002),  # a length of 2**63
        (close(b"\x03"), 1002),
        (close(b"\x03\xe7"), 1002),  # 999
        (close(b"\x03\xed"), 1002),  # P34: 1005 is never sent
        (close(b"\x03\xee"), 1002),
        (close(b"\x03\xf6"), 1002),  # P34: wsproto does not know 1014
        (close(b"\x0b\xb7"), 1002),  # 2999
        (close(b"\x13\x88"), 1002),  # 5000
    ],
)
def test_violations(data: bytes, code: int) -> None:
    assert the_violation(data).code == code


def test_a_violation_says_what_is_wrong() -> None:
    assert the_violation(frame(3)) == Violation(1002, "Invalid opcode 0x3")
    assert the_violation(text(b"\xff")) == Violation(1007, NOT_UTF_8)
    assert the_violation(text(b"\xff", fin=False)) == Violation(1007, NOT_UTF_8)


def compressed(payload: bytes, level: int = -1) -> bytes:
    deflater = zlib.compressobj(level, wbits=-15)
    deflated = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return frame(Opcode.TEXT, deflated[:-4], rsv=4)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(Opcode.PING, rsv=4), Violation(1002, "RSV1 on a frame that can't be compressed")),
        (frame(Opcode.TEXT, b"\xff", rsv=4), Violation(1007, "a message can't be inflated")),
        (compressed(b"x" * 101), Violation(1009, "a message is longer than 100 bytes")),
        (compressed(b"\xff"), Violation(1007, NOT_UTF_8)),
        (compressed(b"x" * 100), Message("x" * 100)),
        (compressed(b"x" * 100, level=0), Message("x" * 100)),  # longer than the limit, as it comes
    ],
)
def test_what_is_wrong_with_a_compressed_message_is_said(data: bytes, said: Event) -> None:
    server = WebSocketConnection(deflate=True, message_bytes_max=100)
    assert server.receive(text("before") + data) == [Message("before"), said]
    assert server.can_send is isinstance(said, Message)


def test_what_is_complete_before_a_violation_is_still_reported() -> None:
    events = received(
        text("one") + frame(Opcode.PING, b"p") + text("two") + frame(3) + text("three")
    )
    assert events[:-1] == [Message("one"), PingReceived(b"p"), Message("two")]
    assert isinstance(events[-1], Violation)


def test_what_is_complete_before_a_binary_message_is_still_reported() -> None:
    events = received(text("one") + frame(Opcode.BINARY, b"x") + text("two"))
    assert events == [Message("one"), Violation(1003, "JSON text wanted, not binary")]


def test_where_binary_messages_are_taken_they_are_put_together_likewise() -> None:
    server = WebSocketConnection(binary=True)
    data = (
        frame(Opcode.BINARY, b"\xff\x00", fin=False)
        + frame(Opcode.PING, b"between")
        + more(b"\xfe" * 200)
        + frame(Opcode.BINARY)
        + text("text")
        + frame(Opcode.BINARY, b"next")
    )
    assert server.receive(data) == [
        PingReceived(b"between"),
        BinaryMessage(b"\xff\x00" + b"\xfe" * 200),
        BinaryMessage(b""),
        Message("text"),
        BinaryMessage(b"next"),
    ]


@pytest.mark.parametrize("begun", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("whole", [text("y"), frame(Opcode.BINARY, b"y")])
def test_no_message_begins_within_another(begun: int, whole: bytes) -> None:
    server = WebSocketConnection(binary=True)
    assert server.receive(frame(begun, b"x", fin=False)) == []
    (violation,) = server.receive(whole)
    assert isinstance(violation, Violation)
    assert violation.code == 1002


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("bytes_max", [10, 100, 200, 70_000, 200_000])
def test_the_limit_of_a_message_is_the_one_that_is_told(opcode: int, bytes_max: int) -> None:
    def last_event(data: bytes) -> Event:
        return WebSocketConnection(binary=True, message_bytes_max=bytes_max).receive(data)[-1]

    event = last_event(frame(opcode, b"x" * bytes_max))
    assert isinstance(event, Message | BinaryMessage)
    assert len(event.data) == bytes_max
    too_long = Violation(1009, f"a message is longer than {bytes_max} bytes")
    assert last_event(frame(opcode, b"x" * (bytes_max + 1))) == too_long
    assert last_event(frame(opcode, b"x" * bytes_max, fin=False) + more(b"x")) == too_long


def test_a_control_frame_within_a_message_is_no_part_of_its_length() -> None:
    server = WebSocketConnection(message_bytes_max=200)
    ping = frame(Opcode.PING, b"p" * 125)
    assert server.receive(text(b"x" * 100, fin=False) + ping + more(b"y" * 100)) == [
        PingReceived(b"p" * 125),
        Message("x" * 100 + "y" * 100),
    ]


def test_the_limit_of_fragments_is_the_one_that_is_told() -> None:
    server = WebSocketConnection(fragments_max=200)
    assert server.receive(text("a", fin=False) + more(b"b", fin=False) * 198 + more(b"c")) == [
        Message("a" + "b" * 198 + "c")
    ]
    (event,) = server.receive(text("a", fin=False) + more(b"b", fin=False) * 199 + more(b"c"))
    assert event == Violation(1008, "a message has more than 200 fragments")


@pytest.mark.parametrize("last", [frame(3), frame(Opcode.BINARY), text(b"\xff"), close()])
def test_p5_nothing_is_read_or_kept_after_the_end(last: bytes) -> None:
    server = WebSocketConnection()
    server.receive(text("kept", fin=False) + last)
    assert server._parser is None
    assert server._pieces == []
    assert server.receive(text("more")) == []
    assert server.receive(close()) == []


@pytest.mark.parametrize("last", [frame(3), close()])
def test_after_the_peers_end_only_a_close_is_sent_and_once(last: bytes) -> None:
    server = WebSocketConnection()
    server.receive(last)
    assert not server.can_send
    assert server.ping(b"") == b""
    assert server.pong(b"") == b""
    assert server.close(1002, "no") == frames.close(1002, "no")
    assert server.close_sent


def test_p7_nothing_is_sent_after_our_close() -> None:
    server = WebSocketConnection()
    assert server.close(1001) == frames.close(1001)
    assert not server.can_send
    assert server.close(1000) == b""
    assert server.ping(b"") == b""
    assert server.pong(b"late") == b""
    (closing,) = server.receive(close())
    assert isinstance(closing, CloseReceived)
    assert server.close_reply(closing) == b""


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"", b"\x88\x00"),
        (b"\x03\xe8bye", frames.close(1000)),
        (b"\x03\xf5", frames.close(1013)),
        (b"\x0f\xa0mine", frames.close(4000)),
    ],
)
def test_p34_a_close_is_echoed(payload: bytes, answer: bytes) -> None:
    server = WebSocketConnection()
    (closing,) = server.receive(close(payload))
    assert isinstance(closing, CloseReceived)
    assert server.close_reply(closing) == answer


def test_a_close_without_a_code_is_1005() -> None:
    assert received(close()) == [CloseReceived(1005, "")]


def test_p30_data_is_discarded_while_closing_and_still_held_to_the_limits() -> None:
    server = WebSocketConnection()
    server.close(1000)
    assert server.receive(text("late") + frame(Opcode.PING)) == []
    for _ in range(MESSAGE_FRAGMENTS_MAX):
        assert (
            server.receive(frame(Opcode.TEXT if not server._fragments else Opcode.CONT, fin=False))
            == []
        )
    (violation,) = server.receive(more(fin=False))
    assert isinstance(violation, Violation)
    assert server.close(violation.code) == b""


def test_p8_a_message_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert received(text(b"x" * MESSAGE_BYTES_MAX)) == [Message("x" * MESSAGE_BYTES_MAX)]
    assert the_violation(text(b"x" * (MESSAGE_BYTES_MAX + 1))).code == 1009


def test_p8_the_limit_is_on_bytes_of_all_fragments_together() -> None:
    half = "é" * (MESSAGE_BYTES_MAX // 4)
    fits = text(half, fin=False) + more(half.encode())
    assert received(fits) == [Message(half * 2)]
    assert the_violation(text(half, fin=False) + more(half.encode() + b"x")).code == 1009


def test_p8_a_frame_that_declares_too_much_is_refused_by_its_head() -> None:
    server = WebSocketConnection()
    (violation,) = server.receive(b"\x81\xff" + (1 << 40).to_bytes(8, "big"))
    assert isinstance(violation, Violation)
    assert violation.code == 1009


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_of_two_faults_the_same_one_is_told_however_the_bytes_are_cut(size: int) -> None:
    """A message that becomes too long in its second frame, which is not UTF-8 either."""
    half = b"x" * (MESSAGE_BYTES_MAX // 2)
    sent = text(half, fin=False) + more(half + b"\xff" * 9)
    server = WebSocketConnection()
    events = [
        event for at in range(0, len(sent), size) for event in server.receive(sent[at : at + size])
    ]
    assert events == [Violation(1009, f"a message is longer than {MESSAGE_BYTES_MAX} bytes")]


@pytest.mark.parametrize("size", [1, 5, 6, 7, 1 << 20])
def test_a_binary_message_that_cant_be_inflated_is_binary_however_its_bytes_are_cut(
    size: int,
) -> None:
    sent = frame(Opcode.BINARY, b"\xff" * 9, rsv=4)
    server = WebSocketConnection(deflate=True)
    events = [
        event for at in range(0, len(sent), size) for event in server.receive(sent[at : at + size])
    ]
    assert events == [Violation(1003, "JSON text wanted, not binary")]


def test_p8_limits_are_per_message() -> None:
    message = text(b"x" * 50_000, fin=False) + more(fin=False) * 60 + more()
    assert received(message * 3) == [Message("x" * 50_000)] * 3


def test_p8_each_message_may_be_of_the_limit() -> None:
    half = MESSAGE_BYTES_MAX // 2
    message = text(b"x" * half, fin=False) + more(b"y" * (MESSAGE_BYTES_MAX - half))
    longest = Message("x" * half + "y" * (MESSAGE_BYTES_MAX - half))
    assert received(message * 3) == [longest] * 3


def test_p28_empty_fragments_count() -> None:
    most = text(b"", fin=False) + more(fin=False) * (MESSAGE_FRAGMENTS_MAX - 2)
    assert received(most + more()) == [Message("")]
    assert received((most + more()) * 3) == [Message("")] * 3
    assert received(most + more(fin=False)) == []
    assert the_violation(most + more(fin=False) + more()).code == 1008


def test_p28_a_long_frame_is_one_fragment_however_it_arrives() -> None:
    server = WebSocketConnection()
    data = text(b"x" * 1000)
    events = [event for i in range(len(data)) for event in server.receive(data[i : i + 1])]
    assert events == [Message("x" * 1000)]


def test_p27_each_ping_is_reported_and_the_last_pong_is_answer_enough() -> None:
    client, server = a_client(), WebSocketConnection()
    for index in range(100):
        client.send_ping(b"%d" % index)
    events = server.receive(sent_by(client))
    assert events == [PingReceived(b"%d" % index) for index in range(100)]
    client.receive_data(server.pong(b"99"))
    (pong,) = client.events_received()
    assert isinstance(pong, Frame)
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"99")


@pytest.mark.parametrize("place", range(1, 10))
def test_p32_a_character_may_be_split_between_fragments(place: int) -> None:
    payload = "aé€😀".encode()
    data = text(payload[:place], fin=False) + frame(Opcode.PING) + more(payload[place:])
    assert received(data) == [PingReceived(b""), Message("aé€😀")]


def test_p32_invalid_utf_8_is_refused_before_its_message_is_complete() -> None:
    assert the_violation(text(b"\xff", fin=False)).code == 1007


client_frames = st.one_of(
    st.builds(text, st.text(max_size=40), fin=st.booleans()),
    st.builds(text, st.binary(max_size=3), fin=st.booleans()),
    st.builds(more, st.binary(max_size=3), fin=st.booleans()),
    st.builds(more, st.text(max_size=40).map(str.encode), fin=st.booleans()),
    st.builds(frame, st.sampled_from([9, 10]), st.binary(max_size=20)),
    st.builds(
        frame,
        st.integers(0, 15),
        st.binary(max_size=130),
        fin=st.booleans(),
        rsv=st.integers(0, 1),
        masked=st.booleans(),
    ),
    st.builds(close, st.binary(max_size=4)),
    st.just(more(fin=False) * (MESSAGE_FRAGMENTS_MAX - 1)),
    st.just(more(b"x" * (MESSAGE_BYTES_MAX - 10), fin=False)),
)


def outcome(pieces: list[bytes]) -> tuple[list[Event], str]:
    """What was delivered, and how it stands. The close code may depend on the cutting: where bytes
    break two rules, the one that is seen first counts.
    """
    server = WebSocketConnection()
    events = [event for piece in pieces for event in server.receive(piece)]
    if events and isinstance(events[-1], Violation):
        assert server.close(events[-1].code, events[-1].reason)
        return events[:-1], "violated"
    return events, "open" if server.can_send else "closed"


@settings(deadline=None)
@given(st.lists(client_frames, max_size=6), st.lists(st.integers(0, 1 << 20), max_size=20))
def test_chunking_equivalence(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert outcome(pieces) == outcome([data])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_nothing_is_ever_raised(pieces: list[bytes]) -> None:
    outcome(pieces)


ordinary_frames = st.sampled_from(
    [
        text('{"method":"ping"}'),
        text("é" * 70),
        text(b"a\xc3", fin=False),
        more(b"\xa9b", fin=False),
        more(fin=False),
        more(b"c"),
        b"\x89\xb6" + bytes(4) + (b"\x81\x80" + MASK) * 9,  # what is in it reads like texts
        frame(Opcode.PONG, text("x")),
    ]
)


@settings(max_examples=600)
@given(st.lists(ordinary_frames, max_size=6), st.lists(st.integers(0, 1 << 20), max_size=9))
def test_chunking_equivalence_of_ordinary_frames(parts: list[bytes], cuts: list[int]) -> None:
    """Few kinds, so that they meet in every order, cut everywhere."""
    data = b"".join(parts)
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert outcome(pieces) == outcome([data])


def test_what_nobody_asks_for_is_not_read() -> None:
    """A connection that is given up between two frames has not seen the second."""
    server = WebSocketConnection()
    events = server.read(text("one") + frame(2) + text("two"))
    assert next(events) == Message("one")
    assert server.can_send
    (violation,) = events
    assert isinstance(violation, Violation)
    assert not server.can_send


def test_whole_texts_are_read_at_once_and_the_rest_by_wsproto(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []
    receive = FrameProtocol.receive_bytes

    def spied(self: FrameProtocol, data: bytes) -> None:
        seen.append(data)
        receive(self, data)

    monkeypatch.setattr(FrameProtocol, "receive_bytes", spied)
    whole, ping = text("a"), frame(Opcode.PING, b"p")
    server = WebSocketConnection()
    assert server.receive(whole + ping + whole)[0::2] == [Message("a"), Message("a")]
    assert seen == [ping]
    assert server.receive(whole[:3]) == []
    assert server.receive(whole[3:] + whole) == [Message("a"), Message("a")]
    assert seen == [ping, whole[:3], whole[3:]]
