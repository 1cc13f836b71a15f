"""Reads a native log by its document alone (docs/node-log.md): no code of the product, so that
what judges shares no mistake with what is judged.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import msgpack

_HEAD = struct.Struct("<II")


class Block(NamedTuple):
    """A block, its transitions as the log has them: `[tag, field, ...]`."""

    height: int
    time_ns: int
    transitions: list[list[Any]]


def read_blocks(directory: Path) -> Iterator[Block]:
    """All blocks of the segments of a directory, which must follow each other. The newest segment
    may end within a record: a node that was killed was writing it.
    """
    segments = sorted(directory.glob("*.seg"))
    height: int | None = None
    for segment in segments:
        for payload in _payloads(segment, may_be_torn=segment == segments[-1]):
            fields = msgpack.unpackb(payload, raw=False, strict_map_key=False)
            if isinstance(fields[0], str):
                assert fields[0] == "node-log/1", f"{segment} is no segment"
                continue
            block = Block(fields[0], fields[1], fields[3])
            assert height is None or block.height == height + 1, f"{segment}: {height} + 1"
            height = block.height
            yield block


def _payloads(segment: Path, *, may_be_torn: bool) -> Iterator[bytes]:
    data, at = segment.read_bytes(), 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            assert may_be_torn, f"{segment} ends within a record"
            return
        length, crc = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(payload) < length:
            assert may_be_torn, f"{segment} ends within a record"
            return
        assert google_crc32c.value(payload) == crc, f"{segment} is corrupt at {at}"
        yield payload
        at += _HEAD.size + length
