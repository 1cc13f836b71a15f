"""Funding: longs pay shorts where the book is above the oracle, and the other way round.

    premium = (max(impact bid - oracle, 0) - max(oracle - impact ask, 0)) / oracle
    rate    = (average premium + clamp(interest - average premium, -0.05%, +0.05%)) / 8
    payment = position * oracle * rate

The impact prices are the average ones at which the impact notional would be sold and bought now;
interest is 0.01%; a rate is at most 4%. An interval (an hour on Hyperliquid) has 720 samples of the
premium, one every five seconds of an hour, and one payment at its end, of the hourly rate whatever
the interval is. (https://hyperliquid.gitbook.io/hyperliquid-docs/trading/funding)

Rates are in units of 1e-8, rounded down; payments too, in the account's disfavour; what rounding
leaves goes to the insurance vault.
"""

from collections.abc import Iterable

import msgspec

from sidecar.devnet.execution.clearing import VAULT, Clearing
from sidecar.devnet.execution.matching import Matching
from sidecar.devnet.execution.orders import Resting
from sidecar.devnet.execution.tape import Tape
from sidecar.fixed import SCALE
from sidecar.node.transitions import ASK, BID, FundingSettled

SAMPLES = 720  # an interval
IMPACT_NOTIONAL = 1_000_000 * SCALE  # yen; Hyperliquid's 6,000 dollars, roughly
INTEREST = 10_000  # 0.01%
_CLAMP = 50_000  # 0.05%
_HOURS = 8  # the formula's rate is of eight hours
_RATE_MAX = 4 * SCALE // 100


class Premium(msgspec.Struct):
    """The samples of one market in the interval that runs."""

    total: int = 0
    samples: int = 0


class Funding:
    """Samples premiums and settles, by the clock of the chain."""

    def __init__(
        self, tape: Tape, clearing: Clearing, matching: Matching, interval_ns: int
    ) -> None:
        self.premiums = {market: Premium() for market in clearing.markets}
        self._tape = tape
        self._clearing = clearing
        self._matching = matching
        self._interval_ns = interval_ns
        self._sample_ns = max(interval_ns // SAMPLES, 1)

    def step(self, before_ns: int, oracles: dict[int, int]) -> None:
        """Samples and settles what fell due since the block before: once, however long that was.
        O(markets), or O(positions).
        """
        now = self._tape.time_ns
        if now // self._sample_ns > before_ns // self._sample_ns:
            for market, premium in self.premiums.items():
                premium.total += self._sample(market, oracles[market])
                premium.samples += 1
        if now // self._interval_ns > before_ns // self._interval_ns:
            for market in self.premiums:
                self._settle(market, oracles[market])

    def _sample(self, market: int, oracle_px: int) -> int:
        """The premium now, 0 where the book is too thin to say."""
        book = self._matching.books[market]
        bid = impact_px(book.queue(BID), IMPACT_NOTIONAL)
        ask = impact_px(book.queue(ASK), IMPACT_NOTIONAL)
        if not bid or not ask:
            return 0
        return (max(bid - oracle_px, 0) - max(oracle_px - ask, 0)) * SCALE // oracle_px

    def _settle(self, market: int, oracle_px: int) -> None:
        premium = self.premiums[market]
        average = premium.total // max(premium.samples, 1)
        self.premiums[market] = Premium()
        rate = funding_rate(average)
        clearing = self._clearing
        payments, left, told = [], 0, []
        for account in clearing.accounts.values():
            position = account.positions.get(market)
            if position is None:
                continue
            amount = -(position.sz * oracle_px * rate) // (SCALE * SCALE)
            left -= amount
            payments.append((account.user, position.sz, amount))
            clearing.touched.add(account.user)
            if clearing.leverage(account, market).is_cross:
                account.balance += amount
            else:
                position.margin += amount
                told.append(account.user)
        self._tape.out.append(FundingSettled(market, rate, average, oracle_px, tuple(payments)))
        for user in told:
            clearing.tell_margin(user, market)
        if left:
            clearing.move_balance(VAULT, left, "fundingRounding", {"market": market})


def funding_rate(premium: int) -> int:
    """The rate of one payment, from the average premium."""
    rate = (premium + min(max(INTEREST - premium, -_CLAMP), _CLAMP)) // _HOURS
    return min(max(rate, -_RATE_MAX), _RATE_MAX)


def impact_px(queue: Iterable[Resting], notional: int) -> int:
    """The average price at which `notional` trades with a queue now, 0 if there is not so much."""
    left, size = notional * SCALE, 0
    for order in queue:
        worth = order.px * order.sz
        if worth >= left:
            size += left // order.px
            return notional * SCALE // size if size else 0
        left -= worth
        size += order.sz
    return 0
