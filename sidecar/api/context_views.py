"""Asset contexts as clients read them. What the source does not tell is null, never made up."""

from typing import Any

from sidecar.fixed import to_text
from sidecar.node.transitions import ASK, BID
from sidecar.state.chain import ChainState
from sidecar.state.context import DAY_NS
from sidecar.state.impact import impact_px, premium
from sidecar.state.market import Market


def asset_context(state: ChainState, market: Market) -> dict[str, Any]:
    """One market's. `funding` is the newest settled rate; `premium` is of now. O(1) but for the
    levels that the impact prices take.
    """
    context = market.context
    notional, volume, before = context.day(state.time_ns)
    since_ns = market.candles.since_ns
    whole_day = since_ns == 0 or (since_ns is not None and since_ns <= state.time_ns - DAY_NS)
    prices = market.fault is None
    impacts = [impact_px(market, side) if prices else None for side in (BID, ASK)]
    return {
        "funding": _text(context.rates[-1].rate) if context.rates else None,
        "openInterest": _text(context.open_interest if state.accounts.complete else None),
        "prevDayPx": _text(before if whole_day else None),
        "dayNtlVlm": _text(notional if whole_day else None),
        "dayBaseVlm": _text(volume if whole_day else None),
        "premium": _text(premium(market) if prices else None),
        "oraclePx": _text(market.oracle_px or None),
        "markPx": _text(market.mark_px or None),
        "midPx": _text(market.mid_px()),
        "impactPxs": None if None in impacts else [_text(px) for px in impacts],
    }


def asset_contexts(state: ChainState) -> list[dict[str, Any]]:
    """All of them, in the order of `meta`'s universe. O(markets)."""
    return [asset_context(state, market) for market in state.markets.values()]


def _text(value: int | None) -> str | None:
    return None if value is None else to_text(value)
