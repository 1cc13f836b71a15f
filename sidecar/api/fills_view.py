"""A user's fills as clients read them, one by one or combined.

Combined are the fills that one crossing order got from several resting ones in a block: sizes,
fees and closed PnL are added up, the price is the average by size, and the rest is the first one's.
What such an order closed and what it opened stay apart, as `dir` tells them apart.
"""

from collections.abc import Iterable, Reversible
from itertools import groupby, islice

import msgspec
from msgspec import UNSET, UnsetType

from sidecar.api.messages import NS_PER_MS, hex_text, side_text
from sidecar.fixed import Rounding, divide, to_text
from sidecar.node.transitions import Liquidation
from sidecar.state.chain import ChainState
from sidecar.state.history import UserFill


class LiquidationView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """Why a fill happened."""

    liquidated_user: str
    mark_px: str
    method: str


class FillView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """A fill. `crossed`: the user was the taker."""

    coin: str
    px: str
    sz: str
    side: str
    time: int
    start_position: str
    dir: str
    closed_pnl: str
    hash: str
    oid: int
    crossed: bool
    fee: str
    tid: int
    fee_token: str
    twap_id: int | None
    cloid: str | UnsetType = UNSET
    liquidation: LiquidationView | UnsetType = UNSET


def fill_views(
    state: ChainState,
    fills: Iterable[UserFill],
    *,
    combine: bool,
    limit: int | None = None,
) -> list[FillView]:
    """Fills in the order of execution, the first `limit` of them. O(fills that make them)."""
    if not combine:
        return [_view(state, [one]) for one in islice(fills, limit)]
    groups = (list(group) for _, group in groupby(fills, _belongs_to))
    return [_view(state, group) for group in islice(groups, limit)]


def newest_fill_views(
    state: ChainState, fills: Reversible[UserFill], *, combine: bool, limit: int
) -> list[FillView]:
    """The last `limit` of fills in the order of execution, newest first. Likewise."""
    if not combine:
        return [_view(state, [one]) for one in islice(reversed(fills), limit)]
    groups = (list(group) for _, group in groupby(reversed(fills), _belongs_to))
    return [_view(state, group[::-1]) for group in islice(groups, limit)]


def _belongs_to(one: UserFill) -> tuple[object, ...]:
    """Equal for fills that are combined."""
    fill, leg = one.trade.fill, one.leg
    if one.side != fill.taker_side:
        return (one.trade.height, fill.tid, leg.oid)
    return (one.trade.height, leg.oid, leg.direction, leg.fee_token, leg.liquidation)


def _view(state: ChainState, group: list[UserFill]) -> FillView:
    first = group[0]
    fill, leg = first.trade.fill, first.leg
    sz, px = fill.sz, fill.px
    if len(group) > 1:
        fills = [one.trade.fill for one in group]
        sz = sum(one.sz for one in fills)
        px = divide(sum(one.px * one.sz for one in fills), sz, Rounding.HALF_EVEN)
    return FillView(
        state.markets[fill.market].symbol,
        to_text(px),
        to_text(sz),
        side_text(first.side),
        first.trade.time_ns // NS_PER_MS,
        to_text(leg.start_position),
        leg.direction,
        to_text(sum(one.leg.closed_pnl for one in group)),
        hex_text(fill.hash),
        leg.oid,
        first.side == fill.taker_side,
        to_text(sum(one.leg.fee for one in group)),
        fill.tid,
        leg.fee_token,
        leg.twap_id,
        UNSET if leg.cloid is None else hex_text(leg.cloid),
        UNSET if leg.liquidation is None else _liquidation_view(leg.liquidation),
    )


def _liquidation_view(why: Liquidation) -> LiquidationView:
    return LiquidationView(hex_text(why.user), to_text(why.mark_px), why.method)
