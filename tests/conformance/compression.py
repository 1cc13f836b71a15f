"""What sections 12 and 13 share: messages of 18 sizes and cuttings, compressed both ways."""

import json
import random
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from tests.conformance.casebook import end, say
from tests.conformance.frame_client import BINARY, TEXT, FrameClient, Heard, fragments

COUNT = 8  # messages of a case; Autobahn sends 1000

KIB = 1 << 10
_RSV1 = 4
_TAIL = b"\x00\x00\xff\xff"


class Shape(NamedTuple):
    """Characters of a message, and bytes of a frame: 0 for one frame, however long."""

    length: int
    fragment: int = 0


SHAPES = (
    *(Shape(length) for length in (16, 64, 256)),
    *(Shape(length * KIB) for length in (1, 4, 8, 16, 32, 64, 128)),
    *(Shape(length * KIB, 256) for length in (8, 16, 32, 64, 128)),
    *(Shape(128 * KIB, fragment) for fragment in (1 * KIB, 4 * KIB, 32 * KIB)),
)


class Data(NamedTuple):
    """What messages are cut from, one behind the other and round again."""

    text: str  # a binary one in latin-1
    binary: bool

    def messages(self, length: int) -> Iterator[bytes]:
        """Without end."""
        at = 0
        while True:
            piece = (self.text[at:] + self.text)[:length]
            yield piece.encode("latin-1" if self.binary else "utf-8")
            at = (at + length) % len(self.text)


def converse(port: int, offer: str, answer: str | None, data: Data, shape: Shape) -> None:
    """One case. Where the offer is declined, which is legal (Autobahn: UNIMPLEMENTED), the same
    messages go and come uncompressed.
    """
    opcode = BINARY if data.binary else TEXT
    with FrameClient(port, offer) as client:
        assert client.extensions == answer
        for message in islice(data.messages(shape.length), COUNT):
            packed = message if answer is None else deflated(message)
            size = shape.fragment or max(len(packed), 1)
            rsv = 0 if answer is None else _RSV1
            say(client, fragments(opcode, packed, size, rsv=rsv))
            heard = client.hear()
            assert heard is not None
            assert (heard.opcode, heard.fin) == (opcode, True)
            assert _plain(heard) == message
            pays = answer is not None and len(message) >= 256 and len(packed) < len(message) / 2
            assert heard.rsv == _RSV1 if pays else heard.rsv in {0, rsv}
        end(client)


def deflated(message: bytes) -> bytes:
    """A message, by itself: a client's stream has no memory either, as is agreed."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def repeated(make: Callable[[random.Random], str], *, binary: bool = False) -> Data:
    """150,000 characters or more of what `make` makes, the same ones each time."""
    seeded, pieces, size = random.Random(7692), list[str](), 0
    while size < 150_000:
        pieces.append(make(seeded))
        size += len(pieces[-1])
    return Data("".join(pieces), binary)


def json_record(seeded: random.Random) -> str:
    """A row of market data."""
    price, size = seeded.randrange(100_000), seeded.random()
    return json.dumps({"coin": "BTC", "px": price, "sz": size, "side": seeded.choice("AB")}) + ",\n"


def _plain(heard: Heard) -> bytes:
    if not heard.rsv:
        return heard.payload
    assert heard.rsv == _RSV1
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    return inflate.decompress(heard.payload + _TAIL)
