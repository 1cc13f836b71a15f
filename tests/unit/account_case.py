"""The chain's own accounts beside those of a state that has read its log."""

import random
from fractions import Fraction
from typing import Any

from sidecar.api.account_views import clearinghouse_state, look
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.accounts import Account
from sidecar.devnet.execution.margin import initial_margin, maintenance_margin
from sidecar.devnet.execution.prices import Move
from sidecar.fixed import SCALE, parse, to_text
from sidecar.node.transitions import Block, Fill, FundingSettled, LedgerChanged, Leg
from sidecar.state.chain import ChainState

CRASHES = (
    Move("TOYOTA", 60, -30, 20),
    Move("SONY", 150, 35, 20),
    Move("TOYOTA", 220, 40, 20),
    Move("NINTENDO", 300, -35, 10),
)


def crash_chain(seed: int = 1, moves: tuple[Move, ...] = CRASHES, **settings: Any) -> Chain:
    """The liveliest profile: crashes, liquidations, funding every few seconds."""
    given = {"actions_per_block": 60, "funding_ms": 3_000} | settings
    return Chain(DevnetConfig(path="unused", seed=seed, moves=moves, **given))


class ChainAccounts:
    """What the chain says, and cumulated funding out of the blocks."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.clearing = chain.exchange.clearing
        self.seen: set[str] = set()
        self._ever: dict[tuple[bytes, int], int] = {}
        self._open: dict[tuple[bytes, int], int] = {}
        self._change: dict[tuple[bytes, int], int] = {}

    def follow(self, made: Block) -> None:
        for one in made.transitions:
            if isinstance(one, FundingSettled):
                for user, _, amount in one.payments:
                    for sums in (self._ever, self._open, self._change):
                        sums[user, one.market] = sums.get((user, one.market), 0) - amount
            elif isinstance(one, Fill):
                for leg, sign in ((one.buyer, 1), (one.seller, -1)):
                    if leg is not None:
                        self._traded(leg, one.market, sign * one.sz)
            elif isinstance(one, LedgerChanged) and one.kind == "liquidation":
                self.seen.add("liquidation")

    def _traded(self, leg: Leg, market: int, moved: int) -> None:
        key = (leg.user, market)
        self._change[key] = 0
        if leg.start_position * (leg.start_position + moved) <= 0:
            self._open[key] = 0

    def view(self, account: Account) -> dict[str, Any]:
        """clearinghouseState, from the chain's own figures."""
        clearing = self.clearing
        cross = clearing.standing(account)
        value, worth, notional, used, cross_worth = clearing.account_value(account), 0, 0, 0, 0
        positions = []
        for market_id in sorted(account.positions):
            position = account.positions[market_id]
            market, mark = clearing.markets[market_id], clearing.marks[market_id]
            leverage = clearing.leverage(account, market_id)
            signed = position.sz * mark // SCALE
            upnl = position.upnl(mark)
            own = (
                initial_margin(abs(signed), leverage.value)
                if leverage.is_cross
                else position.margin + upnl
            )
            worth, notional, used = worth + signed, notional + abs(signed), used + own
            cross_worth += signed if leverage.is_cross else 0
            self.seen |= {
                "cross" if leverage.is_cross else "isolated",
                "long" if position.sz > 0 else "short",
            }
            key = (account.user, market_id)
            shown: dict[str, Any] = {"type": "cross", "value": leverage.value}
            if not leverage.is_cross:
                cost = position.cost if position.sz > 0 else -position.cost
                shown = {
                    "type": "isolated",
                    "value": leverage.value,
                    "rawUsd": to_text(position.margin - cost),
                }
            positions.append(
                {
                    "coin": market.symbol,
                    "szi": to_text(position.sz),
                    "leverage": shown,
                    "entryPx": _text(Fraction(position.cost, abs(position.sz))),
                    "positionValue": to_text(abs(signed)),
                    "unrealizedPnl": to_text(upnl),
                    "returnOnEquity": _text(Fraction(upnl * leverage.value, position.cost)),
                    "marginUsed": to_text(own),
                    "maxLeverage": market.max_leverage,
                    "cumFunding": {
                        "allTime": to_text(self._ever.get(key, 0)),
                        "sinceOpen": to_text(self._open.get(key, 0)),
                        "sinceChange": to_text(self._change.get(key, 0)),
                    },
                }
            )
        return {
            "marginSummary": _summary(value, notional, value - worth, used),
            "crossMarginSummary": _summary(
                cross.value, cross.notional, cross.value - cross_worth, cross.initial
            ),
            "crossMaintenanceMarginUsed": to_text(cross.maintenance),
            "withdrawable": to_text(clearing.withdrawable(account)),
            "assetPositions": [{"type": "oneWay", "position": one} for one in positions],
            "time": self.chain.time_ns // 1_000_000,
        }

    def check_liquidation_px(self, account: Account, shown: dict[str, Any]) -> None:
        """At that mark what the position can lose meets the maintenance margin, by the chain's
        own formulas, within what one unit of price makes.
        """
        clearing = self.clearing
        market_id = next(m.id for m in clearing.markets.values() if m.symbol == shown["coin"])
        position, mark = account.positions[market_id], clearing.marks[market_id]
        market, px = clearing.markets[market_id], shown["liquidationPx"]
        if px is None:
            return
        at = parse(px)
        lost = position.sz * (at - mark) // SCALE
        needed = maintenance_margin(market, abs(position.sz) * at // SCALE)
        if clearing.leverage(account, market_id).is_cross:
            cross = clearing.standing(account)
            own = maintenance_margin(market, abs(position.sz) * mark // SCALE)
            spare = cross.value + lost - (cross.maintenance - own) - needed
        else:
            spare = position.margin + position.upnl(mark) + lost - needed
        assert abs(spare) <= 2 * (abs(position.sz) // SCALE + 4), (shown, spare)


def compare_accounts(reference: ChainAccounts, state: ChainState, sample: int, seed: int) -> None:
    """Every field of some accounts."""
    accounts = list(reference.clearing.accounts.values())
    for account in random.Random(seed).sample(accounts, min(sample, len(accounts))):
        mine = clearinghouse_state(state, look(state, account.user))
        for one in mine["assetPositions"]:
            reference.check_liquidation_px(account, one["position"])
            del one["position"]["liquidationPx"]
        assert mine == reference.view(account)


def _summary(value: int, notional: int, raw: int, used: int) -> dict[str, str]:
    return {
        "accountValue": to_text(value),
        "totalNtlPos": to_text(notional),
        "totalRawUsd": to_text(raw),
        "totalMarginUsed": to_text(used),
    }


def _text(value: Fraction) -> str:
    """Of a plain number, to 1e-8, half to even."""
    return to_text(round(value * SCALE))
