"""The rules of all markets as clients read them: Hyperliquid's `meta`."""

from typing import Any

from sidecar.errors import NotInSource
from sidecar.fixed import to_text
from sidecar.node.transitions import MarketListed
from sidecar.state.chain import ChainState

_TIERED_TABLES = 1_000  # and the market: ids of tables with tiers


def meta_view(state: ChainState) -> dict[str, Any]:
    """The rules of all markets, in asset order. Raises `NotInSource`. O(markets)."""
    universe, tables = [], {}
    for market in state.markets.values():
        listing = market.listing
        if listing.sz_decimals is None or listing.max_leverage is None:
            raise unknown_rules(market.symbol, "meta")
        table, tiers = _margin_table(market.id, listing)
        tables[table] = tiers
        rules = {
            "name": market.symbol,
            "szDecimals": listing.sz_decimals,
            "maxLeverage": listing.max_leverage,
            "marginTableId": table,
        }
        universe.append(rules | ({"onlyIsolated": True} if listing.only_isolated else {}))
    return {"universe": universe, "marginTables": sorted(tables.items())}


def _margin_table(market: int, listing: MarketListed) -> tuple[int, dict[str, Any]]:
    """The id and tiers of a market's margin table: without tiers the highest leverage is the id, as
    on Hyperliquid.
    """
    assert listing.max_leverage is not None
    tiers = listing.margin_tiers or ((0, listing.max_leverage),)
    rows = [{"lowerBound": to_text(lower), "maxLeverage": most} for lower, most in tiers]
    if len(tiers) == 1:
        return listing.max_leverage, {"description": "", "marginTiers": rows}
    description = f"tiered {listing.max_leverage}x"
    return _TIERED_TABLES + market, {"description": description, "marginTiers": rows}


def unknown_rules(symbol: str, request: str) -> NotInSource:
    """What to say of a market whose rules the node does not write."""
    return NotInSource(
        f"this node's files do not carry the rules of {symbol} (szDecimals, leverage), so "
        f"{request} is not available here; ask an API of the chain itself for it"
    )
