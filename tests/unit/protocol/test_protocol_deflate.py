"""permessage-deflate: what is agreed on, what real clients read, and what can't be done to us."""

import random
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import State
from websockets.uri import parse_uri
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage
from wsproto.extensions import PerMessageDeflate

from sidecar.limits import DEFLATE_BYTES_MIN, DEFLATE_LEVEL, MESSAGE_BYTES_MAX
from sidecar.protocol import frames
from sidecar.protocol.deflate import NAME, WINDOW_BITS, compress, negotiate
from sidecar.protocol.inbound import unmask
from sidecar.protocol.websocket import (
    Event,
    Message,
    PingReceived,
    Violation,
    WebSocketConnection,
)

BOTH = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
MASK = b"\x01\x02\x03\x04"
MESSAGE = b'{"channel":"l2Book","levels":' + b'[{"px":"2994.8","sz":"10.0"}],' * 60 + b"}"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (None, None),
        ("", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate", BOTH),
        ("PerMessage-Deflate", None),
        ("Xpermessage-deflate", None),
        ("permessage-deflate; Xclient_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=X15", None),
        ("permessage-deflate; server_no_context_takeover", BOTH),
        ("permessage-deflate; client_no_context_takeover", BOTH),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate; client_max_window_bits=8", BOTH),
        ('permessage-deflate; client_max_window_bits="15"', BOTH),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=010", None),
        ("permessage-deflate; client_max_window_bits=abc", None),
        ("permessage-deflate; server_max_window_bits=15", f"{BOTH}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=12", f"{BOTH}; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=016", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; unknown=1, permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
        ("permessage-deflate; unknown; unknown; client_max_window_bits, permessage-deflate", BOTH),
        ("foo; a=b, permessage-deflate ; client_max_window_bits = 10 ,bar", BOTH),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", BOTH),
    ],
)
def test_the_truth_table_of_offers(offer: str | None, answer: str | None) -> None:
    assert negotiate(offer) == answer


@given(header=st.text(alphabet='permsag-dflt;,= \t"_012589nocxkv', max_size=80))
def test_any_offer_is_answered_or_declined(header: str) -> None:
    answer = negotiate(header)
    assert answer is None or answer.startswith(BOTH)


def websockets_client(answer: str, factory: ClientPerMessageDeflateFactory) -> ClientProtocol:
    """One that has agreed to our answer."""
    (_, *parts) = answer.split("; ")
    parameters = [(name, value or None) for name, _, value in (one.partition("=") for one in parts)]
    extension = factory.process_response_params(parameters, [])
    client = ClientProtocol(parse_uri("ws://test/"), state=State.OPEN, max_size=None)
    client.extensions = [extension]
    return client


@pytest.mark.parametrize(
    ("server_bits", "client_bits", "server_forgets", "client_forgets"),
    list(product((None, 12, 15), (None, True, 9, 15), (False, True), (False, True))),
)
def test_real_clients_read_what_is_shared_and_are_read(
    server_bits: int | None,
    client_bits: int | bool | None,
    server_forgets: bool,
    client_forgets: bool,
) -> None:
    """`websockets`, whatever it offers: plain and compressed frames mixed, both ways."""
    factory = ClientPerMessageDeflateFactory(
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
        server_no_context_takeover=server_forgets,
        client_no_context_takeover=client_forgets,
    )
    offer = "; ".join(
        [
            NAME,
            *(f"{name}={value}" if value else name for name, value in factory.get_request_params()),
        ]
    )
    answer = negotiate(offer)
    assert answer is not None
    client, server = websockets_client(answer, factory), WebSocketConnection(deflate=True)
    for number in range(3):
        plain = frames.text(MESSAGE + b"%d" % number)
        client.receive_data(frames.deflated(plain) + plain)
        events = client.events_received()
        assert [bytes(one.data) for one in events] == [MESSAGE + b"%d" % number] * 2  # type: ignore[union-attr]
        client.send_text(MESSAGE + b"%d" % number)
        (event,) = server.receive(b"".join(client.data_to_send()))
        assert event == Message((MESSAGE + b"%d" % number).decode())


def test_wsprotos_own_client_reads_it() -> None:
    extension = PerMessageDeflate()
    extension.finalize(negotiate(NAME) or "")
    client = Connection(ConnectionType.CLIENT, [extension])
    plain = frames.text(MESSAGE)
    client.receive_data(frames.deflated(plain) + plain + frames.deflated(plain))
    pieces = [one for one in client.events() if isinstance(one, TextMessage)]
    assert "".join(one.data for one in pieces) == MESSAGE.decode() * 3


def test_small_and_random_messages_stay_as_they_are() -> None:
    small = frames.text(b"x" * (DEFLATE_BYTES_MIN - 1))
    assert frames.deflated(small) is small
    noise = zlib.compress(bytes(range(256)) * 40)[:DEFLATE_BYTES_MIN] + bytes(range(200))
    assert compress(noise) is None


