"""The markets: five tokenised Japanese equities as perpetuals, quoted in yen, and their price grid.

A price has at most 5 significant figures and at most 6 - sz_decimals decimals; a whole number of
yen is always allowed. A size is a multiple of 10^-sz_decimals.
(https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/tick-and-lot-size)
"""

import msgspec

from sidecar.devnet.refusals import Refusal
from sidecar.fixed import DECIMALS, SCALE
from sidecar.node.transitions import MarketListed

QUOTE = "JPY"
SIGNIFICANT_FIGURES = 5
PX_DECIMALS = 6  # less the market's sz_decimals
NUMBER_MAX = (1 << 63) - 1  # of a price or size: the largest int of every language's 64 bits


class Market(msgspec.Struct, frozen=True):
    """A market's rules; `start_px` is where its price begins."""

    id: int
    symbol: str
    start_px: int
    sz_decimals: int
    max_leverage: int

    @property
    def lot(self) -> int:
        """The smallest size."""
        lot: int = 10 ** (DECIMALS - self.sz_decimals)
        return lot

    def tick(self, px: int) -> int:
        """The distance of allowed prices at `px`, a power of ten: 0.1 at 3000.0, 1 at 13000.

        Both rules ask for divisibility by a power of ten, so the coarser one decides; a whole
        number is allowed whatever its length, so no tick is over 1.
        """
        figures: int = 10 ** max(len(str(px)) - SIGNIFICANT_FIGURES, 0)
        decimals: int = 10 ** (DECIMALS - PX_DECIMALS + self.sz_decimals)
        tick: int = max(decimals, min(figures, SCALE))
        return tick

    def listing(self) -> MarketListed:
        """What the chain says of it at genesis."""
        tiers = ((0, self.max_leverage),)
        return MarketListed(
            self.id, self.symbol, self.sz_decimals, self.max_leverage, margin_tiers=tiers
        )


MARKETS = (
    Market(0, "TOYOTA", 3_000 * SCALE, 2, 20),
    Market(1, "SONY", 4_000 * SCALE, 2, 20),
    Market(2, "MUFG", 2_400 * SCALE, 2, 20),
    Market(3, "NTT", 160 * SCALE, 1, 10),
    Market(4, "NINTENDO", 13_000 * SCALE, 3, 20),
)


def validate_px(market: Market, px: int) -> Refusal | None:
    """Why an order at this price is refused, None where the price is good."""
    if not 0 < px <= NUMBER_MAX:
        return Refusal.PRICE
    return Refusal.TICK if px % market.tick(px) else None


def validate_sz(market: Market, sz: int) -> Refusal | None:
    """Why an order of this size is refused, None where the size is good."""
    if sz == 0:
        return Refusal.SIZE_ZERO
    return Refusal.SIZE if sz % market.lot or not 0 < sz <= NUMBER_MAX else None


def floor_px(market: Market, px: int) -> int:
    """The highest allowed price that is not above `px`, but at least one tick."""
    tick = market.tick(px)
    return max(px - px % tick, tick)
