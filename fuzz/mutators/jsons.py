"""JSON, one value or a line each."""

import json
import random

from mutators.bits import mutate_bytes, mutate_list
from mutators.trees import mutate_tree

_BROKEN = 0.1  # of the values, on purpose


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """One value, changed within; as bytes where it is none."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    for _ in range(rng.randint(1, 3)):
        tree = mutate_tree(tree, rng)
    made = json.dumps(tree, separators=(",", ":"), ensure_ascii=rng.random() < 0.3).encode(
        errors="replace"
    )
    return mutate_bytes(made, rng) if rng.random() < _BROKEN else made


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """Lines of values: some of them changed, or their order."""
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.25:
            lines = mutate_list(lines, rng)
        elif lines:
            at = rng.randrange(len(lines))
            lines[at] = mutate_json(lines[at], rng)
    return b"\n".join(lines)
