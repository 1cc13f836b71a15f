"""The markets: five tokenised Japanese equities as perpetuals, quoted in yen, and their rules.

A price has at most 5 significant figures and at most 6 - sz_decimals decimals; a whole number of
yen is always allowed. A size is a multiple of 10^-sz_decimals. So every price times every size is a
whole number of 1e-8 yen, and nothing is rounded when a position is paid for.
(https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/tick-and-lot-size)
"""

from bisect import bisect_right

import msgspec

from sidecar.devnet.execution.refusals import Refusal
from sidecar.fixed import DECIMALS, NUMBER_MAX, SCALE
from sidecar.node.transitions import MarketListed

QUOTE = "JPY"
SIGNIFICANT_FIGURES = 5
PX_DECIMALS = 6  # less the market's sz_decimals
NOTIONAL_MAX = NUMBER_MAX // 2  # of a position when it grows: 46 billion yen
MIN_NOTIONAL = 1_000 * SCALE  # of an order, yen: Hyperliquid's 10 dollars, roughly


class Market(msgspec.Struct, frozen=True):
    """A market's rules; `start_px` is where its price begins.

    `tiers` are (lower bound of a position's notional, max leverage from there on), ascending from
    0; what a tier says holds for the part of the notional that lies in it.
    """

    id: int
    symbol: str
    start_px: int
    sz_decimals: int
    tiers: tuple[tuple[int, int], ...]
    only_isolated: bool = False

    @property
    def max_leverage(self) -> int:
        """Of the smallest positions."""
        return self.tiers[0][1]

    @property
    def lot(self) -> int:
        """The smallest size."""
        lot: int = 10 ** (DECIMALS - self.sz_decimals)
        return lot

    @property
    def grid(self) -> int:
        """The unit of every price, also of those that only the chain makes: marks, closing prices
        of a liquidation. Some prices on it are off the tick.
        """
        grid: int = 10 ** (DECIMALS - PX_DECIMALS + self.sz_decimals)
        return grid

    def tick(self, px: int) -> int:
        """The distance of allowed prices at `px`, a power of ten: 0.1 at 3000.0, 1 at 13000.

        Both rules ask for divisibility by a power of ten, so the coarser one decides; a whole
        number is allowed whatever its length, so no tick is over 1.
        """
        figures: int = 10 ** max(len(str(px)) - SIGNIFICANT_FIGURES, 0)
        tick: int = max(self.grid, min(figures, SCALE))
        return tick

    def tier_leverage(self, notional: int) -> int:
        """The highest leverage that a position of that notional may be opened with."""
        found = bisect_right(self.tiers, notional, key=lambda tier: tier[0])
        return self.tiers[found - 1][1]

    def listing(self) -> MarketListed:
        """What the chain says of it at genesis."""
        return MarketListed(
            self.id,
            self.symbol,
            self.sz_decimals,
            self.max_leverage,
            only_isolated=self.only_isolated,
            margin_tiers=self.tiers,
        )


_MILLION = 1_000_000 * SCALE

MARKETS = (
    Market(
        0, "TOYOTA", 3_000 * SCALE, 2, ((0, 50), (3_000 * _MILLION, 20), (15_000 * _MILLION, 10))
    ),
    Market(1, "SONY", 4_000 * SCALE, 2, ((0, 40), (3_000 * _MILLION, 20))),
    Market(2, "MUFG", 2_400 * SCALE, 2, ((0, 25),)),
    Market(3, "NTT", 160 * SCALE, 1, ((0, 10),)),
    Market(4, "NINTENDO", 13_000 * SCALE, 3, ((0, 25), (1_500 * _MILLION, 10))),
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


def ceil_px(market: Market, px: int) -> int:
    """The lowest allowed price that is not below `px`, at least one tick."""
    if px <= 0:
        return market.grid
    tick = market.tick(px)
    return -(-px // tick) * tick


def floor_grid(market: Market, px: int) -> int:
    """A price on the grid that is not above `px`, but at least one unit of it."""
    return max(px - px % market.grid, market.grid)
