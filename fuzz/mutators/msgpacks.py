"""msgpack values."""

import random
from datetime import UTC, datetime
from typing import Any

import msgspec

from mutators.bits import mutate_bytes
from mutators.trees import any_leaf, mutate_tree

_BROKEN = 0.1  # of the values, on purpose
_NEW = datetime(2026, 5, 5, tzinfo=UTC)


def mutate_msgpack(payload: bytes, rng: random.Random) -> bytes:
    """A value, changed within; as bytes where it is none."""
    try:
        tree = msgspec.msgpack.decode(payload)
        for _ in range(rng.randint(1, 3)):
            tree = mutate_tree(tree, rng, _leaf)
        made = msgspec.msgpack.encode(tree)
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError, OverflowError):
        return mutate_bytes(payload, rng)
    return mutate_bytes(made, rng) if rng.random() < _BROKEN else made


def _leaf(rng: random.Random) -> Any:
    if rng.random() < 0.6:
        return any_leaf(rng)
    extras = (b"", bytes(20), bytes(32), (1 << 64) - 1, _NEW, msgspec.msgpack.Ext(5, b"x"), 1e309)
    return rng.choice(extras)