@pytest.mark.parametrize("size", [200, 300, 70_000, 300_000])
def test_frames_of_all_lengths(size: int) -> None:
    payload = bytes(65 + index * index % 60 for index in range(size))
    framed = frames.deflated(frames.text(payload))
    assert framed[0] == 0xC1
    head = 2 if framed[1] < 126 else 4 if framed[1] == 126 else 10
    inflate = zlib.decompressobj(-WINDOW_BITS)
    assert inflate.decompress(framed[head:] + b"\x00\x00\xff\xff") == payload


def from_client(first: int, payload: bytes) -> bytes:
    size = len(payload)
    head = (
        bytes((first, 0x80 | size))
        if size < 126
        else bytes((first, 0xFE)) + size.to_bytes(2, "big")
    )
    return head + MASK + unmask(MASK, payload)


def deflated(payload: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def received(data: bytes, cuts: list[int] | None = None) -> list[Event]:
    connection, found = WebSocketConnection(deflate=True), list[Event]()
    ends = sorted(cut % (len(data) + 1) for cut in cuts or [])
    for start, end in pairwise([0, *ends, len(data)]):
        found += connection.receive(data[start:end])
    return found


FIRST, MORE, LAST = 0x41, 0x00, 0x80  # a compressed text in fragments


@given(cuts=st.lists(st.integers(0, 1 << 16), max_size=6))
def test_a_ping_between_fragments_of_a_compressed_message_harms_nothing(cuts: list[int]) -> None:
    packed = deflated(MESSAGE)
    data = (
        from_client(FIRST, packed[:20]) + from_client(0x89, b"!") + from_client(MORE, packed[20:40])
    )
    data += from_client(0x89, b"?") + from_client(LAST, packed[40:]) + from_client(0x81, b"plain")
    assert received(data, cuts) == [
        PingReceived(b"!"),
        PingReceived(b"?"),
        Message(MESSAGE.decode()),
        Message("plain"),
    ]


def test_a_decompression_bomb_is_refused_before_it_is_there() -> None:
    bomb = from_client(0xC1, deflated(b"\0" * (64 << 20))[:65_535])
    tracemalloc.start()
    try:
        (event,) = received(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert isinstance(event, Violation)
    assert (event.code, event.reason) == (
        1009,
        f"a message is longer than {MESSAGE_BYTES_MAX} bytes",
    )


def test_as_much_as_a_message_may_be_is_inflated() -> None:
    (event,) = received(from_client(0xC1, deflated(b"a" * MESSAGE_BYTES_MAX)))
    assert isinstance(event, Message)
    (event,) = received(from_client(0xC1, deflated(b"a" * (MESSAGE_BYTES_MAX + 1))))
    assert isinstance(event, Violation)


def test_the_limit_is_on_all_fragments_of_an_inflated_message_together() -> None:
    connection = WebSocketConnection(deflate=True, message_bytes_max=1000)
    whole = deflated(
        b"".join(bytes((byte,)) for byte in random.Random(3).choices(range(97, 123), k=1001))
    )
    half = from_client(FIRST, whole[:400]) + from_client(0x80, whole[400:])
    assert connection.receive(half) == [Violation(1009, "a message is longer than 1000 bytes")]


def final(payload: bytes) -> bytes:
    """Blocks whose last one says that it is."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(payload) + deflate.flush(zlib.Z_FINISH)


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("f348cdc9c90700", "Hello"),  # RFC 7692 section 7.2.3.1
        ("f348cdc9c9070000", "Hello"),  # section 7.2.3.4: a final block
        ("000500faff48656c6c6f00", "Hello"),  # section 7.2.3.3: not compressed
        ("f248050000 00ffff cac9c90700", "Hello"),  # section 7.2.3.5: two blocks
        ("00", ""),  # section 7.2.3.6
        (final(b"Hello").hex(), "Hello"),  # the empty block left out
        (deflated(b"Hello").hex() + "0000ffff", "Hello"),  # or left on: both read without doubt
        (final(b"one").hex() + final(b"two").hex() + deflated(b"three").hex(), "onetwothree"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 100])
def test_blocks_of_every_kind_are_read(packed: str, plain: str, step: int) -> None:
    data = from_client(0xC1, bytes.fromhex(packed))
    assert received(data + from_client(0x81, b"next"), list(range(0, len(data), step))) == [
        Message(plain),
        Message("next"),
    ]


ENDLESS = {
    "a final block, then noise": (final(b"x"), b"\xff" * 4096, 1007),
    "a final block, then nothing": (final(b"x"), b"\x00\x00\x00\xff\xff" * 800, 1009),
    "final blocks": (b"", final(b"") * 2000, 1007),
    "empty blocks": (b"", b"\x00\x00\x00\xff\xff" * 800, 1009),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_inflates_to_nothing_comes_to_an_end(name: str) -> None:
    """One frame, of a terabyte: nothing of it counts against the limit of a message."""
    begin, block, code = ENDLESS[name]
    connection = WebSocketConnection(deflate=True)
    head = b"\xc1\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)
    events = connection.receive(head + begin)
    for _ in range(100):
        events += connection.receive(block)
    (event,) = events
    assert isinstance(event, Violation)
    assert event.code == code


@pytest.mark.parametrize(("streams", "read"), [(63, True), (64, False)])
def test_a_message_has_so_many_final_blocks_and_no_more(streams: int, read: bool) -> None:
    (event,) = received(from_client(0xC1, final(b"a") * streams + deflated(b"b")))
    assert isinstance(event, Message if read else Violation)


def test_a_message_that_becomes_smaller_is_compressed_and_no_other() -> None:
    """What can't be made smaller, then more and more of one letter: at some length it pays."""
    chance, found = random.Random(1), list[int]()
    for letters in range(40):
        payload = chance.randbytes(DEFLATE_BYTES_MIN) + b"a" * letters
        deflate = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -WINDOW_BITS, 5)
        size = len(deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)) - 4
        assert (compress(payload) is not None) is (size < len(payload))
        found.append(size - len(payload))
    assert 0 in found
    assert max(one for one in found if one < 0) > -8


