"""Small changes of bytes and lists, for where a structure's leaves are reached."""

import random
from typing import TypeVar

T = TypeVar("T")


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """A byte changed, put in or left out, or a part doubled or cut off."""
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + bytes((rng.randrange(256),)) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if kind == 2:
        return data[:at] + data[at + rng.randint(1, 8) :]
    if kind == 3:
        return data[:at]
    if kind == 4:
        part = data[at : at + rng.randint(1, 32)]
        return data[:at] + part * rng.randint(1, 4) + data[at:]
    return (
        data[:at]
        + bytes(byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1])
        + (data[at + 1 :])
    )


def mutate_list(items: list[T], rng: random.Random) -> list[T]:
    """An item left out, doubled or moved; two swapped; the list cut off."""
    changed = list(items)
    if not changed:
        return changed
    at, other = rng.randrange(len(changed)), rng.randrange(len(changed))
    kind = rng.randrange(5)
    if kind == 0:
        del changed[at]
    elif kind == 1:
        changed.insert(other, changed[at])
    elif kind == 2:
        changed[at], changed[other] = changed[other], changed[at]
    elif kind == 3:
        changed.insert(other, changed.pop(at))
    else:
        del changed[at + 1 :]
    return changed
