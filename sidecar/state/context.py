"""What a market is worth today: open interest, volume of the last 24 hours, funding."""

from collections import deque
from collections.abc import Iterator

import msgspec

from sidecar.fixed import SCALE
from sidecar.limits import FUNDING_RATES_KEPT
from sidecar.node.transitions import Fill, FundingSettled, Record

_MINUTE_NS = 60_000_000_000
DAY_NS = 24 * 60 * _MINUTE_NS


class Minute(msgspec.Struct, gc=False):
    """What was traded in a minute, and its last price."""

    start_ns: int
    notional: int
    volume: int
    first_px: int
    last_px: int


class Rate(msgspec.Struct, frozen=True, gc=False):
    """A funding settlement: rate and premium in units of 1e-8."""

    time_ns: int
    rate: int
    premium: int


class MinuteRow(Record, tag=50, frozen=True):
    """A minute of the last 24 hours, oldest first."""

    market: int
    start_ns: int
    notional: str  # as text: it may be more than 64 bits
    volume: str
    first_px: int
    last_px: int


class RateRow(Record, tag=51, frozen=True):
    """A funding settlement, oldest first."""

    market: int
    time_ns: int
    rate: int
    premium: int


class ContextRow(Record, tag=52, frozen=True):
    """The last price before the minutes that are kept, 0 for none."""

    market: int
    px_before: int


class Context:
    """The moving figures of one market, beside its prices. `open_interest` is the sum of all long
    positions, as far as they are known (see `Accounts.complete`).
    """

    __slots__ = ("_minutes", "_notional", "_px_before", "_volume", "open_interest", "rates")

    def __init__(self) -> None:
        self.open_interest = 0
        self.rates: deque[Rate] = deque(maxlen=FUNDING_RATES_KEPT)
        self._minutes: deque[Minute] = deque()
        self._notional = 0
        self._volume = 0
        self._px_before = 0

    def trade(self, time_ns: int, fill: Fill) -> None:
        """A trade. O(1)."""
        px, sz = fill.px, fill.sz
        notional = px * sz // SCALE
        self._notional += notional
        self._volume += sz
        minutes = self._minutes
        if minutes and time_ns < minutes[-1].start_ns + _MINUTE_NS:
            minute = minutes[-1]
            minute.notional += notional
            minute.volume += sz
            minute.last_px = px
        else:
            minutes.append(Minute(time_ns - time_ns % _MINUTE_NS, notional, sz, px, px))
            self._expire(time_ns)
        for leg, moved in ((fill.buyer, sz), (fill.seller, -sz)):
            if leg is not None:
                start = leg.start_position
                self.open_interest += max(start + moved, 0) - max(start, 0)

    def funded(self, time_ns: int, settled: FundingSettled) -> None:
        """A funding settlement. O(1)."""
        self.rates.append(Rate(time_ns, settled.rate, settled.premium))

    def day(self, time_ns: int) -> tuple[int, int, int | None]:
        """Notional and base volume of the last 24 hours, by whole minutes, and the price 24 hours
        ago: that of the last trade before, else of the first one known. O(minutes gone by).
        """
        self._expire(time_ns)
        first = self._minutes[0].first_px if self._minutes else None
        return self._notional, self._volume, self._px_before or first

    def rows(self, market: int) -> Iterator[MinuteRow | RateRow | ContextRow]:
        """What `restore` takes. O(minutes + rates)."""
        yield ContextRow(market, self._px_before)
        for one in self._minutes:
            sums = (str(one.notional), str(one.volume))
            yield MinuteRow(market, one.start_ns, *sums, one.first_px, one.last_px)
        for rate in self.rates:
            yield RateRow(market, rate.time_ns, rate.rate, rate.premium)

    def restore(self, row: MinuteRow | RateRow | ContextRow) -> None:
        """A row of `rows`. O(1)."""
        if isinstance(row, ContextRow):
            self._px_before = row.px_before
        elif isinstance(row, RateRow):
            self.rates.append(Rate(row.time_ns, row.rate, row.premium))
        else:
            sums = (int(row.notional), int(row.volume))
            minute = Minute(row.start_ns, *sums, row.first_px, row.last_px)
            self._minutes.append(minute)
            self._notional += minute.notional
            self._volume += minute.volume

    def _expire(self, time_ns: int) -> None:
        minutes = self._minutes
        while minutes and minutes[0].start_ns + _MINUTE_NS <= time_ns - DAY_NS:
            gone = minutes.popleft()
            self._notional -= gone.notional
            self._volume -= gone.volume
            self._px_before = gone.last_px
