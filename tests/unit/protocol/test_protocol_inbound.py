"""The short way for whole texts and wsproto's way can't be told apart, whatever comes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.limits import MESSAGE_BYTES_MAX
from sidecar.protocol import websocket
from sidecar.protocol.inbound import Boundaries, Head, take_text, unmask
from sidecar.protocol.websocket import Event, WebSocketConnection

MASKS = st.binary(min_size=4, max_size=4)


def frame(first: int, payload: bytes, mask: bytes | None, longer: int = 0) -> bytes:
    """A frame, its length in a longer form than it needs if told."""
    size = len(payload)
    form = max(longer, 0 if size < 126 else 1 if size < 1 << 16 else 2)
    masked = 0 if mask is None else 0x80
    head = bytes((first, masked | (size, 126, 127)[form]))
    head += (b"", size.to_bytes(8, "big")[-2:], size.to_bytes(8, "big"))[form]
    if mask is None:
        return head + payload
    return head + mask + unmask(mask, payload)


texts = st.text(max_size=40).map(str.encode) | st.binary(max_size=8)
frames = st.builds(
    frame,
    st.sampled_from([0x81] * 6 + [0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x83]),
    texts | st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 700, b"\xc3\xa9" * 900]),
    MASKS | MASKS | MASKS | st.none(),
    st.sampled_from([0] * 8 + [1, 2]),
)
streams = st.lists(frames | st.binary(max_size=6), max_size=8).map(b"".join)


def events(data: bytes, cuts: list[int]) -> list[Event]:
    connection, found = WebSocketConnection(), list[Event]()
    for start, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
        found += connection.receive(data[start:end])
    return found


@settings(max_examples=600)
@given(data=streams, cuts=st.lists(st.integers(0, 1 << 20), max_size=6))
def test_the_two_ways_cannot_be_told_apart(
    data: bytes, cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Event by event, reasons and codes too, for each piece that comes."""
    short = events(data, cuts)
    with monkeypatch.context() as patch:
        patch.setattr(websocket, "take_text", lambda _data, _at, _bytes_max: None)
        assert events(data, cuts) == short


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1024, 1025, 65_535])
def test_sizes_at_the_edges_are_read(size: int) -> None:
    payload = b"y" * size
    data = frame(0x81, payload, b"abcd")
    found = take_text(b"??" + data + b"more", 2)
    assert found is not None
    assert (found.payload, found.end) == (payload, 2 + len(data))
    assert take_text(data[:-1], 0) is None or not size


@pytest.mark.parametrize("before", [0, 10])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 300])
def test_a_frame_that_is_not_whole_is_not_taken_wherever_it_is_cut(size: int, before: int) -> None:
    data = b"?" * before + frame(0x81, b"y" * size, b"abcd")
    cuts = range(before, len(data))
    assert [take_text(data[:end], before) for end in cuts] == [None] * len(cuts)
    assert take_text(data, before) is not None


@pytest.mark.parametrize("size", [0, 125, 126, 65_536])
def test_a_length_that_has_a_shorter_form_is_not_taken(size: int) -> None:
    assert take_text(frame(0x81, b"y" * size, b"abcd", longer=2), 0) is None
    assert size != 125 or take_text(frame(0x81, b"y" * size, b"abcd", longer=1), 0) is None


def test_longer_than_a_message_may_be_is_not_taken() -> None:
    assert take_text(frame(0x81, b"z" * (MESSAGE_BYTES_MAX + 1), b"abcd"), 0) is None
    data = frame(0x81, b"z" * 200, b"abcd")
    assert take_text(data, 0, 199) is None
    assert take_text(data, 0, 200) is not None


@given(mask=MASKS, payload=st.binary(max_size=3000))
def test_unmasking_is_its_own_inverse(mask: bytes, payload: bytes) -> None:
    masked = unmask(mask, payload)
    assert masked == bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    assert unmask(mask, masked) == payload


@pytest.mark.parametrize("size", [1, 1_024, 1_025, 4_099])
def test_p33_each_byte_has_its_part_of_the_mask(size: int) -> None:
    mask, payload = b"\x01\x20\x43\xff", bytes(index * 7 % 256 for index in range(size))
    plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    assert unmask(mask, payload) == plain


@given(parts=st.lists(frames, max_size=6), cuts=st.lists(st.integers(0, 1 << 20), max_size=8))
def test_boundaries_are_found_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    ends = {sum(map(len, parts[: count + 1])) for count in range(len(parts))}
    boundaries, found, base = Boundaries(), set[int](), 0
    for start, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
        piece, at = data[start:end], 0
        while at < len(piece):
            at = boundaries.advance(piece, at)
            if boundaries.between:
                found.add(base + at)
        base += len(piece)
    assert found == ends
    assert boundaries.between


@pytest.mark.parametrize("mask", [b"mask", None])
@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_the_head_of_a_frame_is_told_as_it_is_there_and_then_no_more(
    size: int, mask: bytes | None
) -> None:
    data = frame(0x41, b"x" * size, mask)
    front = 2 if size < 126 else 4 if size < 1 << 16 else 10
    told = heads([b"before" + data + b"\x81"], 6)
    assert told == [Head(0x41, size, 6 + front), None]
    for cut in range(1, front):
        assert heads([data[:cut], data[cut:]]) == [None, Head(0x41, size, front - cut)]


def heads(pieces: list[bytes], at: int = 0) -> list[Head | None]:
    """What each `advance` tells; the first one begins at `at`."""
    boundaries, told = Boundaries(), list[Head | None]()
    for piece in pieces:
        while at < len(piece):
            at = boundaries.advance(piece, at)
            told.append(boundaries.head)
        at = 0
    return told
