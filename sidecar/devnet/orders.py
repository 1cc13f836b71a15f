"""What traders ask of the exchange, and what becomes of it: actions, and orders that rest."""

import msgspec

from sidecar.node.transitions import OrderStatus

GTC = "Gtc"
IOC = "Ioc"
ALO = "Alo"
MARKET = "FrontendMarket"  # a market order: an aggressive limit price and what it takes of the book
IMMEDIATE = frozenset((IOC, MARKET))  # these never rest


class Place(msgspec.Struct, frozen=True, gc=False):
    """Place an order. A market order's `px` is the worst price it takes."""

    user: bytes
    market: int
    side: int
    px: int
    sz: int
    tif: str = GTC
    cloid: bytes | None = None


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Take a resting order of one's own out of the book."""

    user: bytes
    market: int
    oid: int


Action = Place | Cancel


class Resting(msgspec.Struct, gc=False):
    """A resting order: `sz` is what is left of it, `opened` its status when it was placed."""

    oid: int
    user: bytes
    side: int
    px: int
    sz: int
    opened: OrderStatus
