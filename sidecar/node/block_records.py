"""Blocks as the payloads of records (docs/node-log.md), and back."""

import msgspec

from sidecar.node.records import crc32c
from sidecar.node.transitions import Block, Logged

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)  # what msgspec raises for bytes
PEEK_BYTES = 14  # of a payload: an array's head, an integer's
_FIX_ARRAY = 0x9  # msgpack: the upper four bits
_FIX_INT_MAX = 0x7F
_ARRAYS = {0xDC: 3, 0xDD: 5}  # array 16, array 32: bytes of the head
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}  # uint 8 to uint 64: bytes that follow


class _BlockRecord(msgspec.Struct, array_like=True, frozen=True):
    height: int
    time_ns: int
    written_ns: int
    transitions: list[Logged]


class _LooseBlockRecord(msgspec.Struct, array_like=True, frozen=True):
    height: int
    time_ns: int
    written_ns: int
    transitions: list[msgspec.Raw]


_encoder = msgspec.msgpack.Encoder()
_decode_block = msgspec.msgpack.Decoder(_BlockRecord).decode
_decode_loose_block = msgspec.msgpack.Decoder(_LooseBlockRecord).decode
_decode_transition = msgspec.msgpack.Decoder(Logged).decode
_decode_array = msgspec.msgpack.Decoder(list).decode
_KNOWN_TAGS = frozenset(kind.__struct_config__.tag for kind in Logged.__args__)


def encode_block(block: Block) -> bytes:
    """The payload of a block's record."""
    return _encoder.encode((block.height, block.time_ns, block.written_ns, block.transitions))


def block_digest(block: Block) -> int:
    """What tells a block from another one of its height. When the node wrote it does not count: a
    node that starts again may write the same block later. O(transitions).
    """
    return crc32c(encode_block(msgspec.structs.replace(block, written_ns=0)))


def decode_block(payload: bytes) -> Block:
    """A block from its record's payload. Raises `msgspec.DecodeError`. O(n).

    Transitions with a tag that this version does not know are skipped and counted in
    `Block.unknown`.
    """
    try:
        record = _decode_block(payload)
    except msgspec.ValidationError:
        return _decode_with_unknown_tags(payload)
    return Block(record.height, record.time_ns, record.written_ns, record.transitions)  # type: ignore[arg-type]


def _decode_with_unknown_tags(payload: bytes) -> Block:
    record = _decode_loose_block(payload)
    transitions = []
    unknown = 0
    for encoded in record.transitions:
        fields = _decode_array(encoded)
        if fields and isinstance(fields[0], int) and fields[0] not in _KNOWN_TAGS:
            unknown += 1
        else:
            transitions.append(_decode_transition(encoded))
    return Block(record.height, record.time_ns, record.written_ns, transitions, unknown)


def peek_height(payload: bytes) -> int | None:
    """The height of a block's record from its front, PEEK_BYTES at the most: an array, then an
    unsigned integer (docs/node-log.md). None where something else stands there. O(1).
    """
    kind = payload[0] if payload else 0
    start = 1 if kind >> 4 == _FIX_ARRAY else _ARRAYS.get(kind)
    if start is None or len(payload) <= start:
        return None
    first = payload[start]
    if first <= _FIX_INT_MAX:
        return first
    size = _UNSIGNED.get(first, 0)
    digits = payload[start + 1 : start + 1 + size]
    return int.from_bytes(digits, "big") if digits and len(digits) == size else None
