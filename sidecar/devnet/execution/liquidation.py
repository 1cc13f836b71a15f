"""Liquidation: nobody below maintenance margin survives a block.

    account (its cross positions together) or isolated position below maintenance
      │ 1. its orders are cancelled                                        liquidatedCanceled
      │ 2. its positions are closed in the book by market orders, the largest first, until the
      │    rest is covered; never at a price that costs more than the account has: not below
      │    the bankruptcy price                                            method "market"
      ▼ still below
    backstop: the insurance vault takes the positions over at the mark, and with them what margin
      │ is left (nothing is given back)                                    method "backstop"
      ▼ the account owns less than nothing, or the vault has not the margin for it
    auto-deleveraging: the positions are closed against those on the other side, at the bankruptcy
      price, so that no debt is left                                       method "adl"

Who is deleveraged first: the highest (mark / entry) * (notional / account value), for shorts
(entry / mark) * ...: unrealised profit times leverage. Hyperliquid closes at the previous oracle
price; ours leaves no debt. What rounding leaves goes to the vault; what even a price half the mark
away from it can't bring in, the vault pays.
(https://hyperliquid.gitbook.io/hyperliquid-docs/trading/liquidations, .../auto-deleveraging)
"""

from typing import Any

import msgspec

from sidecar.devnet.execution.accounts import Account, Position
from sidecar.devnet.execution.clearing import FEES, NO_FEE, TAKER_FEE, VAULT
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.margin import maintenance_margin
from sidecar.devnet.execution.markets import Market, ceil_px, floor_px
from sidecar.devnet.execution.orders import LIQUIDATION
from sidecar.fixed import NUMBER_MAX, SCALE
from sidecar.node.transitions import ASK, BID, Liquidation, OrderStatus

_FEE_SCALE = 100_000
_PASSES_MAX = 10_000


class Case(msgspec.Struct, frozen=True):
    """What is liquidated: the cross side of an account, or one isolated position of it."""

    account: Account
    market: int | None  # of the isolated position, None for the cross side


