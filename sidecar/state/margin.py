"""What positions need and what an account has left: the formulas of Hyperliquid's documentation, in
whole units of 1e-8 of the quote currency. O(positions) each.

    initial      = notional / leverage                 at the user's leverage, rounded up
    maintenance  = the part of the notional in each tier / (2 * the tier's max leverage), rounded up
    withdrawable = cross value less the larger of all initial margins and a tenth of the notional

(hyperliquid.gitbook.io/hyperliquid-docs/trading: margining, margin-tiers, liquidations)
"""

from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import NamedTuple

from sidecar.fixed import SCALE
from sidecar.node.transitions import MarketListed
from sidecar.state.accounts import Accounts, Position
from sidecar.state.market import Market
from sidecar.state.users import User

TAKER_FEE = 45  # of the notional, in units of a tenth of a basis point: the native chain's
MAKER_FEE = 15
FEE_SCALE = 100_000


class Standing(NamedTuple):
    """The cross side of an account at the present marks."""

    value: int  # balance and unrealised PnL of the cross positions
    initial: int
    maintenance: int
    notional: int

    @property
    def withdrawable(self) -> int:
        """What may leave the account."""
        return max(self.value - max(self.initial, -(-self.notional // 10)), 0)


class Tier(NamedTuple):
    """`notional * rate - deduction` is the maintenance margin for a notional from `lower` on."""

    lower: int
    rate: Fraction
    deduction: Fraction


@lru_cache(maxsize=1 << 12)
def tiers_of(listing: MarketListed) -> tuple[Tier, ...]:
    """The maintenance tiers of a market, ascending. A market without rules has none. O(tiers) the
    first time.
    """
    steps = listing.margin_tiers
    if not steps and listing.max_leverage:
        steps = ((0, listing.max_leverage),)
    tiers: list[Tier] = []
    for lower, leverage in steps:
        rate = Fraction(1, 2 * leverage)
        before = tiers[-1] if tiers else Tier(0, rate, Fraction(0))
        tiers.append(Tier(lower, rate, before.deduction + lower * (rate - before.rate)))
    return tuple(tiers)


@lru_cache(maxsize=1 << 12)
def _in_whole_units(listing: MarketListed) -> tuple[tuple[int, int, int, int], ...]:
    """Of each tier: lower, and `numerator`, `deduction`, `denominator` of
    (notional * numerator - deduction) / denominator.
    """
    found = []
    for lower, rate, deduction in tiers_of(listing):
        whole = lcm(rate.denominator, deduction.denominator)
        found.append((lower, int(rate * whole), int(deduction * whole), whole))
    return tuple(found)


def maintenance_margin(listing: MarketListed, notional: int) -> int:
    """What a position of that notional must keep. O(tiers)."""
    needed = 0
    for lower, numerator, deduction, denominator in _in_whole_units(listing):
        if notional < lower:
            break
        needed = -((deduction - notional * numerator) // denominator)
    return needed


def initial_margin(notional: int, leverage: int) -> int:
    """What a position of that notional takes to be opened."""
    return -(-notional // leverage)


def standing(accounts: Accounts, markets: dict[int, Market], user: User) -> Standing:
    """The cross side of an account."""
    value, initial, maintenance, total = user.balance, 0, 0, 0
    for market_id, position in user.positions.items():
        market = markets[market_id]
        leverage = accounts.leverage_of(user, market)
        if leverage.is_cross:
            notional = abs(position.sz) * market.mark_px // SCALE
            value += position.upnl(market.mark_px)
            initial += initial_margin(notional, leverage.value)
            maintenance += maintenance_margin(market.listing, notional)
            total += notional
    return Standing(value, initial, maintenance, total)


def is_liquidatable(accounts: Accounts, markets: dict[int, Market], user: User) -> bool:
    """Whether the cross side or an isolated position is below its maintenance margin."""
    cross = standing(accounts, markets, user)
    if cross.notional and cross.value < cross.maintenance:
        return True
    return any(
        position.margin + position.upnl(markets[id_].mark_px)
        < maintenance_margin(markets[id_].listing, abs(position.sz) * markets[id_].mark_px // SCALE)
        for id_, position in user.positions.items()
        if position.sz and not accounts.leverage_of(user, markets[id_]).is_cross
    )


def liquidation_px(
    market: Market, position: Position, cross: Standing, *, is_cross: bool
) -> int | None:
    """The mark at which what the position can lose meets the maintenance margin, all other marks as
    they are; rounded to 1e-8, None where no positive price does it. O(tiers).

    In a tier: value + sz * (px - mark) = others' maintenance + |sz| * px * rate - deduction.
    """
    sz, mark_px = position.sz, market.mark_px
    notional = abs(sz) * mark_px // SCALE
    if is_cross:
        own = maintenance_margin(market.listing, notional)
        spare = cross.value - (cross.maintenance - own)
    else:
        spare = position.margin + position.upnl(mark_px)
    tiers = tiers_of(market.listing)
    for index, (lower, rate, deduction) in enumerate(tiers):
        slope = Fraction(sz - abs(sz) * rate, SCALE)
        px = (Fraction(sz * mark_px, SCALE) - spare - deduction) / slope
        at = abs(sz) * px / SCALE
        upper = tiers[index + 1].lower if index + 1 < len(tiers) else None
        if px > 0 and at >= lower and (upper is None or at < upper):
            return round(px) or None
    return None


def margin_lacks(
    accounts: Accounts, markets: dict[int, Market], user: User, market: Market, sz: int
) -> bool:
    """Whether the account has too little margin to trade the signed `sz` at the mark, as a taker.
    O(positions).

    What makes a position smaller needs none. All else needs the initial margin of the position as
    it would be, out of the account's value less the fee; an isolated one must not be due for
    liquidation at once.
    """
    position = user.positions.get(market.id) or Position()
    before, after = position.sz, position.sz + sz
    if abs(after) <= abs(before) and before * after >= 0:
        return False
    leverage = accounts.leverage_of(user, market)
    cross = standing(accounts, markets, user)
    mark_px = market.mark_px
    value = cross.value - abs(sz) * mark_px // SCALE * TAKER_FEE // FEE_SCALE
    if leverage.is_cross:
        others = cross.initial - initial_margin(abs(before) * mark_px // SCALE, leverage.value)
        needed = others + initial_margin(abs(after) * mark_px // SCALE, leverage.value)
        return value < needed
    turns = before * after < 0
    kept = 0 if turns else abs(before)
    if turns:
        value += position.margin + position.upnl(mark_px)
    added = initial_margin((abs(after) - kept) * mark_px // SCALE, leverage.value)
    own = added if turns else added + position.margin + position.upnl(mark_px)
    least = maintenance_margin(market.listing, abs(after) * mark_px // SCALE)
    return value - cross.initial < added or own < least


def max_leverage_at(listing: MarketListed, notional: int) -> int | None:
    """The highest leverage that a position of that notional may be opened with, None where the
    market has no rules. O(tiers).
    """
    found = listing.max_leverage
    for lower, leverage in listing.margin_tiers:
        if notional >= lower:
            found = leverage
    return found
