"""Records of logs, row files and the submission socket: length, CRC, msgpack."""

import random

from mutators.bits import mutate_bytes, mutate_list
from mutators.msgpacks import mutate_msgpack
from sidecar.node.records import HEAD_BYTES, frame, unpack_head

_BROKEN = 0.1  # of the results, on purpose


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The payloads of the whole records, whatever their CRCs, and what is left."""
    payloads: list[bytes] = []
    at = 0
    while len(data) - at >= HEAD_BYTES:
        length, _ = unpack_head(data[at : at + HEAD_BYTES])
        end = at + HEAD_BYTES + length
        if not length or end > len(data):
            break
        payloads.append(data[at + HEAD_BYTES : end])
        at = end
    return payloads, data[at:]


def join(payloads: list[bytes]) -> bytes:
    """Good records."""
    return b"".join(frame(payload) for payload in payloads if payload)


def mutate_payloads(payloads: list[bytes], rng: random.Random) -> list[bytes]:
    """Some of them changed, or their order."""
    for _ in range(rng.randint(1, 3)):
        if not payloads or rng.random() < 0.2:
            payloads = mutate_list([*payloads, *payloads[-1:]] or [b"\x90"], rng)
        else:
            at = rng.randrange(len(payloads))
            changed = mutate_msgpack(payloads[at], rng)
            payloads = [*payloads[:at], changed, *payloads[at + 1 :]]
    return payloads


def mutate_records(data: bytes, rng: random.Random) -> bytes:
    """Other records, their lengths and CRCs right; sometimes not."""
    payloads, rest = split(data)
    made = join(mutate_payloads(payloads, rng))
    if rng.random() < 0.2:
        made += rest or made[: rng.randrange(len(made) + 1)]
    return mutate_bytes(made, rng) if rng.random() < _BROKEN else made
