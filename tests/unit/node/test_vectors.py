"""The test vectors that node writers in other languages can check themselves with."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kinds import EVERY_KIND, STATUS, USER
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.records import HEAD_BYTES, crc32c, frame, unpack_head
from sidecar.node.row_files import encode_header
from sidecar.node.segments import FORMAT as LOG_FORMAT
from sidecar.node.segments import SegmentHeader
from sidecar.node.snapshot import FORMAT as SNAPSHOT_FORMAT
from sidecar.node.snapshot import (
    AccountRow,
    AgentRow,
    MarketRow,
    NodeRow,
    PositionRow,
    RestingRow,
    SnapshotHeader,
    TradeRow,
    TriggerRow,
)
from sidecar.node.submission import Answer, Request
from sidecar.node.transitions import Block, Fill, MarketListed

PATH = Path(__file__).resolve().parents[2] / "vectors" / "node-log.json"
VECTORS: dict[str, Any] = json.loads(PATH.read_text())


def expected() -> dict[str, str]:
    """What every vector has to be, by name. (To renew the file: print this as JSON.)"""
    listing, fill = EVERY_KIND[0], EVERY_KIND[5]
    assert isinstance(listing, MarketListed)
    assert isinstance(fill, Fill)
    payloads = {
        "segment header": msgspec.msgpack.encode(
            SegmentHeader(LOG_FORMAT, "test", 4097, 4096, 0x70D2D031)
        ),
        "empty block": encode_block(Block(1, 2, 3, [])),
        "snapshot header": encode_header(SnapshotHeader(SNAPSHOT_FORMAT, "test", 9, 42)),
        "snapshot market row": msgspec.msgpack.encode(MarketRow(listing, 1, 2, 3, None)),
        "snapshot resting row": msgspec.msgpack.encode(RestingRow(1, 5, USER, 0, 10, 9, 7, STATUS)),
        "snapshot trade row": msgspec.msgpack.encode(TradeRow(8, 50, fill)),
        "snapshot waiting row": msgspec.msgpack.encode(TriggerRow(STATUS, 4)),
        "snapshot account row": msgspec.msgpack.encode(
            AccountRow(USER, 100, (PositionRow(1, -5, 50, 7),), ((1, 20, False),))
        ),
        "snapshot agent row": msgspec.msgpack.encode(AgentRow(USER, USER, "desk", 9)),
        "snapshot node row": msgspec.msgpack.encode(NodeRow("test", b"state")),
        "submission request": msgspec.msgpack.encode(Request(7, 42, b'{"action":{}}')),
        "submission answer": msgspec.msgpack.encode(Answer(7, True, 9, {"type": "default"})),
        "submission refusal": msgspec.msgpack.encode(Answer(8, False, 0, "why")),
    }
    for kind in EVERY_KIND:
        payloads[f"block of one {type(kind).__name__}"] = encode_block(Block(1, 2, 3, [kind]))
    return {name: frame(payload).hex() for name, payload in payloads.items()}


def test_vectors_are_complete_and_true() -> None:
    assert expected() == VECTORS["records"]


@pytest.mark.parametrize("name", [name for name in VECTORS["records"] if name.startswith("block")])
def test_vectors_decode_to_what_they_name(name: str) -> None:
    record = bytes.fromhex(VECTORS["records"][name])
    length, crc = unpack_head(record[:HEAD_BYTES])
    payload = record[HEAD_BYTES:]
    assert (len(payload), crc32c(payload)) == (length, crc)
    (transition,) = decode_block(payload).transitions
    assert transition in EVERY_KIND
    assert type(transition).__name__ == name.removeprefix("block of one ")


def test_crc32c_is_castagnolis() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4
    assert crc32c(b"123456789") == 0xE3069283
