"""The mark price, as Hyperliquid's documents it, in whole units of 1e-8.

    the median of
      oracle + the 150 s moving average of (mid - oracle)
      the median of best bid, best ask and last trade
      the 30 s moving average of the second one, which stands in for other exchanges' prices
    (https://hyperliquid.gitbook.io/hyperliquid-docs/trading/robust-price-indices)

The moving averages are that page's: with t the time since the last sample,
numerator = numerator * exp(-t / period) + sample * t, denominator likewise with 1 for the sample.
A book with an empty side has no mid: then the mark is the oracle, and the averages stand still.
"""

from functools import lru_cache

import msgspec

_BASIS_PERIOD_NS = 150 * 10**9
_BOOK_PERIOD_NS = 30 * 10**9
_ONE = 1 << 40  # of a decay factor
_NS_PER_MS = 1_000_000
_VALUE_BITS = 10
_WEIGHT_BITS = 20


class Average(msgspec.Struct):
    """An exponential moving average in integers: numerator / denominator, and the denominator.

    Kept as the quotient, so that what never moves is its own average however often it is sampled.
    """

    value: int = 0  # in units of 1e-8 / 2^10
    weight: int = 0  # in ms / 2^20

    def add(self, sample: int, elapsed_ns: int, period_ns: int) -> int:
        """Takes a sample that stands for the time since the one before; returns the average."""
        weight = max(elapsed_ns // _NS_PER_MS, 1) << _WEIGHT_BITS
        self.weight = self.weight * decay(elapsed_ns, period_ns) // _ONE + weight
        self.value += ((sample << _VALUE_BITS) - self.value) * weight // self.weight
        return self.value >> _VALUE_BITS


class Mark(msgspec.Struct):
    """What the mark price of one market is made of."""

    basis: Average
    book: Average
    time_ns: int = 0

    def px(self, oracle_px: int, bbo: tuple[int, int] | None, last_px: int, time_ns: int) -> int:
        """The mark price now, `bbo` being best bid and ask, None while one is missing."""
        elapsed_ns = time_ns - self.time_ns if self.time_ns else 0
        self.time_ns = time_ns
        if bbo is None:
            return oracle_px
        bid, ask = bbo
        mid = (bid + ask) // 2
        inner = median(bid, ask, last_px or mid)
        basis = self.basis.add(mid - oracle_px, elapsed_ns, _BASIS_PERIOD_NS)
        return median(oracle_px + basis, inner, self.book.add(inner, elapsed_ns, _BOOK_PERIOD_NS))


def median(a: int, b: int, c: int) -> int:
    """The one in the middle of three."""
    return sorted((a, b, c))[1]


@lru_cache(maxsize=1024)
def decay(elapsed_ns: int, period_ns: int) -> int:
    """exp(-elapsed / period) in units of 2^-40, the same on every machine: a float may not be.

    By exp(-x) = exp(-x / 2^k)^(2^k), the inner one from its series.
    """
    if elapsed_ns > 64 * period_ns:
        return 0
    halvings = 16
    one = 1 << 80
    x = elapsed_ns * one // period_ns >> halvings
    result = one - x + x * x // (2 * one) - x * x * x // (6 * one * one)
    for _ in range(halvings):
        result = result * result // one
    return result >> 40
