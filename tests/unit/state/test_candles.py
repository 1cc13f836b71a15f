"""Candles and day figures equal what all trades say, whenever one looks."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import ALICE, BOB, PX
from candle_case import LENGTHS, Traded, candles_of
from sidecar.fixed import SCALE
from sidecar.limits import FUNDING_RATES_KEPT
from sidecar.node.transitions import BID, Fill, FundingSettled, Leg
from sidecar.state.candles import (
    INTERVALS,
    Candle,
    CandleRow,
    Candles,
    CandlesRow,
    end_of,
    start_of,
)
from sidecar.state.context import Context, ContextRow, MinuteRow, RateRow

FOR_EVER = 1 << 60
START_NS = 1_767_000_000_000_000_000  # 2025-12-29, a Monday
STEPS_S = (0, 1, 59, 60, 61, 3_600, 86_399, 86_400, 200_000, 2_700_000)

steps = st.lists(
    st.tuples(st.sampled_from(STEPS_S), st.integers(1, 50), st.integers(1, 9)), max_size=60
)


def trades_of(taken: list[tuple[int, int, int]]) -> list[Traded]:
    time_ns, found = START_NS, []
    for seconds, px, sz in taken:
        time_ns += seconds * 1_000_000_000
        found.append(Traded(time_ns, px, sz))
    return found


def again(candles: Candles) -> Candles:
    copy = Candles(None)
    for row in candles.rows(1):
        copy.restore(row)
    return copy


def same(candles: Candles) -> Candles:
    return candles


@pytest.mark.parametrize("renew", [same, again], ids=["uninterrupted", "restored"])
@given(taken=steps, at=st.integers(0, 60))
def test_every_interval_is_what_all_trades_say(
    renew: Callable[[Candles], Candles], taken: list[tuple[int, int, int]], at: int
) -> None:
    candles, trades = Candles(), trades_of(taken)
    for number, one in enumerate(trades):
        if number == at:
            candles = renew(candles)
        candles.trade(*one)
    for interval in INTERVALS:
        expected = candles_of(interval, trades)
        assert candles.between(interval, 0, FOR_EVER) == expected
        assert candles.running(interval) == (expected[-1] if expected else None)


@given(taken=steps, since_s=st.integers(-10, 400_000))
def test_a_candle_that_began_before_is_not_shown(
    taken: list[tuple[int, int, int]], since_s: int
) -> None:
    since_ns = START_NS + since_s * 1_000_000_000
    trades = [one for one in trades_of(taken) if one.time_ns >= since_ns]
    candles = Candles(since_ns)
    for one in trades:
        candles.trade(*one)
    for interval in INTERVALS:
        whole = [c for c in candles_of(interval, trades) if c.start_ms * 1_000_000 >= since_ns]
        assert candles.between(interval, 0, FOR_EVER) == whole
        running = candles.running(interval)
        assert running is None or running in whole


def test_a_market_whose_start_is_not_known_begins_with_its_first_trade() -> None:
    candles = Candles(None)
    assert candles.running("1m") is None
    candles.trade(START_NS + 1, 5, 1)
    assert candles.running("1m") is None
    candles.trade(START_NS + 60_000_000_001, 6, 1)
    running = candles.running("1m")
    assert running is not None
    assert running.open == 6
    assert candles.running("1h") is None


def test_the_range_is_of_starts_ends_included() -> None:
    candles = Candles()
    for minute in range(5):
        candles.trade(START_NS + minute * 60_000_000_000, minute + 1, 1)
    first = START_NS // 1_000_000
    found = candles.between("1m", first + 60_000, first + 180_000)
    assert [one.open for one in found] == [2, 3, 4]


def ms(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc,arg-type]


NEW_YEAR = ms(2026, 1, 1)  # a Thursday, with which all intervals begin
NS = 1_000_000  # of a ms


def two_minutes(candles: Candles) -> Candles:
    for after_ns, px, sz in ((0, 5, 1), (1, 9, 2), (59_999_999_999, 3, 4), (60_000_000_000, 4, 8)):
        candles.trade(NEW_YEAR * NS + after_ns, px, sz)
    return candles


def test_a_minute_that_is_over_is_part_of_all_longer_intervals() -> None:
    assert Candles().is_first("1m")  # of none at all
    candles = two_minutes(Candles())
    minutes = [Candle(NEW_YEAR, 5, 9, 3, 3, 7, 3), Candle(NEW_YEAR + 60_000, 4, 4, 4, 4, 8, 1)]
    assert candles.between("1m", 0, FOR_EVER) == minutes
    assert candles.running("1m") == minutes[1]
    assert all(isinstance(one.start_ms, int) for one in candles.between("1m", 0, FOR_EVER))
    for interval in INTERVALS[1:]:
        assert candles.running(interval) == Candle(NEW_YEAR, 5, 9, 3, 4, 15, 4)
        assert candles.between(interval, 0, FOR_EVER) == [candles.running(interval)]


def test_what_is_kept_of_candles_comes_back() -> None:
    candles, first = two_minutes(Candles(5)), (NEW_YEAR, 5, 9, 3, 3, "7", 3)
    rows = [
        CandlesRow(7, 5),
        *(CandleRow(7, interval, *first) for interval in INTERVALS),
        CandleRow(7, "", NEW_YEAR + 60_000, 4, 4, 4, 4, "8", 1),
    ]
    assert list(candles.rows(7)) == rows
    assert list(again(candles).rows(7)) == rows
    assert list(Candles().rows(7)) == [CandlesRow(7, 0)]


def test_the_first_candle_is_so_until_the_next() -> None:
    candles = Candles()
    candles.trade(NEW_YEAR * NS, 5, 1)
    assert candles.is_first("1m")
    two_minutes(candles)
    assert not candles.is_first("1m")
    assert candles.is_first("3m")


def test_no_more_candles_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.state.candles.CANDLES_KEPT", 3)
    candles = Candles()
    for minute in range(6):
        candles.trade((NEW_YEAR + minute * 60_000) * NS, minute + 1, 1)
    assert [one.open for one in candles.between("1m", 0, FOR_EVER)] == [4, 5, 6]
    rows = [row for row in candles.rows(7) if isinstance(row, CandleRow)]
    assert [row.open for row in rows if row.interval == "1m"] == [3, 4, 5]


def test_a_candle_that_begins_as_trades_are_known_is_whole() -> None:
    for later_ns in (0, 1):
        candles = Candles(NEW_YEAR * NS + later_ns)
        candles.trade(NEW_YEAR * NS + 1, 5, 1)
        assert (candles.running("1m") is None) == bool(later_ns)
        assert (candles.between("1m", 0, FOR_EVER) == []) == bool(later_ns)


@pytest.mark.parametrize("interval", LENGTHS)
def test_an_interval_ends_where_the_next_begins(interval: str) -> None:
    length = LENGTHS[interval] * 60_000
    assert start_of(interval, NEW_YEAR) == start_of(interval, NEW_YEAR + length - 1) == NEW_YEAR
    assert start_of(interval, NEW_YEAR - 1) == NEW_YEAR - length
    assert end_of(interval, NEW_YEAR) == NEW_YEAR + length - 1


def test_no_month_is_later_than_those_of_the_year_9999() -> None:
    assert start_of("1M", FOR_EVER) == ms(9999, 1, 1)
    assert start_of("1M", ms(9998, 12, 31)) == ms(9998, 12, 1)


def test_months_are_the_calendars() -> None:
    assert start_of("1M", ms(2026, 2, 28, 23, 59)) == ms(2026, 2, 1)
    assert end_of("1M", ms(2026, 2, 1)) == ms(2026, 3, 1) - 1
    assert end_of("1M", ms(2025, 12, 1)) == ms(2026, 1, 1) - 1
    assert start_of("1w", ms(2026, 1, 7)) == ms(2026, 1, 1)  # a Thursday


def test_months_are_utcs_wherever_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        starts = [start_of("1M", ms(2026, 2, 28, hour)) for hour in (0, 23)]
    time.tzset()
    assert starts == [ms(2026, 2, 1)] * 2


def fill_of(one: Traded) -> Fill:
    buyer, seller = Leg(ALICE, 1, None, 0, 0, 0), Leg(BOB, 2, None, 0, 0, 0)
    return Fill(1, 1, one.px * PX, one.sz * PX, BID, b"", buyer, seller)


@given(taken=steps, later_s=st.integers(0, 200_000))
def test_the_day_is_the_last_24_hours_by_whole_minutes(
    taken: list[tuple[int, int, int]], later_s: int
) -> None:
    context, trades = Context(), trades_of(taken)
    for one in trades:
        context.trade(one.time_ns, fill_of(one))
    now = (trades[-1].time_ns if trades else START_NS) + later_s * 1_000_000_000
    minute, day = 60_000_000_000, 86_400_000_000_000
    ended = [one for one in trades if one.time_ns // minute * minute + minute <= now - day]
    within = trades[len(ended) :]
    notional = sum(one.px * PX * one.sz * PX // SCALE for one in within)
    before = ended[-1].px * PX if ended else within[0].px * PX if within else None
    copy = Context()
    for row in context.rows(1):
        copy.restore(row)
    assert context.day(now) == (notional, sum(one.sz for one in within) * PX, before)
    assert copy.day(now) == context.day(now)


def test_a_minute_leaves_the_day_24_hours_after_its_end() -> None:
    context, minute, day = Context(), 60_000_000_000, 86_400_000_000_000
    assert context.day(START_NS) == (0, 0, None)
    for after_ns, px, sz in ((minute - 2, 5, 1), (minute - 1, 6, 1), (minute, 7, 3)):
        context.trade(START_NS + after_ns, fill_of(Traded(0, px, sz)))
    end = START_NS + minute + day
    assert list(context.rows(3)) == [
        ContextRow(3, 0),
        MinuteRow(3, START_NS, str(11 * PX), str(2 * PX), 5 * PX, 6 * PX),
        MinuteRow(3, START_NS + minute, str(21 * PX), str(3 * PX), 7 * PX, 7 * PX),
    ]
    assert context.day(end - 1) == (32 * PX, 5 * PX, 5 * PX)
    assert context.day(end) == (21 * PX, 3 * PX, 6 * PX)
    assert list(context.rows(3)) == [
        ContextRow(3, 6 * PX),
        MinuteRow(3, START_NS + minute, str(21 * PX), str(3 * PX), 7 * PX, 7 * PX),
    ]
    assert context.day(end + minute - 1) == (21 * PX, 3 * PX, 6 * PX)
    assert context.day(end + minute) == (0, 0, 7 * PX)


def test_what_is_kept_of_a_day_comes_back() -> None:
    rows: list[MinuteRow | RateRow | ContextRow] = [
        ContextRow(3, 5),
        MinuteRow(3, START_NS, "70", "10", 7, 8),
        MinuteRow(3, START_NS + 60_000_000_000, "81", "9", 8, 9),
        RateRow(3, 4, 10, 20),
    ]
    context = Context()
    for row in rows:
        context.restore(row)
    assert list(context.rows(3)) == rows
    assert context.day(START_NS) == (151, 19, 5)


def test_a_side_that_the_node_does_not_write_moves_no_open_interest() -> None:
    context = Context()
    buyer = Leg(ALICE, 1, None, 0, 0, 0)
    assert context.open_interest == 0
    context.trade(START_NS, Fill(1, 1, PX, 2, BID, b"", buyer, None))
    assert context.open_interest == 2
    context.trade(START_NS, Fill(1, 1, PX, 2, BID, b"", None, None))
    assert context.open_interest == 2
    seller = Leg(ALICE, 1, None, 2, 0, 0)
    context.trade(START_NS, Fill(1, 1, PX, 2, BID, b"", None, seller))
    assert context.open_interest == 0


def test_open_interest_is_what_longs_hold() -> None:
    context = Context()

    def trade(buyer: int, seller: int, sz: int) -> int:
        legs = (Leg(ALICE, 1, None, start * PX, 0, 0) for start in (buyer, seller))
        context.trade(START_NS, Fill(1, 1, PX, sz * PX, BID, b"", *legs))
        return context.open_interest // PX

    assert trade(0, 0, 5) == 5  # both open
    assert trade(0, 5, 2) == 5  # a long hands over to a long
    assert trade(-3, 3, 3) == 2  # both close
    assert trade(-2, 2, 4) == 2  # both flip


def test_rates_are_kept_and_come_back() -> None:
    context, copy = Context(), Context()
    assert context.rates.maxlen == FUNDING_RATES_KEPT
    context.funded(7, FundingSettled(1, 10, 20, 30, ()))
    for row in context.rows(1):
        copy.restore(row)
    assert copy.rates == context.rates
    assert copy.rates[-1].time_ns == 7
    assert (copy.rates[-1].rate, copy.rates[-1].premium) == (10, 20)


def test_sums_of_more_than_64_bits_come_back() -> None:
    candles, context = Candles(), Context()
    huge = Traded(START_NS, 90_000_000, 90_000_000_000)
    for minute in range(9):
        time_ns = START_NS + minute * 60_000_000_000
        candles.trade(time_ns, huge.px * PX, huge.sz * PX)
        context.trade(time_ns, fill_of(huge))
    rows = [*candles.rows(1), *context.rows(1)]
    encoded = msgspec.msgpack.encode(rows)
    assert encoded
    assert again(candles).between("1M", 0, FOR_EVER) == candles.between("1M", 0, FOR_EVER)


def test_rows_of_earlier_checkpoints_are_read() -> None:
    """Their tags are on disk."""
    encoded = msgspec.msgpack.encode(
        [
            [48, 1, None],
            [49, 1, "1h", 2, 3, 4, 5, 6, "7", 8],
            [50, 1, 2, "3", "4", 5, 6],
            [51, 1, 2, 3, 4],
            [52, 1, 2],
        ]
    )
    kinds = CandlesRow | CandleRow | MinuteRow | RateRow | ContextRow
    assert msgspec.msgpack.decode(encoded, type=list[kinds]) == [
        CandlesRow(1, None),
        CandleRow(1, "1h", 2, 3, 4, 5, 6, "7", 8),
        MinuteRow(1, 2, "3", "4", 5, 6),
        RateRow(1, 2, 3, 4),
        ContextRow(1, 2),
    ]
