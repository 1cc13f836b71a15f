"""Fills as a Hyperliquid node writes them, `[user, fill]` for each side, as trades.

The two legs of a trade share coin and tid within a block (a tid is a hash of the two order ids, so
it is not unique beyond). They mostly come one after the other, buyer first; nothing here relies on
that. Outcome tokens have trades with one leg only.
"""

from collections.abc import Callable, Iterable

import msgspec

from sidecar.fixed import Rounding, parse, parse_rounded
from sidecar.node.hyperliquid.texts import (
    CLOID_BYTES,
    HASH_BYTES,
    parse_address,
    parse_hex,
    parse_side,
)
from sidecar.node.transitions import ASK, BID, Fill, Leg, Liquidation


class WireLiquidation(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """Why a fill happened."""

    liquidated_user: str | None = None
    mark_px: str = "0.0"
    method: str = ""


class WireFill(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """One side of a trade; `crossed` is the taker's."""

    coin: str
    px: str
    sz: str
    side: str
    oid: int
    tid: int
    crossed: bool
    hash: str
    start_position: str = "0.0"
    dir: str = ""
    closed_pnl: str = "0.0"
    fee: str = "0.0"
    cloid: str | None = None
    liquidation: WireLiquidation | None = None
    fee_token: str = "USDC"  # noqa: S105 - a currency
    twap_id: int | None = None


UserFill = tuple[str, WireFill]


def pair_fills(fills: Iterable[UserFill], market_of: Callable[[str], int]) -> list[Fill]:
    """The trades of a block, in the order of their first legs. Raises `NumberInvalid`,
    `ValueError`. O(n).
    """
    trades: list[dict[int, UserFill]] = []  # legs by side
    unpaired: dict[tuple[str, int], dict[int, UserFill]] = {}
    for user_fill in fills:
        wire = user_fill[1]
        side = parse_side(wire.side)
        legs = unpaired.get((wire.coin, wire.tid))
        if legs is None or side in legs:  # the same orders may trade twice in a block
            legs = unpaired[wire.coin, wire.tid] = {}
            trades.append(legs)
        legs[side] = user_fill
        if len(legs) == 2:
            del unpaired[wire.coin, wire.tid]
    return [_trade(legs, market_of) for legs in trades]


def _trade(legs: dict[int, UserFill], market_of: Callable[[str], int]) -> Fill:
    taker_side = _taker_side(legs)
    wire = (legs.get(taker_side) or next(iter(legs.values())))[1]
    buyer, seller = legs.get(BID), legs.get(ASK)
    return Fill(
        tid=wire.tid,
        market=market_of(wire.coin),
        px=parse(wire.px),
        sz=parse(wire.sz),
        taker_side=taker_side,
        hash=parse_hex(wire.hash, HASH_BYTES),
        buyer=None if buyer is None else _leg(*buyer),
        seller=None if seller is None else _leg(*seller),
    )


def _taker_side(legs: dict[int, UserFill]) -> int:
    for side, (_, wire) in legs.items():
        if wire.crossed:
            return side
    maker_side = next(iter(legs))
    return ASK if maker_side == BID else BID


def _leg(user: str, wire: WireFill) -> Leg:
    return Leg(
        user=parse_address(user),
        oid=wire.oid,
        cloid=None if wire.cloid is None else parse_hex(wire.cloid, CLOID_BYTES),
        start_position=_amount(wire.start_position),
        closed_pnl=_amount(wire.closed_pnl),
        fee=_amount(wire.fee),
        liquidation=None if wire.liquidation is None else _liquidation(wire.liquidation),
        direction=wire.dir,
        fee_token=wire.fee_token,
        twap_id=wire.twap_id,
    )


def _liquidation(wire: WireLiquidation) -> Liquidation | None:
    if wire.liquidated_user is None:
        return None
    return Liquidation(parse_address(wire.liquidated_user), _amount(wire.mark_px), wire.method)


def _amount(text: str) -> int:
    return parse_rounded(text, Rounding.TOWARD_ZERO)  # spot positions have up to 18 decimals
