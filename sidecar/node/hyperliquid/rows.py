"""Rows of the three streams: one line a block, decoded as far as a block needs it.

    {"local_time": ..., "block_time": ..., "block_number": ..., "events": [...]}

95% of the statuses on mainnet are refusals, which touch no book. A row of statuses is therefore
decoded twice, both times leanly: once for status and coin of each event, once for the events still
encoded. Only what is not a refusal is then decoded in full. Measured on mainnet's busiest market,
that is half of the cost of decoding every status with all its fields.
"""

from collections import defaultdict

import msgspec

from sidecar.node.hyperliquid.diffs import WireDiff
from sidecar.node.hyperliquid.fills import UserFill
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.orders import KNOWN_REFUSALS, WireStatus, is_refusal
from sidecar.node.hyperliquid.texts import parse_time


class Row(msgspec.Struct):
    """What the rows of all streams share. `written_ns` is the node's wall clock (`local_time`)."""

    line: Line
    height: int
    time_ns: int
    written_ns: int


class StatusRow(Row):
    """The statuses of a block; refusals by coin, still encoded."""

    statuses: list[WireStatus]
    refused: dict[str, list[msgspec.Raw]]


class DiffRow(Row):
    """The book diffs of a block."""

    diffs: list[WireDiff]


class FillRow(Row):
    """The fills of a block."""

    fills: list[UserFill]


class _Envelope(msgspec.Struct):
    local_time: str
    block_time: str
    block_number: int


class _EncodedRow(_Envelope):
    events: list[msgspec.Raw]


class _DiffRow(_Envelope):
    events: list[WireDiff]


class _FillRow(_Envelope):
    events: list[UserFill]


class _LeanOrder(msgspec.Struct, gc=False):
    coin: str


class _LeanStatus(msgspec.Struct, gc=False):
    status: str
    order: _LeanOrder


class _LeanRow(msgspec.Struct):
    events: list[_LeanStatus]


_decode_encoded_row = msgspec.json.Decoder(_EncodedRow).decode
_decode_lean_row = msgspec.json.Decoder(_LeanRow).decode
_decode_diff_row = msgspec.json.Decoder(_DiffRow).decode
_decode_fill_row = msgspec.json.Decoder(_FillRow).decode
decode_status = msgspec.json.Decoder(WireStatus).decode


def read_statuses(line: Line) -> StatusRow:
    """A row of node_order_statuses_by_block. Raises `msgspec.DecodeError`, `ValueError`. O(n)."""
    row = _decode_encoded_row(line.text)
    statuses: list[WireStatus] = []
    refused: defaultdict[str, list[msgspec.Raw]] = defaultdict(list)
    for lean, encoded in zip(_decode_lean_row(line.text).events, row.events, strict=True):
        if lean.status in KNOWN_REFUSALS or is_refusal(lean.status):
            refused[lean.order.coin].append(encoded)
        else:
            statuses.append(decode_status(encoded))
    return StatusRow(*_head(line, row), statuses, refused)


def read_diffs(line: Line) -> DiffRow:
    """A row of node_raw_book_diffs_by_block. Raises `msgspec.DecodeError`, `ValueError`. O(n)."""
    row = _decode_diff_row(line.text)
    return DiffRow(*_head(line, row), row.events)


def read_fills(line: Line) -> FillRow:
    """A row of node_fills_by_block. Raises `msgspec.DecodeError`, `ValueError`. O(n)."""
    row = _decode_fill_row(line.text)
    return FillRow(*_head(line, row), row.events)


def _head(line: Line, row: _Envelope) -> tuple[Line, int, int, int]:
    if not line.text.isascii():
        line.text.decode()  # msgspec checks what it decodes only; raises UnicodeDecodeError
    return line, row.block_number, parse_time(row.block_time), parse_time(row.local_time)
