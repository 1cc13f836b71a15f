"""Rows of the three streams: one line a block, decoded as far as a block needs it.

    {"local_time": ..., "block_time": ..., "block_number": ..., "events": [...]}

95% of the statuses on mainnet are refusals, which touch no book. Known statuses are therefore told
apart by msgspec while it decodes (a union tagged by `status`): of a refusal it makes the coin
only, of anything else the whole. A row with a status that nobody knew is decoded again,
slower.
"""

from collections import Counter
from operator import attrgetter
from typing import Any, Union

import msgspec

from sidecar.node.hyperliquid.diffs import WireDiff
from sidecar.node.hyperliquid.fills import UserFill
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.orders import (
    KNOWN_REFUSALS,
    KNOWN_STATUSES,
    WireEvent,
    WireStatus,
    is_refusal,
)
from sidecar.node.hyperliquid.texts import parse_time


class Row(msgspec.Struct):
    """What the rows of all streams share. `written_ns` is the node's wall clock (`local_time`)."""

    line: Line
    height: int
    time_ns: int
    written_ns: int


class StatusRow(Row):
    """The statuses of a block; of the refusals only how many there are of each coin."""

    statuses: list[tuple[str, WireEvent]]
    refused: dict[str, int]


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


class _DiffRow(_Envelope):
    events: list[WireDiff]


class _FillRow(_Envelope):
    events: list[UserFill]


class _Coin(msgspec.Struct, gc=False):
    coin: str


class _Refused(msgspec.Struct, gc=False):
    order: _Coin


class _Named(_Refused):
    status: str


class _NamedRow(_Envelope):
    events: list[_Named]


class _EncodedRow(msgspec.Struct):
    events: list[msgspec.Raw]


def _tagged(base: type[msgspec.Struct], status: str) -> type[msgspec.Struct]:
    """The kind of `base` that msgspec makes of events with that status."""
    bases = (base,)
    return msgspec.defstruct(status, [], bases=bases, tag_field="status", tag=status, gc=False)


_REFUSALS = {_tagged(_Refused, status) for status in KNOWN_REFUSALS}
_STATUSES = {_tagged(WireEvent, status): status for status in KNOWN_STATUSES}
_StatusRow = msgspec.defstruct(
    "_StatusRow",
    [("events", list[Union[tuple(_REFUSALS | _STATUSES.keys())]])],  # type: ignore[misc] # noqa: UP007
    bases=(_Envelope,),
)

_coin_of = attrgetter("order.coin")
_decode_status_row = msgspec.json.Decoder(_StatusRow).decode
_decode_named_row = msgspec.json.Decoder(_NamedRow).decode
_decode_encoded_row = msgspec.json.Decoder(_EncodedRow).decode
_decode_event = msgspec.json.Decoder(WireEvent).decode
_decode_status = msgspec.json.Decoder(WireStatus).decode
_decode_diff_row = msgspec.json.Decoder(_DiffRow).decode
_decode_fill_row = msgspec.json.Decoder(_FillRow).decode


def read_statuses(line: Line) -> StatusRow:
    """A row of node_order_statuses_by_block. Raises `msgspec.DecodeError`, `ValueError`. O(n)."""
    try:
        row: Any = _decode_status_row(line.text)
    except msgspec.ValidationError:
        return _read_loosely(line)
    events = row.events
    statuses = [(_STATUSES[type(one)], one) for one in events if type(one) not in _REFUSALS]
    refused = Counter(map(_coin_of, (one for one in events if type(one) in _REFUSALS)))
    return StatusRow(*_head(line, row), statuses, refused)


def _read_loosely(line: Line) -> StatusRow:
    row = _decode_named_row(line.text)
    events = zip(row.events, _decode_encoded_row(line.text).events, strict=True)
    statuses: list[tuple[str, WireEvent]] = [
        (named.status, _decode_event(encoded))
        for named, encoded in events
        if not is_refusal(named.status)
    ]
    refused = Counter(_coin_of(named) for named in row.events if is_refusal(named.status))
    return StatusRow(*_head(line, row), statuses, refused)


def read_refusals(line: Line) -> tuple[list[WireStatus], int]:
    """The refusals of a row of statuses, whole, and how many could not be decoded. O(n).

    They touch no book: one that makes no sense must not end those of others.
    """
    refusals, broken = [], 0
    for named, encoded in zip(
        _decode_named_row(line.text).events, _decode_encoded_row(line.text).events, strict=True
    ):
        if is_refusal(named.status):
            try:
                refusals.append(_decode_status(encoded))
            except msgspec.ValidationError:
                broken += 1
    return refusals, broken


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
