"""Snapshots of a node and our own checkpoints: a file is refused by `SnapshotInvalid`, its rows by
`StateMismatch`, or it makes a state that all can be asked of and that can be kept again.
"""

import random
from typing import Any

import msgspec

from mutators.bits import mutate_bytes
from mutators.records import join, mutate_payloads, split
from scratch import scratch
from serving import Reader
from sidecar.checkpoints import CHECKPOINTS
from sidecar.errors import SnapshotInvalid, StateMismatch
from sidecar.node.records import extend_crc32c
from sidecar.node.row_files import RowFileHeader, RowFileReader, RowFormat
from sidecar.node.snapshot import SNAPSHOTS
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import restorer

AIMED_AT = (
    "sidecar.node.row_files",
    "sidecar.node.snapshot",
    "sidecar.state.checkpoint",
    "sidecar.state.users",
)
_BROKEN = 0.1  # of the mutated files: footer, CRCs and lengths do not fit

_decode_header = msgspec.msgpack.Decoder(RowFileHeader).decode


def check(data: bytes) -> None:
    """As a file of either kind, under the name that its header asks for."""
    for form in (SNAPSHOTS, CHECKPOINTS):
        with scratch() as directory:
            path = directory / form.file_name(_height(data))
            path.write_bytes(data)
            assert form.list(directory) == [path]
            try:
                file: RowFileReader[Any] = RowFileReader(path, form)
                reader = Reader(_restored(file, form))
            except (SnapshotInvalid, StateMismatch):
                continue
        reader.check()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other rows; what frames them is made to fit, mostly."""
    *payloads, footer = split(data)[0] or [b"\x90"]
    payloads = mutate_payloads(payloads, rng)
    if rng.random() < _BROKEN:
        return mutate_bytes(join([*payloads, footer]), rng)
    return join([*payloads, _footer(payloads)])


def _restored(file: RowFileReader[Any], form: RowFormat[Any]) -> ChainState:
    state = ChainState(strict=False)
    header = file.header
    assert header.format == form.name
    restorer(state, header.height, header.time_ns).rows(file.rows())
    return state


def _height(data: bytes) -> int:
    """At most 20 digits; else none that fits."""
    try:
        return max(_decode_header(split(data)[0][0]).height, 0)
    except (IndexError, msgspec.DecodeError, UnicodeError, RecursionError):
        return 0


def _footer(payloads: list[bytes]) -> bytes:
    covered = rows = 0
    for payload in payloads:
        covered = extend_crc32c(covered, payload)
        try:
            chunk = msgspec.msgpack.decode(payload)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if isinstance(chunk, list) and len(chunk) == 2 and isinstance(chunk[1], list):
            rows += len(chunk[1])
    return msgspec.msgpack.encode(["end", rows, covered])
