"""Why an order or a cancel is refused, in Hyperliquid's words."""

from enum import Enum


class Refusal(Enum):
    """`status` is what the order's `OrderStatus` says, `message` what its sender is told.

    Statuses: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint
    (orderStatus); messages: .../api/error-responses. A cancel that is refused has no status.
    """

    TICK = ("tickRejected", "Price must be divisible by tick size.")
    PRICE = ("rejected", "Order has invalid price.")
    SIZE_ZERO = ("rejected", "Order has zero size.")
    SIZE = ("rejected", "Order has invalid size.")
    POST_ONLY = ("badAloPxRejected", "Post only order would have immediately matched.")
    IMMEDIATE = (
        "iocCancelRejected",
        "Order could not immediately match against any resting orders.",
    )
    NO_LIQUIDITY = ("marketOrderNoLiquidityRejected", "No liquidity available for market order.")
    NO_ORDER = ("", "Order was never placed, already canceled, or filled.")

    @property
    def status(self) -> str:
        return self.value[0]

    @property
    def message(self) -> str:
        return self.value[1]
