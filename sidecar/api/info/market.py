"""Info requests about markets: rules, books, mids, trades."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecar.api.channels.all_mids import all_mids
from sidecar.api.channels.l2_book import L2BookParameters, check_rounding, l2_view
from sidecar.api.info.handler import DexParameters, Handler, NoParameters
from sidecar.api.messages import NS_PER_MS, TradeView, trade_view
from sidecar.api.topics import check_dex, find_book, find_market
from sidecar.errors import NotInSource
from sidecar.limits import L2_LEVELS_DEFAULT, RECENT_TRADES
from sidecar.node.transitions import ASK, BID
from sidecar.state.aggregation import Aggregation
from sidecar.state.chain import ChainState


class RecentTradesParameters(msgspec.Struct, frozen=True):
    """`n`: how many, at most."""

    coin: str
    n: Annotated[int, Meta(ge=1, le=RECENT_TRADES)] = 10


def _meta(state: ChainState, parameters: DexParameters) -> dict[str, Any]:
    check_dex(parameters.dex)
    universe = []
    for market in state.markets.values():
        listing = market.listing
        if listing.sz_decimals is None or listing.max_leverage is None:
            raise _unknown_rules(market.symbol, "meta")
        rules = {
            "name": market.symbol,
            "szDecimals": listing.sz_decimals,
            "maxLeverage": listing.max_leverage,
        }
        universe.append(rules | ({"onlyIsolated": True} if listing.only_isolated else {}))
    return {"universe": universe, "marginTables": []}


def _spot_meta(state: ChainState, _parameters: NoParameters) -> dict[str, Any]:
    spot = next((symbol for symbol in state.by_symbol if symbol[0] == "@" or "/" in symbol), None)
    if spot is not None:
        raise _unknown_rules(spot, "spotMeta")
    return {"universe": [], "tokens": []}


def _perp_dexs(_state: ChainState, _parameters: NoParameters) -> list[None]:
    return [None]  # the first entry stands for the chain's own, as on Hyperliquid


def _all_mids(state: ChainState, parameters: DexParameters) -> dict[str, str]:
    check_dex(parameters.dex)
    return all_mids(state)


def _l2_book(state: ChainState, parameters: L2BookParameters) -> dict[str, Any]:
    market = find_book(state, parameters.coin)
    rounding = check_rounding(parameters.n_sig_figs, parameters.mantissa)
    depth = parameters.n_levels or L2_LEVELS_DEFAULT
    if rounding is None:
        levels = market.book.depth(BID, depth), market.book.depth(ASK, depth)
    else:
        aggregation = Aggregation(market.book, *rounding)
        levels = aggregation.levels(BID, depth), aggregation.levels(ASK, depth)
    return l2_view(market, state.time_ns, levels)


def _recent_trades(state: ChainState, parameters: RecentTradesParameters) -> list[TradeView]:
    market = find_market(state, parameters.coin)
    newest = list(market.trades)[-parameters.n :]
    return [trade_view(market.symbol, trade) for trade in reversed(newest)]


def _exchange_status(state: ChainState, _parameters: NoParameters) -> dict[str, Any]:
    return {"time": state.time_ns // NS_PER_MS, "specialStatuses": None}


def _unknown_rules(symbol: str, request: str) -> NotInSource:
    return NotInSource(
        f"this node's files do not carry the rules of {symbol} (szDecimals, leverage), so "
        f"{request} is not available here; ask an API of the chain itself for it"
    )


HANDLERS = {
    "meta": Handler(DexParameters, _meta),
    "spotMeta": Handler(NoParameters, _spot_meta),
    "perpDexs": Handler(NoParameters, _perp_dexs),
    "allMids": Handler(DexParameters, _all_mids),
    "l2Book": Handler(L2BookParameters, _l2_book),
    "recentTrades": Handler(RecentTradesParameters, _recent_trades),
    "exchangeStatus": Handler(NoParameters, _exchange_status),
}
