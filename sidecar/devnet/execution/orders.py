"""Orders as the chain keeps them: those that rest in a book, those that wait for a trigger."""

import msgspec

from sidecar.node.transitions import OrderStatus

GTC = "Gtc"
IOC = "Ioc"
ALO = "Alo"
MARKET = "FrontendMarket"  # a market order: an aggressive limit price and what it takes of the book
LIQUIDATION = "LiquidationMarket"  # the chain's own, for somebody who is short of margin
IMMEDIATE = frozenset((IOC, MARKET, LIQUIDATION))  # these never rest


class Resting(msgspec.Struct, gc=False):
    """A resting order: `sz` is what is left of it, `opened` its status when it was placed.

    `traded`: whether a part of it was filled; it may also have been clipped, or have shrunk.
    """

    oid: int
    user: bytes
    side: int
    px: int
    sz: int
    opened: OrderStatus
    traded: bool = False


class Waiting(msgspec.Struct, gc=False):
    """A stop or take-profit order that waits: for the mark price, or first for its parent's fill.

    `above`: it triggers when the mark price is at or above its trigger price, else at or below.
    """

    opened: OrderStatus  # its status when it was placed; `opened.trigger` holds the price
    above: bool
    is_market: bool
    active: bool = True  # False while the parent is not filled
    parent: int = 0


def moved(opened: OrderStatus, sz: int, status: str, time_ns: int) -> OrderStatus:
    """A later status of an order, of which `sz` is left."""
    return OrderStatus(
        opened.oid,
        opened.user,
        opened.market,
        opened.side,
        opened.limit_px,
        sz,
        opened.orig_sz,
        opened.tif,
        opened.reduce_only,
        opened.trigger,
        opened.cloid,
        status,
        time_ns,
        opened.placed_ns,
        opened.order_type,
    )