class Liquidations:
    """The check at the end of every block."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._clearing = exchange.clearing
        self._matching = exchange.matching
        self._tape = exchange.tape

    def run(self, *, marks_changed: bool) -> None:
        """Liquidates until nobody is below maintenance. O(accounts) where the marks changed, else
        O(accounts that did something).
        """
        clearing = self._clearing
        users = list(clearing.accounts) if marks_changed else sorted(clearing.touched)
        for _ in range(_PASSES_MAX):
            clearing.touched.clear()
            cases = [case for user in users for case in self._below(clearing.accounts[user])]
            for case in cases:
                if self._is_below(case):
                    self._liquidate(case)
            users = sorted(clearing.touched)
            if not cases and not users:
                return
        raise AssertionError("liquidations do not come to an end")

    def everybody_covered(self) -> bool:
        """Whether nobody is below maintenance; what `run` leaves behind. O(accounts)."""
        return not any(list(self._below(one)) for one in self._clearing.accounts.values())

    def _below(self, account: Account) -> list[Case]:
        cases = [
            Case(account, market)
            for market in account.positions
            if not self._clearing.leverage(account, market).is_cross
        ]
        return [case for case in (*cases, Case(account, None)) if self._is_below(case)]

    def _is_below(self, case: Case) -> bool:
        if case.account.user in (VAULT, FEES) and not self._positions(case):
            return False  # the vault may owe; it is the last one who pays
        if case.market is None:
            standing = self._clearing.standing(case.account)
            return standing.value < standing.maintenance
        position = case.account.positions.get(case.market)
        if position is None:
            return False
        mark = self._clearing.marks[case.market]
        notional = abs(position.sz) * mark // SCALE
        value = position.margin + position.upnl(mark)
        return value < maintenance_margin(self._clearing.markets[case.market], notional)

    def _liquidate(self, case: Case) -> None:
        user = case.account.user
        self._tape.begin_action()
        details = self._details(case)
        self._exchange.cancel_all(user, "liquidatedCanceled", case.market)
        for market in self._largest_first(case):
            if self._is_below(case):
                self._close_in_book(case, market)
        left = self._take_over(case) if self._is_below(case) else 0
        self._clearing.move_balance(user, -left, "liquidation", details)
        if left:
            self._clearing.move_balance(VAULT, left, "insurance", {"user": user})

    def _take_over(self, case: Case) -> int:
        """Gives the positions to the vault, or to the other side; returns what is left without
        them, which is the vault's; less than nothing is a debt that the vault pays.
        """
        before = 0 if case.market is None else case.account.balance
        if case.account.user == VAULT:
            self._deleverage(case)
            return 0
        if self._value(case) >= 0 and self._vault_can_take(case):
            self._backstop(case)
        else:
            self._deleverage(case)
        return case.account.balance - before

    def _details(self, case: Case) -> dict[str, Any]:
        """What the ledger says of the case."""
        markets = self._positions(case)
        notional = sum(self._notional(case, market) for market in markets)
        return {
            "is_cross": case.market is None,
            "account_value": self._value(case),
            "notional": min(notional, NUMBER_MAX),
            "positions": [[market, case.account.sz(market)] for market in markets],
        }

    def _largest_first(self, case: Case) -> list[int]:
        markets = self._positions(case)
        return sorted(markets, key=lambda market: (-self._notional(case, market), market))

    def _positions(self, case: Case) -> list[int]:
        """The markets of the case's positions."""
        if case.market is not None:
            return [case.market] if case.market in case.account.positions else []
        return [
            market
            for market in case.account.positions
            if self._clearing.leverage(case.account, market).is_cross
        ]

    def _notional(self, case: Case, market: int) -> int:
        return abs(case.account.sz(market)) * self._clearing.marks[market] // SCALE

    def _value(self, case: Case) -> int:
        """What the case is worth at the marks."""
        if case.market is None:
            return self._clearing.standing(case.account).value
        position = case.account.positions.get(case.market, Position())
        return position.margin + position.upnl(self._clearing.marks[case.market])

    def _close_in_book(self, case: Case, market_id: int) -> None:
        account = case.account
        market, sz = self._clearing.markets[market_id], account.sz(market_id)
        side = ASK if sz > 0 else BID
        px = self._worst_px(case, market)
        if px is None or not self._matching.can_trade(account.user, market_id, side, px):
            return
        opened = self._order(account.user, market_id, px, "open")
        self._tape.out.append(opened)
        why = Liquidation(account.user, self._clearing.marks[market_id], "market")
        self._matching.execute(opened, abs(sz), why)

    def _worst_px(self, case: Case, market: Market) -> int | None:
        """The worst price at which the whole position may be closed, its fee included: one that
        leaves the case at nothing. None where no price is good enough.
        """
        sz = case.account.sz(market.id)
        mark, value = self._clearing.marks[market.id], self._value(case) * SCALE
        if sz > 0:
            px = -((value - mark * sz) * _FEE_SCALE // (sz * (_FEE_SCALE - TAKER_FEE)))
            return ceil_px(market, px)
        px = (value - mark * sz) * _FEE_SCALE // (-sz * (_FEE_SCALE + TAKER_FEE))
        return floor_px(market, min(px, NUMBER_MAX)) if px >= market.grid else None

    def _vault_can_take(self, case: Case) -> bool:
        """Whether the vault has the margin for the case's positions, as if opened at the marks."""
        vault = self._clearing.account(VAULT)
        standing = self._clearing.standing(vault)
        value, initial = standing.value + self._value(case), standing.initial
        for market in self._positions(case):
            mark = self._clearing.marks[market]
            leverage = self._clearing.leverage(vault, market).value
            before, taken = vault.sz(market), case.account.sz(market)
            initial -= -(-(abs(before) * mark // SCALE) // leverage)
            initial += -(-(abs(before + taken) * mark // SCALE) // leverage)
        return value >= initial

    def _backstop(self, case: Case) -> None:
        """The vault takes over every position at the mark, free of fees."""
        for market in self._largest_first(case):
            mark = self._clearing.marks[market]
            self._hand_over(case, VAULT, market, abs(case.account.sz(market)), mark, "backstop")

    def _deleverage(self, case: Case) -> None:
        """Closes every position at its bankruptcy price against those who profit most."""
        markets = self._largest_first(case)
        total = sum(self._notional(case, market) for market in markets)
        value = self._value(case)
        shares = {market: value * self._notional(case, market) // total for market in markets}
        for market in markets:
            sz = case.account.sz(market)
            px = self._bankruptcy_px(market, sz, shares[market])
            left = abs(sz)
            for user in self._ranking(case, market):
                taken = min(left, abs(self._clearing.position(user, market)))
                self._hand_over(case, user, market, taken, px, "adl")
                left -= taken
                if not left:
                    break
            assert not left, "the other side of a position is its own size"

    def _bankruptcy_px(self, market: int, sz: int, share: int) -> int:
        """The price of the grid at which closing gives up `share` of the value, in favour of the
        one who is closed; at most half the mark away from it.
        """
        grid, mark = self._clearing.markets[market].grid, self._clearing.marks[market]
        px = mark - share * SCALE // sz if sz > 0 else mark + share * SCALE // -sz
        px = min(max(px, mark // 2), mark * 3 // 2)
        return max(-(-px // grid) * grid if sz > 0 else px // grid * grid, grid)

    def _ranking(self, case: Case, market: int) -> list[bytes]:
        """Those on the other side of the case's position, the first to be deleveraged first."""
        long = case.account.sz(market) > 0
        found = []
        for account in self._clearing.accounts.values():
            position = account.positions.get(market)
            if position is None or (position.sz > 0) == long or account is case.account:
                continue
            found.append((-self._rank(account, market, position), account.user))
        return [user for _, user in sorted(found)]

    def _rank(self, account: Account, market: int, position: Position) -> int:
        """Unrealised profit times leverage, in units of 1e-8."""
        notional = abs(position.sz) * self._clearing.marks[market] // SCALE
        value = self._clearing.account_value(account)
        if value <= 0 or not position.cost or not notional:
            return 0
        gain = (
            notional * SCALE // position.cost
            if position.sz > 0
            else position.cost * SCALE // notional
        )
        return gain * notional // value

    def _hand_over(
        self, case: Case, taker: bytes, market: int, sz: int, px: int, method: str
    ) -> None:
        """A part of a position goes to somebody else at a price, outside the book."""
        account, matching = case.account, self._matching
        start, taker_start = account.sz(market), self._clearing.position(taker, market)
        if method == "backstop":
            side, margin = (
                "Long" if start > 0 else "Short",
                ("Cross" if case.market is None else "Isolated"),
            )
            label = f"Liquidated {margin} {side}"
            directions: tuple[str | None, str | None] = (label, None)
        else:
            directions = ("Auto-Deleveraging", "Auto-Deleveraging")
        why = Liquidation(account.user, self._clearing.marks[market], method)
        closing = self._order(account.user, market, px, "filled")
        taking = self._order(taker, market, px, "filled", side=1 - closing.side)
        matching.trade(closing, taking, sz, px, why, fees=(NO_FEE, NO_FEE), directions=directions)
        matching.position_changed(account.user, market, start)
        matching.position_changed(taker, market, taker_start)

    def _order(
        self, user: bytes, market: int, px: int, status: str, *, side: int | None = None
    ) -> OrderStatus:
        """An order of the chain's own that closes a user's position."""
        sz = self._clearing.position(user, market)
        if side is None:
            side = ASK if sz > 0 else BID
        now = self._tape.time_ns
        return OrderStatus(
            self._matching.open.next_oid(),
            user,
            market,
            side,
            px,
            abs(sz),
            abs(sz),
            LIQUIDATION,
            reduce_only=True,
            trigger=None,
            cloid=None,
            status=status,
            time_ns=now,
            placed_ns=now,
            order_type="Market",
            hash=self._tape.hash,
        )
