"""What a market order of some size would pay, and the premium that funding is made of.

    premium = (max(impact bid - oracle, 0) - max(oracle - impact ask, 0)) / oracle
    rate    = (premium + clamp(interest - premium, -0.05%, 0.05%)) / 8       an hour's, at most 4%

(hyperliquid.gitbook.io/hyperliquid-docs/trading/funding)
"""

from sidecar.fixed import SCALE, Rounding, divide
from sidecar.node.transitions import ASK, BID
from sidecar.state.book import Book
from sidecar.state.market import Market

IMPACT_NOTIONAL = 1_000_000 * SCALE  # of the native chain's quote currency, yen
IMPACT_NOTIONAL_USD = 6_000 * SCALE  # Hyperliquid's for most markets
IMPACT_NOTIONAL_USD_LARGE = 20_000 * SCALE  # and for BTC and ETH
INTEREST = SCALE // 10_000  # 0.01% for eight hours
CLAMP = 5 * SCALE // 10_000
HOURS = 8
RATE_MAX = 4 * SCALE // 100  # of an hour
_LARGE = frozenset(("BTC", "ETH"))


def impact_px(market: Market, side: int) -> int | None:
    """The average price at which the impact notional would be traded with a side of the book; None
    where it holds less. O(levels taken).
    """
    has_rules = market.listing.max_leverage is not None  # Hyperliquid's files don't tell them
    in_usd = IMPACT_NOTIONAL_USD_LARGE if market.symbol in _LARGE else IMPACT_NOTIONAL_USD
    notional = IMPACT_NOTIONAL if has_rules else in_usd
    return _average_px(market.book, side, notional)


def _average_px(book: Book, side: int, wanted: int) -> int | None:
    """Rounded as the chain does: the size down, then the price."""
    left, taken = wanted * SCALE, 0
    for px, sz, _ in book.levels(side):
        notional = px * sz
        if notional >= left:
            taken += left // px
            return wanted * SCALE // taken if taken else px
        left -= notional
        taken += sz
    return None


def premium(market: Market) -> int | None:
    """The premium now, in units of 1e-8; None without an oracle price or with too thin a book."""
    bid, ask = impact_px(market, BID), impact_px(market, ASK)
    oracle = market.oracle_px
    if not oracle or bid is None or ask is None:
        return None
    difference = max(bid - oracle, 0) - max(oracle - ask, 0)
    return divide(difference * SCALE, oracle, Rounding.HALF_EVEN)


def hourly_rate(of_premium: int) -> int:
    """The funding rate of an hour at a premium, both in units of 1e-8."""
    clamped = max(-CLAMP, min(CLAMP, INTEREST - of_premium))
    rate = divide(of_premium + clamped, HOURS, Rounding.HALF_EVEN)
    return max(-RATE_MAX, min(RATE_MAX, rate))