def test_a_message_may_be_longer_compressed_than_plain() -> None:
    stored = b"".join(b"\x00\x01\x00\xfe\xff" + bytes((byte,)) for byte in b"hello")
    assert received(from_client(0xC1, stored + b"\x00")) == [Message("hello")]


@pytest.mark.parametrize(
    ("empty", "letters", "size", "read"),
    [
        (393, 5, 2000, Message("aaaaa")),
        (398, 1, 2001, Violation(1009, "a message is longer than 1000 bytes")),
    ],
)
def test_twice_the_bytes_of_a_message_may_be_sent_for_it(
    empty: int, letters: int, size: int, read: Event
) -> None:
    """In blocks that hold nothing, or one letter; the four bytes that are left off count."""
    blocks = b"\x00\x00\x00\xff\xff" * empty + b"\x00\x01\x00\xfe\xffa" * letters + b"\x00"
    assert len(blocks) + 4 == size
    connection = WebSocketConnection(deflate=True, message_bytes_max=1000)
    assert connection.receive(from_client(0xC1, blocks)) == [read]


def test_the_limit_of_an_inflated_message_is_the_one_that_is_told() -> None:
    data = from_client(0xC1, deflated(b"a" * 1000)), from_client(0xC1, deflated(b"a" * 1001))
    connection = WebSocketConnection(deflate=True, message_bytes_max=1000)
    assert connection.receive(data[0]) == [Message("a" * 1000)]
    assert connection.receive(data[1]) == [Violation(1009, "a message is longer than 1000 bytes")]


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (from_client(0xC1, b"\xff\xff\xff\xff"), 1007, "a message can't be inflated"),
        (from_client(0xC9, b"!"), 1002, "RSV1 on a frame that can't be compressed"),
        (from_client(FIRST, deflated(b"a")) + from_client(0xC0, b"b"), 1002, "RSV1 on a frame"),
        (from_client(0xA1, b"x"), 1002, "Reserved bit set unexpectedly"),
        (from_client(0x91, b"x"), 1002, "Reserved bit set unexpectedly"),
        (from_client(0xC1, deflated(b"\xff\xfe")), 1007, "a text or a close reason is not UTF-8"),
    ],
)
def test_violations(data: bytes, code: int, reason: str) -> None:
    event = received(data)[-1]
    assert isinstance(event, Violation)
    assert event.code == code
    assert event.reason.startswith(reason)


def test_without_the_extension_rsv1_is_a_violation() -> None:
    (event,) = WebSocketConnection().receive(from_client(0xC1, deflated(b"x")))
    assert event == Violation(1002, "Reserved bit set unexpectedly")


def last(payload: bytes) -> bytes:
    return from_client(LAST, payload)


Make = Callable[[bytes], bytes]
kinds: list[Make] = [
    lambda payload: from_client(0xC1, deflated(payload)),
    lambda payload: from_client(0x81, payload),
    lambda payload: from_client(0xC1, payload),
    lambda payload: (
        from_client(FIRST, deflated(payload)[:3]) + from_client(LAST, deflated(payload)[3:])
    ),
    lambda payload: from_client(0x89, payload[:100]),
]


@given(
    parts=st.lists(st.tuples(st.sampled_from(kinds), st.text(max_size=30)), max_size=6),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=8),
)
def test_chunking_equivalence_of_compressed_messages(
    parts: list[tuple[Make, str]], cuts: list[int]
) -> None:
    data = b"".join(make(text.encode()) for make, text in parts)
    assert received(data, cuts) == received(data)
