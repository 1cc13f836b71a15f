"""Accounts as clients read them: Hyperliquid's clearinghouseState and activeAssetData.

Computed when somebody reads, from balance, positions and marks. (Entry price, PnL, margin and
liquidation as hyperliquid.gitbook.io/hyperliquid-docs/trading has them.)
"""

from typing import Any

from sidecar.api.messages import NS_PER_MS, hex_text
from sidecar.errors import NotInSource, StateUnavailable
from sidecar.fixed import DECIMALS, SCALE, Rounding, divide, to_text
from sidecar.state.accounts import Leverage, Position
from sidecar.state.chain import ChainState
from sidecar.state.margin import Standing, initial_margin, liquidation_px, standing
from sidecar.state.market import Market
from sidecar.state.users import User


def check_accounts_told(state: ChainState) -> None:
    """Raises `NotInSource` where the node does not tell of accounts."""
    if not state.accounts.complete:
        raise NotInSource(
            "this node's files do not hold accounts (balances, positions, funding); ask an API of "
            "the chain itself"
        )


def look(state: ChainState, address: bytes) -> User:
    """The user, an empty one where the chain has not named it. Raises `NotInSource` where the node
    does not tell of accounts, `StateUnavailable` while this one is known to be wrong.
    """
    check_accounts_told(state)
    fault = state.faults.of_account(address)
    if fault is not None:
        raise StateUnavailable(f"account {hex_text(address)} is being rebuilt: {fault.what}")
    return state.users.by_address.get(address) or User(address, unknown_past=False)


def clearinghouse_state(state: ChainState, user: User) -> dict[str, Any]:
    """What a user has, holds and could lose. O(positions)."""
    cross = standing(state.accounts, state.markets, user)
    held = [
        _Held(state, user, state.markets[market], position, cross)
        for market, position in sorted(user.positions.items())
        if position.sz
    ]
    isolated = [one for one in held if not one.leverage.is_cross]
    value = cross.value + sum(one.equity for one in isolated)
    raw_cross = cross.value - sum(one.worth for one in held if one.leverage.is_cross)
    return {
        "marginSummary": _summary(
            value,
            sum(one.notional for one in held),
            value - sum(one.worth for one in held),
            sum(one.margin_used for one in held),
        ),
        "crossMarginSummary": _summary(cross.value, cross.notional, raw_cross, cross.initial),
        "crossMaintenanceMarginUsed": to_text(cross.maintenance),
        "withdrawable": to_text(cross.withdrawable),
        "assetPositions": [{"type": "oneWay", "position": one.view(user)} for one in held],
        "time": state.time_ns // NS_PER_MS,
    }


def active_asset_data(state: ChainState, user: User, market: Market) -> dict[str, Any]:
    """How much of a market a user could trade now: `[buying, selling]`. O(positions).

    A position of the other side is closed first, which gives its margin back.
    """
    leverage = state.accounts.leverage_of(user, market)
    cross = standing(state.accounts, state.markets, user)
    position = user.positions.get(market.id) or Position()
    sizes, amounts = [], []
    for sign in (1, -1):
        closes = abs(position.sz) if position.sz * sign < 0 else 0
        freed = 0
        if closes and leverage.is_cross:
            freed = initial_margin(closes * market.mark_px // SCALE, leverage.value)
        elif closes:
            freed = position.margin + position.upnl(market.mark_px)
        available = max(cross.value - cross.initial + freed, 0)
        opens = available * leverage.value * SCALE // market.mark_px if market.mark_px else 0
        sizes.append(to_text(_whole_lots(market, opens + closes)))
        amounts.append(to_text(available))
    return {
        "user": hex_text(user.address),
        "coin": market.symbol,
        "leverage": _leverage_view(leverage, position),
        "maxTradeSzs": sizes,
        "availableToTrade": amounts,
        "markPx": to_text(market.mark_px),
    }


class _Held:
    """A position at its mark."""

    def __init__(
        self, state: ChainState, user: User, market: Market, position: Position, cross: Standing
    ) -> None:
        self.market = market
        self.position = position
        self.leverage = state.accounts.leverage_of(user, market)
        self.worth = position.sz * market.mark_px // SCALE  # signed
        self.notional = abs(self.worth)
        self.upnl = position.upnl(market.mark_px) if market.mark_px else 0
        self.equity = position.margin + self.upnl
        self._cross = cross

    @property
    def margin_used(self) -> int:
        """A cross position's initial margin; an isolated one's whole equity."""
        if self.leverage.is_cross:
            return initial_margin(self.notional, self.leverage.value)
        return self.equity

    def view(self, user: User) -> dict[str, Any]:
        """As clients read it."""
        position, leverage, market = self.position, self.leverage, self.market
        size, cost = abs(position.sz), position.cost
        px = liquidation_px(market, position, self._cross, is_cross=leverage.is_cross)
        at_entry = cost * SCALE
        return {
            "coin": market.symbol,
            "szi": to_text(position.sz),
            "leverage": _leverage_view(leverage, position),
            "entryPx": to_text(divide(at_entry, size, Rounding.HALF_EVEN)),
            "positionValue": to_text(self.notional),
            "unrealizedPnl": to_text(self.upnl),
            "returnOnEquity": to_text(_ratio(self.upnl * leverage.value, cost)),
            "liquidationPx": None if px is None else to_text(px),
            "marginUsed": to_text(self.margin_used),
            "maxLeverage": market.listing.max_leverage,
            "cumFunding": {
                "allTime": to_text((user.funding_paid or {}).get(market.id, 0)),
                "sinceOpen": to_text(position.funding_since_open),
                "sinceChange": to_text(position.funding_since_change),
            },
        }


def _leverage_view(leverage: Leverage, position: Position) -> dict[str, Any]:
    if leverage.is_cross:
        return {"type": "cross", "value": leverage.value}
    raw = position.margin - (position.cost if position.sz > 0 else -position.cost)
    return {"type": "isolated", "value": leverage.value, "rawUsd": to_text(raw)}


def _summary(value: int, notional: int, raw: int, margin: int) -> dict[str, str]:
    return {
        "accountValue": to_text(value),
        "totalNtlPos": to_text(notional),
        "totalRawUsd": to_text(raw),
        "totalMarginUsed": to_text(margin),
    }


def _ratio(numerator: int, denominator: int) -> int:
    return divide(numerator * SCALE, denominator, Rounding.HALF_EVEN) if denominator else 0


def _whole_lots(market: Market, sz: int) -> int:
    lot: int = 10 ** (DECIMALS - (market.listing.sz_decimals or 0))
    return sz // lot * lot
