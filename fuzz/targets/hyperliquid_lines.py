"""A line of a Hyperliquid node, of whatever kind, to the readers of all three streams: a row, or
one of the errors that a stream makes `LogCorrupt` of; a row becomes transitions, or is
`LogCorrupt`. No event is lost; the height that is seen at a row's front is the row's; refusals
never raise.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mutators.jsons import mutate_lines
from sidecar.errors import LogCorrupt
from sidecar.node.hyperliquid.draft import INVALID, Draft
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.rows import (
    DiffRow,
    FillRow,
    Row,
    StatusRow,
    read_diffs,
    read_fills,
    read_statuses,
)
from sidecar.node.hyperliquid.seek import peek_height
from sidecar.node.transitions import Fill, OrdersRefused, OrderStatus, Transition

AIMED_AT = tuple(
    f"sidecar.node.hyperliquid.{name}"
    for name in ("rows", "orders", "diffs", "fills", "draft", "texts")
)
TOKENS = (
    *(b'{"local_time":"2026-05-05T17:39:13.394723455","block_time":', b'"block_number":7,'),
    *(b'"events":[', b'"badAloPxRejected"', b'"insertBefore":', b'"remove"', b'{"new":{"sz":"1"}}'),
    *(b'{"update":{"origSz":"2.0","newSz":"1.5"}}', b'{"modified":{"sz":"1"}}', b'"liquidation":{'),
)
_CAPTURED = Path(__file__).parents[3] / "shared" / "fixtures" / "hyperliquid" / "samples"
_READERS = (read_statuses, read_diffs, read_fills)
_PATH = Path("node_any/hourly/20260505/17")


def check(data: bytes) -> None:
    """Each line, to each reader; then rows of one height together, as a block takes them."""
    for text in data.split(b"\n"):
        line = Line(text, _PATH, 0)
        peek_height(text)
        rows = [row for row in map(_read, _READERS, (line,) * len(_READERS)) if row is not None]
        for row in rows:
            _check_row(row)
        _transitions(rows)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Other lines."""
    return mutate_lines(data, rng)


def captured() -> Iterator[bytes]:
    """Lines of every kind that real nodes wrote, by block and streaming."""
    for path in sorted(_CAPTURED.glob("*.jsonl")):
        yield from path.read_bytes().splitlines()[:5]


def _read(reader: Any, line: Line) -> Row | None:
    try:
        row: Row = reader(line)
    except INVALID:
        return None
    return row


def _check_row(row: Row) -> None:
    peeked = peek_height(row.line.text)
    twice = row.line.text.count(b"block_n") > 1  # of a key that comes twice JSON takes the last one
    assert peeked is None or peeked == row.height or twice
    events = _decode_events(row.line.text).events
    transitions = _transitions([row])
    if isinstance(row, StatusRow):
        assert len(events) == len(row.statuses) + sum(row.refused.values())
        refused = [one for one in transitions if isinstance(one, OrdersRefused)]
        assert sum(one.count for one in refused) in (0, sum(row.refused.values()))
        for one in refused:
            assert len(one.statuses()) <= one.count
            assert all(isinstance(status, OrderStatus) for status in one.statuses())
    elif isinstance(row, DiffRow):
        assert len(row.diffs) == len(events)
    elif isinstance(row, FillRow):
        fills = [one for one in transitions if isinstance(one, Fill)]
        legs = sum((one.buyer is not None) + (one.seller is not None) for one in fills)
        assert not fills or legs == len(events)


class _Events(msgspec.Struct):
    events: list[msgspec.Raw]


_decode_events = msgspec.json.Decoder(_Events).decode


def _transitions(rows: list[Row]) -> list[Transition]:
    draft = Draft({"BTC": 0}, 1)
    try:
        for row in rows:
            draft.add(row)
    except LogCorrupt as error:
        assert error.path == _PATH
        return []
    return draft.transitions()
