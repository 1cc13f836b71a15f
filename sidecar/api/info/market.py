"""Info requests about markets: rules, books, mids, trades."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecar.api.channels.all_mids import all_mids
from sidecar.api.channels.l2_book import L2BookParameters, check_rounding, l2_view
from sidecar.api.channels.l4_book import l4_view
from sidecar.api.context_views import asset_contexts
from sidecar.api.info.handler import DexParameters, Handler, NoParameters
from sidecar.api.messages import NS_PER_MS, TradeView, trade_view
from sidecar.api.meta_view import meta_view, unknown_rules
from sidecar.api.topics import CoinParameters, check_dex, find_book, find_market
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
    return meta_view(state)


def _meta_and_asset_ctxs(state: ChainState, parameters: DexParameters) -> list[Any]:
    return [_meta(state, parameters), asset_contexts(state)]


def _spot_meta_and_asset_ctxs(state: ChainState, parameters: NoParameters) -> list[Any]:
    return [_spot_meta(state, parameters), []]


def _spot_meta(state: ChainState, _parameters: NoParameters) -> dict[str, Any]:
    spot = next(
        (symbol for symbol in state.by_symbol if symbol.startswith("@") or "/" in symbol), None
    )
    if spot is not None:
        raise unknown_rules(spot, "spotMeta")
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


def _l4_snapshot(state: ChainState, parameters: CoinParameters) -> dict[str, Any]:
    """As the snapshot of the l4Book channel. O(orders)."""
    return l4_view(find_book(state, parameters.coin), state.height, state.time_ns)


def _exchange_status(state: ChainState, _parameters: NoParameters) -> dict[str, Any]:
    return {"time": state.time_ns // NS_PER_MS, "specialStatuses": None}


HANDLERS = {
    "meta": Handler(DexParameters, _meta),
    "spotMeta": Handler(NoParameters, _spot_meta),
    "metaAndAssetCtxs": Handler(DexParameters, _meta_and_asset_ctxs),
    "spotMetaAndAssetCtxs": Handler(NoParameters, _spot_meta_and_asset_ctxs),
    "perpDexs": Handler(NoParameters, _perp_dexs),
    "allMids": Handler(DexParameters, _all_mids),
    "l2Book": Handler(L2BookParameters, _l2_book),
    "l4Snapshot": Handler(CoinParameters, _l4_snapshot),
    "recentTrades": Handler(RecentTradesParameters, _recent_trades),
    "exchangeStatus": Handler(NoParameters, _exchange_status),
}
