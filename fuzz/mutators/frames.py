"""Frames of a WebSocket client, told apart in a stream and put together again."""

import random
import zlib
from typing import NamedTuple

from mutators.bits import mutate_bytes, mutate_list
from sidecar.protocol.inbound import unmask

_FIRST = (0x81, 0x01, 0x00, 0x80, 0x82, 0x02, 0x88, 0x89, 0x8A, 0xC1, 0x41, 0xC2, 0x40, 0xC0, 0xA1)
_TEXTS = (b"", b"{}", b"a", "\u00e9\u20ac\U0001f600".encode(), b"\xc3", b"\xed\xa0\x80", b"x" * 300)
_CLOSES = (b"", b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xee", b"\x0b\xb8\xff", b"\x13\x87ok")


class Frame(NamedTuple):
    """`mask` is None where a client forgot it; `form` is how many bytes the length takes."""

    first: int
    payload: bytes
    mask: bytes | None
    form: int

    @property
    def is_shortest(self) -> bool:
        """Whether its length is in the form that it has to have."""
        size = len(self.payload)
        return self.form == (0 if size < 126 else 2 if size < 1 << 16 else 8)


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames of a stream, and what is left."""
    found: list[Frame] = []
    at = 0
    while (one := begun(data, at)) is not None and one[1] <= len(data):
        found.append(one[0])
        at = one[1]
    return found, data[at:]


def begun(data: bytes, at: int = 0) -> tuple[Frame, int] | None:
    """The frame that begins there, with what there is of its payload, and where it ends or would
    end. None where its head is not whole.
    """
    if len(data) - at < 2:
        return None
    first, second = data[at : at + 2]
    form = {126: 2, 127: 8}.get(second & 0x7F, 0)
    start = at + 2 + form
    size = int.from_bytes(data[at + 2 : start], "big") if form else second & 0x7F
    mask = data[start : start + 4] if second & 0x80 else None
    start += 4 if second & 0x80 else 0
    if len(data) < start:
        return None
    payload = data[start : start + size]
    frame = Frame(first, payload if mask is None else unmask(mask, payload), mask, form)
    return frame, start + size


def join(frames: list[Frame]) -> bytes:
    """Their bytes."""
    return b"".join(map(_encode, frames))


def _encode(frame: Frame) -> bytes:
    size, masked = len(frame.payload), 0 if frame.mask is None else 0x80
    shortest = 0 if size < 126 else 2 if size < 1 << 16 else 8
    form = max(frame.form, shortest)
    length = size if not form else {2: 126, 8: 127}[form]
    head = bytes((frame.first, masked | length)) + (size.to_bytes(form, "big") if form else b"")
    if frame.mask is None:
        return head + frame.payload
    return head + frame.mask + unmask(frame.mask, frame.payload)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other frames, or the same ones another way."""
    frames, rest = split(data)
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(8)
        if not frames or kind < 2:
            frames.insert(rng.randrange(len(frames) + 1), _new(rng))
        elif kind == 2:
            frames = mutate_list(frames, rng)
        else:
            at = rng.randrange(len(frames))
            frames[at : at + 1] = _changed(frames[at], rng)
    return join(frames) + (rest if rng.random() < 0.2 else b"")


def _new(rng: random.Random) -> Frame:
    first = rng.choice(_FIRST)
    payload = rng.choice(_CLOSES if first == 0x88 else _TEXTS)
    if first & 0x40:
        payload = _deflated(payload, rng)
    return Frame(first, payload, rng.randbytes(4), 0)


def _changed(frame: Frame, rng: random.Random) -> list[Frame]:
    kind = rng.randrange(8)
    if kind == 0:
        return [frame._replace(first=rng.choice(_FIRST))]
    if kind == 1:
        return [frame._replace(first=frame.first ^ (1 << rng.randrange(8)))]
    if kind == 2:
        return [frame._replace(form=rng.choice((0, 2, 8)))]
    if kind == 3:
        return [frame._replace(mask=rng.choice((rng.randbytes(4), bytes(4), None)))]
    if kind == 4:  # in two fragments, and something between them
        at = rng.randrange(len(frame.payload) + 1)
        first = Frame(frame.first & 0x7F, frame.payload[:at], frame.mask, 0)
        last = Frame(frame.first & 0x80, frame.payload[at:], frame.mask, 0)
        return [first, _new(rng), last] if rng.random() < 0.3 else [first, last]
    if kind == 5:
        return [frame._replace(payload=_deflated(frame.payload, rng), first=frame.first | 0x40)]
    if kind == 6 and frame.first & 0x40:
        return [frame._replace(payload=_redeflated(frame.payload, rng))]
    return [frame._replace(payload=mutate_bytes(frame.payload, rng))]


def _deflated(payload: bytes, rng: random.Random) -> bytes:
    deflate = zlib.compressobj(rng.choice((0, 1, 6, 9)), zlib.DEFLATED, -rng.randint(9, 15))
    flush = rng.choice((zlib.Z_SYNC_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH))
    made = deflate.compress(payload) + deflate.flush(flush)
    return made.removesuffix(b"\x00\x00\xff\xff")


def _redeflated(payload: bytes, rng: random.Random) -> bytes:
    """What was compressed, changed and compressed again."""
    try:
        plain = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff", 4_096)
    except zlib.error:
        return mutate_bytes(payload, rng)
    return _deflated(mutate_bytes(plain, rng), rng)
