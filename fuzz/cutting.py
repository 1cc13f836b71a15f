"""How a stream may arrive: whole, byte by byte, cut at random places."""

import random
import zlib
from collections.abc import Iterator
from itertools import pairwise

_BYTEWISE_MAX = 2_048  # beyond, pieces of seven: what cuts can find they have found by then
_CUTS_MAX = 6


def ways(data: bytes) -> Iterator[list[bytes]]:
    """The pieces of each way. The random cuts follow from the data, so that a finding replays."""
    yield [data]
    yield even(data, 1 if len(data) <= _BYTEWISE_MAX else 7)
    yield at_random(data, random.Random(zlib.crc32(data)))


def even(data: bytes, size: int) -> list[bytes]:
    """Pieces of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def at_random(data: bytes, rng: random.Random) -> list[bytes]:
    """Pieces of any size."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, _CUTS_MAX)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
