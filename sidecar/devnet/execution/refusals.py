"""Why an order, a cancel or a whole action is refused, in Hyperliquid's words.

Statuses: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint
(orderStatus); messages: .../api/error-responses and, where that page is silent, what clients of the
real API report.
"""

from enum import Enum

import msgspec

from sidecar.errors import PeerError


class Refusal(Enum):
    """`status` is what the order's `OrderStatus` says, `message` what its sender is told.

    A cancel that is refused has no status.
    """

    TICK = ("tickRejected", "Price must be divisible by tick size.")
    PRICE = ("rejected", "Order has invalid price.")
    SIZE_ZERO = ("rejected", "Order has zero size.")
    SIZE = ("rejected", "Order has invalid size.")
    MIN_NOTIONAL = ("minTradeNtlRejected", "Order must have minimum value of 1000 JPY.")
    TOO_MANY_ORDERS = ("tooManyOpenOrdersRejected", "Too many open orders.")
    TRIGGER_PX = ("badTriggerPxRejected", "Invalid TP/SL price.")
    REDUCE_ONLY = ("reduceOnlyRejected", "Reduce only order would increase position.")
    ORACLE = ("oracleRejected", "Order price too far from oracle")
    POST_ONLY = (
        "badAloPxRejected",
        "Post only order would have immediately matched, bbo was {bbo}.",
    )
    IMMEDIATE = (
        "iocCancelRejected",
        "Order could not immediately match against any resting orders.",
    )
    NO_LIQUIDITY = ("marketOrderNoLiquidityRejected", "No liquidity available for market order.")
    MARGIN = ("perpMarginRejected", "Insufficient margin to place order.")
    MAX_POSITION = (
        "perpMaxPositionRejected",
        "Order would cause position to exceed margin tier limit at current leverage",
    )
    NO_ORDER = ("", "Order was never placed, already canceled, or filled.")
    NOT_MODIFIABLE = ("", "Cannot modify canceled or filled order")

    @property
    def status(self) -> str:
        return self.value[0]

    @property
    def message(self) -> str:
        return self.value[1]


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An order, cancel or modification that was refused; `message` is what its sender is told."""

    refusal: Refusal
    message: str


REFUSED = {refusal: Refused(refusal, refusal.message) for refusal in Refusal}


class ActionRefused(PeerError):
    """A whole action that is refused before any part of it is executed; the message says why."""
