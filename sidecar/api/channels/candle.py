"""`candle`: the running candle of a market and interval, in each block that traded in it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from sidecar.api.messages import ChainedPush
from sidecar.api.topics import Channel, Delivery, Needs, Topic
from sidecar.errors import RequestInvalid
from sidecar.fixed import to_text
from sidecar.state.candles import INTERVALS, Candle, end_of
from sidecar.state.changes import Changes, MarketChanges


class CandleParameters(msgspec.Struct, frozen=True):
    """A market and an interval: 1m to 1M."""

    coin: str
    interval: str


class CandleView(msgspec.Struct, gc=False, frozen=True):
    """A candle: first and last ms, market, interval, prices, base volume, number of trades."""

    t: int
    T: int
    s: str
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - Hyperliquid's name
    v: str
    n: int


class _Key(NamedTuple):
    market: int
    interval: str


class CandleChannel(Channel):
    """A topic's messages are of the blocks that have trades of the market, so `prev` is theirs.
    A candle that began before this sidecar knows of trades is not sent.
    """

    name = "candle"
    delivery = Delivery.EVERY
    needs = Needs.HISTORY
    parameters = CandleParameters

    def key(self, parameters: CandleParameters) -> tuple[_Key, str]:
        """Checks the interval."""
        market = self.market(parameters.coin)
        check_interval(parameters.interval)
        key = _Key(market.id, parameters.interval)
        return key, f"{self.name}:{market.symbol} {parameters.interval}"

    def describe(self, topic: Topic) -> dict[str, Any]:
        """With the interval."""
        return super().describe(topic) | {"interval": topic.key.interval}

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(open topics)."""
        for key, topic in self._open.items():
            changed = changes.markets.get(key.market)
            if changed is not None and changed.fills:
                candle = changed.market.candles.running(key.interval)
                if candle is not None:
                    data = candle_view(changed.market.symbol, key.interval, candle)
                    prev = changed.trades_prev
                    if candle.trades == len(changed.fills) and not _says_before(changed, key):
                        prev = None
                    yield topic, ChainedPush(self.name, data, changes.height, prev)


def _says_before(changed: MarketChanges, key: _Key) -> bool:
    """Whether the trades before this candle were told of: their candle was whole, or there are
    none.
    """
    candles = changed.market.candles
    return candles.since_ns == 0 or not candles.is_first(key.interval)


def candle_view(symbol: str, interval: str, candle: Candle) -> CandleView:
    """A candle as clients read it."""
    return CandleView(
        candle.start_ms,
        end_of(interval, candle.start_ms),
        symbol,
        interval,
        to_text(candle.open),
        to_text(candle.close),
        to_text(candle.high),
        to_text(candle.low),
        to_text(candle.volume),
        candle.trades,
    )


def check_interval(interval: str) -> None:
    """Raises `RequestInvalid` for one that there is not."""
    if interval not in INTERVALS:
        raise RequestInvalid(f"interval is one of {', '.join(INTERVALS)}, not {interval[:16]!r}")
