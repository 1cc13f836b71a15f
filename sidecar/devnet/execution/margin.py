"""How much margin a position takes, as Hyperliquid documents it, in whole units of 1e-8.

    initial     = notional / leverage, at the user's own leverage
    maintenance = the part of the notional in each tier / (2 * the tier's max leverage), summed
                = notional * rate - deduction, half of the initial margin at max leverage

Both are rounded up. (https://hyperliquid.gitbook.io/hyperliquid-docs/trading/margining,
.../trading/margin-tiers)
"""

from functools import lru_cache
from math import lcm

from sidecar.devnet.execution.markets import Market


def initial_margin(notional: int, leverage: int) -> int:
    """What a position of that notional takes to be opened."""
    return -(-notional // leverage)


def maintenance_margin(market: Market, notional: int) -> int:
    """What a position of that notional must keep. O(tiers)."""
    tiers = market.tiers
    if len(tiers) == 1 or notional <= tiers[1][0]:
        return -(-notional // (2 * tiers[0][1]))
    denominator, rows = _rates(tiers)
    numerator = 0
    for lower, rate, deduction in rows:
        if notional < lower:
            break
        numerator = notional * rate - deduction
    return -(-numerator // denominator)


@lru_cache(maxsize=64)
def _rates(tiers: tuple[tuple[int, int], ...]) -> tuple[int, tuple[tuple[int, int, int], ...]]:
    """A common denominator, and for each tier its lower bound, rate and deduction over it.

    deduction(n) = deduction(n - 1) + lower(n) * (rate(n) - rate(n - 1)): at the bound of two tiers
    both say the same.
    """
    denominator = lcm(*(2 * leverage for _, leverage in tiers))
    rows = []
    rate, deduction = 0, 0
    for lower, leverage in tiers:
        rate_before, rate = rate, denominator // (2 * leverage)
        deduction += lower * (rate - rate_before)
        rows.append((lower, rate, deduction))
    return denominator, tuple(rows)
