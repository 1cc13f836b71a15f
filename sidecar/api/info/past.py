"""Info requests about what markets have been through: candles, funding."""

from itertools import pairwise
from typing import Any

import msgspec

from sidecar.api.channels.candle import CandleView, candle_view, check_interval
from sidecar.api.info.handler import Handler, NoParameters
from sidecar.api.messages import NS_PER_MS
from sidecar.api.topics import find_market
from sidecar.errors import NotInSource
from sidecar.fixed import to_text
from sidecar.limits import FUNDING_RATES_MAX
from sidecar.state.candles import start_of
from sidecar.state.chain import ChainState
from sidecar.state.health import NS_PER_S
from sidecar.state.impact import hourly_rate, premium
from sidecar.state.market import Market

_FOR_EVER_MS = 1 << 53
_HOUR_MS = 3_600_000
_RATES_LOOKED_AT = 5  # to tell the interval between settlements


class CandleRequest(msgspec.Struct, rename="camel", frozen=True):
    """A market, an interval and a range of times in ms, ends included."""

    coin: str
    interval: str
    start_time: int = 0
    end_time: int | None = None


class CandleSnapshotParameters(msgspec.Struct, frozen=True):
    """Hyperliquid's nesting."""

    req: CandleRequest


class FundingHistoryParameters(msgspec.Struct, rename="camel", frozen=True):
    """A market and a range of times in ms, ends included."""

    coin: str
    start_time: int
    end_time: int | None = None


def _candle_snapshot(state: ChainState, parameters: CandleSnapshotParameters) -> list[CandleView]:
    """The candles of the range, that in which it begins included, oldest first."""
    request = parameters.req
    market = find_market(state, request.coin)
    check_interval(request.interval)
    last = _FOR_EVER_MS if request.end_time is None else request.end_time
    first = start_of(request.interval, max(request.start_time, 0))
    candles = market.candles.between(request.interval, first, last)
    return [candle_view(market.symbol, request.interval, one) for one in candles]


def _funding_history(
    state: ChainState, parameters: FundingHistoryParameters
) -> list[dict[str, Any]]:
    """At most 500, oldest first: the next ones are asked for from the last one's time on."""
    market = find_market(state, parameters.coin)
    _check_funding(state, "fundingHistory")
    last = _FOR_EVER_MS if parameters.end_time is None else parameters.end_time
    found = [
        {
            "coin": market.symbol,
            "fundingRate": to_text(one.rate),
            "premium": to_text(one.premium),
            "time": one.time_ns // NS_PER_MS,
        }
        for one in market.context.rates
        if parameters.start_time <= one.time_ns // NS_PER_MS <= last
    ]
    return found[:FUNDING_RATES_MAX]


def _predicted_fundings(state: ChainState, _parameters: NoParameters) -> list[Any]:
    """What an hour would cost at the premium of now; the chain settles the hour's average."""
    _check_funding(state, "predictedFundings")
    return [
        [market.symbol, [["HlPerp", _predicted(state, market)]]]
        for market in state.markets.values()
    ]


def _predicted(state: ChainState, market: Market) -> dict[str, Any] | None:
    now = premium(market) if market.fault is None else None
    if now is None:
        return None
    rates = market.context.rates
    interval_ms = _HOUR_MS
    if len(rates) > 1:
        times = [rate.time_ns for rate in list(rates)[-_RATES_LOOKED_AT:]]
        between_s = min(later - one for one, later in pairwise(times)) / NS_PER_S
        interval_ms = max(round(between_s), 1) * 1000  # of blocks: they jitter, and may pause
    time_ms = state.time_ns // NS_PER_MS
    following = (time_ms // interval_ms + 1) * interval_ms
    return {"fundingRate": to_text(hourly_rate(now)), "nextFundingTime": following}


def _check_funding(state: ChainState, request: str) -> None:
    if not state.accounts.complete:
        raise NotInSource(
            f"this node's files do not hold funding, so {request} is not available here; ask an "
            "API of the chain itself"
        )


HANDLERS = {
    "candleSnapshot": Handler(CandleSnapshotParameters, _candle_snapshot),
    "fundingHistory": Handler(FundingHistoryParameters, _funding_history),
    "predictedFundings": Handler(NoParameters, _predicted_fundings),
}
