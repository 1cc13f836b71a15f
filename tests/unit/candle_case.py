"""Candles by the book: from the list of all trades, each time anew."""

from datetime import UTC, datetime
from typing import NamedTuple

from sidecar.state.candles import Candle

MINUTE = 60_000
LENGTHS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "8h": 480,
    "12h": 720, "1d": 1440, "3d": 4320, "1w": 10080,
}  # fmt: skip


class Traded(NamedTuple):
    time_ns: int
    px: int
    sz: int


def began(interval: str, time_ms: int) -> int:
    if interval == "1M":
        day = datetime.fromtimestamp(time_ms / 1000, UTC)
        first = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) * 1000
    length = LENGTHS[interval] * MINUTE
    return time_ms // length * length


def candles_of(interval: str, trades: list[Traded]) -> list[Candle]:
    """One pass over everything that was ever traded."""
    found: dict[int, list[Traded]] = {}
    for one in trades:
        found.setdefault(began(interval, one.time_ns // 1_000_000), []).append(one)
    return [
        Candle(
            start,
            within[0].px,
            max(one.px for one in within),
            min(one.px for one in within),
            within[-1].px,
            sum(one.sz for one in within),
            len(within),
        )
        for start, within in sorted(found.items())
    ]
