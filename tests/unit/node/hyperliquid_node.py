"""A Hyperliquid node for tests: writes rows of the shapes that mainnet's have."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sidecar.errors import LogCorrupt, NodeError
from sidecar.node.hyperliquid import HyperliquidReader
from sidecar.node.hyperliquid.reader import DIFFS, FILLS, STATUSES, STREAMS
from sidecar.node.transitions import Block

__all__ = ["DIFFS", "FILLS", "STATUSES", "STREAMS", "Clock", "FakeNode"]

E = TypeVar("E", bound=NodeError)

USER = "0x" + "0a" * 20
OTHER = "0x" + "0b" * 20
HASH = "0x" + "5c" * 32
NO_HASH = "0x" + "00" * 32
CLOID = "0x" + "00" * 12 + "000000ff"
START = datetime(2026, 4, 24, 3, tzinfo=UTC)
Json = dict[str, Any]


def block_time(height: int) -> str:
    """15 blocks a second, from an hour's start on."""
    seconds, ms = divmod(height * 70, 1000)
    return f"{START + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{ms:03d}000000"


def block_ns(height: int) -> int:
    return int(START.timestamp()) * 1_000_000_000 + height * 70_000_000


def encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def row(height: int, events: list[Any] | None = None, **envelope: Any) -> bytes:
    """A line with its newline."""
    head = {"local_time": block_time(height + 5), "block_time": block_time(height)}
    return encode({**head, "block_number": height, **envelope, "events": events or []}) + b"\n"


def order(oid: int, **fields: Any) -> Json:
    return {
        "coin": "BTC",
        "side": "B",
        "limitPx": "81307.0",
        "sz": "0.5",
        "oid": oid,
        "timestamp": 1777000000123,
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": False,
        "orderType": "Limit",
        "origSz": "0.75",
        "tif": "Alo",
        "cloid": None,
        **fields,
    }


def status(oid: int, status: str = "open", height: int = 1, **fields: Any) -> Json:
    return {
        "time": block_time(height),
        "user": USER,
        "hash": None,
        "builder": None,
        "status": status,
        "order": order(oid, **fields),
    }


def diff(oid: int, change: Any, **fields: Any) -> Json:
    head = {"user": USER, "oid": oid, "coin": "BTC", "side": "B", "px": "81307.0"}
    return {**head, **fields, "raw_book_diff": change}


def new(oid: int, sz: str = "0.5", **fields: Any) -> Json:
    return diff(oid, {"new": {"sz": sz}}, **fields)


def update(oid: int, sz: str, before: str = "0.5") -> Json:
    return diff(oid, {"update": {"origSz": before, "newSz": sz}})


def remove(oid: int) -> Json:
    return diff(oid, "remove")


def fill(side: str, tid: int = 900, user: str = USER, **fields: Any) -> list[Any]:
    wire = {
        "coin": "BTC",
        "px": "81307.0",
        "sz": "0.1",
        "side": side,
        "time": 1777000000123,
        "startPosition": "0.2",
        "dir": "Open Long",
        "closedPnl": "0.0",
        "hash": HASH,
        "oid": 11 if side == "B" else 12,
        "crossed": side == "B",
        "fee": "0.01",
        "tid": tid,
        "feeToken": "USDC",
        "twapId": None,
    }
    return [user, wire | fields]


def without(event: Json, *names: str) -> Json:
    return {name: value for name, value in event.items() if name not in names}


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now_ns = 5

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


class FakeNode:
    """Writes the hour files of the three streams."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.clock = Clock()

    def path(self, stream: str, hour: int = 3, date: str = "20260424") -> Path:
        return self.data_dir / stream / "hourly" / date / str(hour)

    def append(self, stream: str, content: bytes, hour: int = 3, date: str = "20260424") -> Path:
        path = self.path(stream, hour, date)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)
        return path

    def write(
        self,
        height: int,
        *,
        statuses: list[Any] | None = None,
        diffs: list[Any] | None = None,
        fills: list[Any] | None = None,
        hour: int = 3,
        date: str = "20260424",
    ) -> None:
        """A block: a row in each stream."""
        for stream, events in ((STATUSES, statuses), (DIFFS, diffs), (FILLS, fills)):
            self.append(stream, row(height, events), hour, date)

    def write_all(self, heights: range, *, hour: int = 3, date: str = "20260424") -> None:
        for height in heights:
            self.write(height, hour=hour, date=date)

    def reader(self, after: int = 0, markets: dict[str, int] | None = None) -> HyperliquidReader:
        return HyperliquidReader(
            self.data_dir, after=after, markets=markets or {}, quiet_s=5.0, clock=self.clock
        )

    def blocks(self, after: int = 0, markets: dict[str, int] | None = None) -> list[Block]:
        with self.reader(after, markets) as reader:
            return drain(reader)

    def block(self, **events: Any) -> Block:
        """The block that these events make, with the market BTC known as 0."""
        self.write(1, **events)
        (block,) = self.blocks(markets={"BTC": 0})
        return block

    def corrupt(self, **events: Any) -> LogCorrupt:
        """The error that these events make."""
        self.write(1, **events)
        with self.reader() as reader:
            return failing(reader, LogCorrupt)


def drain(reader: HyperliquidReader) -> list[Block]:
    return list(iter(reader.next_block, None))


def failing(reader: HyperliquidReader, kind: type[E]) -> E:
    """The error that the reader ends with; asking again must give it again."""
    with pytest.raises(kind) as first:
        drain(reader)
    with pytest.raises(kind) as again:
        reader.next_block()
    assert str(first.value) == str(again.value)
    return first.value


def heights(blocks: list[Block]) -> list[int]:
    return [block.height for block in blocks]
