"""Candles of a market, from its trades.

A trade touches one candle, that of its minute. When a trade comes in a later minute, the one that
is over is folded into all longer intervals; so the running candle of any interval is what was
folded plus the running minute, put together when somebody reads it.

    1m   ... [12:03] [12:04] [12:05 running]
    1h   ... [11:00] [12:00 as of 12:04]      + [12:05 running]  =  the running hour

Intervals are aligned to the Unix epoch (so 1w begins on Thursdays), 1M to calendar months; all UTC.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from sidecar.limits import CANDLES_KEPT
from sidecar.node.transitions import Record

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_NS_PER_MS = 1_000_000
LENGTHS_MS = {
    "1m": _MINUTE_MS,
    "3m": 3 * _MINUTE_MS,
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS,
    "1h": _HOUR_MS,
    "2h": 2 * _HOUR_MS,
    "4h": 4 * _HOUR_MS,
    "8h": 8 * _HOUR_MS,
    "12h": 12 * _HOUR_MS,
    "1d": _DAY_MS,
    "3d": 3 * _DAY_MS,
    "1w": 7 * _DAY_MS,
}
INTERVALS = (*LENGTHS_MS, "1M")
_FOLDED = INTERVALS[1:]


class Candle(msgspec.Struct, gc=False):
    """One interval from `start_ms` on: prices, base volume, number of trades."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int

    def add(self, later: "Candle") -> None:
        """Takes in what came after it."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.trades += later.trades


_LAST_MS = 253_370_764_800_000  # the year 9999: dates end with it


class CandlesRow(Record, tag=48, frozen=True):
    """From when on a market's candles are known (see `Candles`)."""

    market: int
    since_ns: int | None


class CandleRow(Record, tag=49, frozen=True):
    """A candle, as it is kept; oldest first."""

    market: int
    interval: str
    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: str  # as text: a month's may be more than 64 bits
    trades: int


class Candles:
    """All intervals of one market. `since_ns` is from when on its trades are known (0: ever; None:
    from the next one on): a candle that began earlier is not whole, and never shown.
    """

    __slots__ = ("_minute", "_minute_end_ns", "_series", "since_ns")

    def __init__(self, since_ns: int | None = 0) -> None:
        self.since_ns = since_ns
        self._minute: Candle | None = None
        self._minute_end_ns = 0
        self._series: dict[str, deque[Candle]] | None = None  # without the running minute

    def trade(self, time_ns: int, px: int, sz: int) -> None:
        """A trade. O(1), once a minute O(intervals)."""
        minute = self._minute
        if minute is None or time_ns >= self._minute_end_ns:
            self._begin(time_ns, px, sz)
            return
        if px > minute.high:
            minute.high = px
        elif px < minute.low:
            minute.low = px
        minute.close = px
        minute.volume += sz
        minute.trades += 1

    def running(self, interval: str) -> Candle | None:
        """The candle of the newest trade; None where it is not whole, or there is none. O(1)."""
        minute = self._minute
        if minute is None:
            return None
        start = start_of(interval, minute.start_ms)
        candle = msgspec.structs.replace(minute, start_ms=start)
        if interval != "1m" and self._series is not None:
            series = self._series[interval]
            if series and series[-1].start_ms == start:
                candle = msgspec.structs.replace(series[-1])
                candle.add(minute)
        return candle if self._is_whole(start) else None

    def between(self, interval: str, from_ms: int, to_ms: int) -> list[Candle]:
        """The candles that began between two times, ends included, oldest first; empty intervals
        have none. O(candles kept).
        """
        running = self.running(interval)
        found = [] if self._series is None else list(self._series[interval])
        if running is not None:
            if found and found[-1].start_ms == running.start_ms:
                found.pop()
            found.append(running)
        found = [
            one
            for one in found
            if from_ms <= one.start_ms <= to_ms and self._is_whole(one.start_ms)
        ]
        return found[-CANDLES_KEPT:]

    def is_first(self, interval: str) -> bool:
        """Whether the running candle is the first that is whole. O(candles kept)."""
        return len(self.between(interval, 0, _LAST_MS)) <= 1

    def rows(self, market: int) -> Iterator[CandlesRow | CandleRow]:
        """What `restore` takes. O(candles)."""
        yield CandlesRow(market, self.since_ns)
        for interval, series in (self._series or {}).items():
            for one in series:
                yield _row(market, interval, one)
        if self._minute is not None:
            yield _row(market, "", self._minute)

    def restore(self, row: CandlesRow | CandleRow) -> None:
        """A row of `rows`. O(1)."""
        if isinstance(row, CandlesRow):
            self.since_ns = row.since_ns
            return
        prices = (row.open, row.high, row.low, row.close)
        candle = Candle(row.start_ms, *prices, int(row.volume), row.trades)
        if row.interval:
            self._all_series()[row.interval].append(candle)
        else:
            self._set_minute(candle)

    def _begin(self, time_ns: int, px: int, sz: int) -> None:
        if self.since_ns is None:
            self.since_ns = time_ns
        if self._minute is not None:
            self._fold(self._minute)
        time_ms = time_ns // _NS_PER_MS
        self._set_minute(Candle(time_ms - time_ms % _MINUTE_MS, px, px, px, px, sz, 1))

    def _set_minute(self, candle: Candle) -> None:
        self._minute = candle
        self._minute_end_ns = (candle.start_ms + _MINUTE_MS) * _NS_PER_MS

    def _fold(self, minute: Candle) -> None:
        series = self._all_series()
        series["1m"].append(minute)
        for interval in _FOLDED:
            start, longer = start_of(interval, minute.start_ms), series[interval]
            if longer and longer[-1].start_ms == start:
                longer[-1].add(minute)
            else:
                longer.append(msgspec.structs.replace(minute, start_ms=start))

    def _all_series(self) -> dict[str, deque[Candle]]:
        if self._series is None:
            self._series = {name: deque(maxlen=CANDLES_KEPT) for name in INTERVALS}
        return self._series

    def _is_whole(self, start_ms: int) -> bool:
        return self.since_ns is not None and start_ms * _NS_PER_MS >= self.since_ns


def _row(market: int, interval: str, one: Candle) -> CandleRow:
    prices = (one.open, one.high, one.low, one.close)
    return CandleRow(market, interval, one.start_ms, *prices, str(one.volume), one.trades)


def start_of(interval: str, time_ms: int) -> int:
    """When the interval that a time is in began, ms. O(1)."""
    length = LENGTHS_MS.get(interval)
    return time_ms - time_ms % length if length else _month(min(time_ms, _LAST_MS), 0)


def end_of(interval: str, start_ms: int) -> int:
    """The last ms of an interval that began then."""
    length = LENGTHS_MS.get(interval)
    return (start_ms + length if length else _month(start_ms, 1)) - 1


def _month(time_ms: int, later: int) -> int:
    day = datetime.fromtimestamp(time_ms // 1000, UTC)
    years, month = divmod(day.month - 1 + later, 12)
    return int(datetime(day.year + years, month + 1, 1, tzinfo=UTC).timestamp()) * 1000
