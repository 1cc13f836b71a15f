"""What trades and payments do to accounts: positions, margin, closed PnL, fees.

An isolated position has its margin taken from the cross balance when it is opened, notional /
leverage of the part that is new, rounded up; closing a part of it gives that part of the margin
back, rounded down. Its PnL and fees go through the balance. Every change of an isolated margin is
said (`LeverageChanged`), so that a reader of the log needs no rule of ours to follow it.
"""

from collections.abc import Iterable
from typing import Any

from sidecar.devnet.execution.accounts import Account, Leverage, Position, Standing
from sidecar.devnet.execution.margin import initial_margin, maintenance_margin
from sidecar.devnet.execution.markets import QUOTE, Market
from sidecar.devnet.execution.tape import Tape
from sidecar.fixed import SCALE
from sidecar.node.transitions import LedgerChanged, Leg, LeverageChanged, Liquidation

MAKER_FEE = 15  # of the notional, in units of a tenth of a basis point: 1.5 bp
TAKER_FEE = 45  # 4.5 bp
NO_FEE = 0
_FEE_SCALE = 100_000
_DEFAULT_LEVERAGE = 20
FEES = bytes.fromhex("fe" * 20)  # whose balance every fee goes to
VAULT = bytes.fromhex("fa" * 20)  # the insurance vault, which takes over what can't be closed
_NO_POSITION = Position()


def fee_of(notional: int, rate: int) -> int:
    """A fee, rounded down."""
    return notional * rate // _FEE_SCALE


class Clearing:
    """Every account, at the marks of the moment."""

    def __init__(self, tape: Tape, markets: Iterable[Market]) -> None:
        self.markets = {market.id: market for market in markets}
        self.marks = dict.fromkeys(self.markets, 0)
        self.accounts: dict[bytes, Account] = {}
        self.touched: set[bytes] = set()  # whose standing changed, but for the marks
        self._tape = tape
        self._leverages = {
            market.id: Leverage(
                min(_DEFAULT_LEVERAGE, market.max_leverage), is_cross=not market.only_isolated
            )
            for market in self.markets.values()
        }

    def account(self, user: bytes) -> Account:
        """A user's account, made where there is none."""
        account = self.accounts.get(user)
        if account is None:
            account = self.accounts[user] = Account(user)
        return account

    def position(self, user: bytes, market: int) -> int:
        """A user's signed position, 0 for none."""
        account = self.accounts.get(user)
        return 0 if account is None else account.sz(market)

    def leverage(self, account: Account, market: int) -> Leverage:
        """How the account opens positions of a market."""
        return account.leverages.get(market) or self._leverages[market]

    def standing(self, account: Account) -> Standing:
        """The cross side of an account: value, initial and maintenance margin. O(positions)."""
        value, initial, maintenance, total = account.balance, 0, 0, 0
        marks = self.marks
        for market, position in account.positions.items():
            leverage = account.leverages.get(market) or self._leverages[market]
            if not leverage.is_cross:
                continue
            sz = position.sz
            worth = sz * marks[market] // SCALE
            if sz > 0:
                value += worth - position.cost
            else:
                value += worth + position.cost
                worth = -worth
            initial -= -worth // leverage.value
            maintenance += maintenance_margin(self.markets[market], worth)
            total += worth
        return Standing(value, initial, maintenance, total)

    def account_value(self, account: Account) -> int:
        """Everything the account is worth, isolated positions included."""
        value = account.balance
        for market, position in account.positions.items():
            value += position.margin + position.upnl(self.marks[market])
        return value

    def withdrawable(self, account: Account) -> int:
        """What may leave the account: positions keep their initial margin, and at least a tenth of
        their notional.
        """
        standing = self.standing(account)
        return max(standing.value - max(standing.initial, -(-standing.notional // 10)), 0)

    def can_trade(self, user: bytes, market: int, sz: int, px: int, fee_rate: int) -> bool:
        """Whether the account has the margin for a trade of signed `sz` at `px`. O(positions).

        What makes a position smaller needs none, but may not cost more than the account has. The
        rest needs the initial margin of all positions as they would be, out of the account's value
        as it would be; and an isolated position may not be due for liquidation at once.
        """
        account = self.accounts.get(user)
        if account is None:
            return False
        before = account.sz(market)
        after = before + sz
        reduces = abs(after) <= abs(before) and before * after >= 0
        mark = self.marks[market]
        if reduces and (mark - px) * sz >= 0:
            return True  # at the mark or better: nearly always
        leverage = self.leverage(account, market)
        standing = self.standing(account)
        fee = fee_of(abs(sz) * px // SCALE, fee_rate)
        if not leverage.is_cross:
            return self._can_trade_isolated(account, market, sz, px, standing.value - fee)
        value = standing.value + sz * (mark - px) // SCALE - fee
        if reduces:
            return value >= 0
        margin = standing.initial - initial_margin(abs(before) * mark // SCALE, leverage.value)
        return value >= margin + initial_margin(abs(after) * mark // SCALE, leverage.value)

    def _can_trade_isolated(
        self, account: Account, market: int, sz: int, px: int, value: int
    ) -> bool:
        """Likewise where the position is isolated; `value` is the cross side's less the fee."""
        position = account.positions.get(market) or Position()
        before, after = position.sz, position.sz + sz
        kept = _kept(before, after)
        closed, opened = abs(before) - kept, abs(after) - kept
        margin = position.margin
        upnl = position.upnl(self.marks[market])
        if closed:
            pnl = position.closed_pnl(closed, px)
            released = margin * closed // abs(before)
            value += released + pnl
            margin -= released
            upnl = upnl * kept // abs(before)
        if not opened:
            return value >= 0
        leverage, mark = self.leverage(account, market).value, self.marks[market]
        added = initial_margin(opened * px // SCALE, leverage)
        if value - self.standing(account).initial < added:
            return False
        upnl += (opened if sz > 0 else -opened) * (mark - px) // SCALE
        notional = abs(after) * mark // SCALE
        return margin + added + upnl >= maintenance_margin(self.markets[market], notional)

    def leg(
        self,
        user: bytes,
        oid: int,
        cloid: bytes | None,
        market: int,
        sz: int,
        px: int,
        fee_rate: int,
        *,
        liquidation: Liquidation | None = None,
        direction: str | None = None,
    ) -> Leg:
        """Books one side of a trade, of signed `sz`, and returns what the fill says of it.

        The fee is on the FEES account with it. An isolated margin that changes is to be told
        behind the fill: `tell_margin`.
        """
        account = self.account(user)
        position = account.positions.get(market)
        if position is None:
            position = account.positions[market] = Position()
        start = position.sz
        pnl = position.trade(sz, px)
        fee = fee_of(abs(sz) * px // SCALE, fee_rate)
        account.balance += pnl - fee
        if fee:
            self.account(FEES).balance += fee
        end = position.sz
        if not self.leverage(account, market).is_cross:
            self._move_margin(account, market, position, start, px)
        if not end:
            del account.positions[market]
        self.touched.add(user)
        return Leg(
            user,
            oid,
            cloid,
            start,
            pnl,
            fee,
            liquidation,
            direction or direction_of(start, end),
            QUOTE,
        )

    def tell_margin(self, user: bytes, market: int) -> None:
        """Says what the isolated margin is now, where the position is isolated."""
        account = self.accounts[user]
        leverage = self.leverage(account, market)
        if leverage.is_cross:
            return
        margin = account.positions.get(market, _NO_POSITION).margin
        self._tape.out.append(
            LeverageChanged(user, market, leverage.value, leverage.is_cross, margin)
        )

    def move_balance(
        self, user: bytes, amount: int, kind: str, details: dict[str, Any] | None = None
    ) -> None:
        """A ledger entry: the balance changes by `amount`, and the log says so."""
        self.account(user).balance += amount
        self.touched.add(user)
        self._tape.out.append(LedgerChanged(user, kind, amount, details or {}))

    def _move_margin(
        self, account: Account, market: int, position: Position, start: int, px: int
    ) -> None:
        """The isolated margin follows a position that was `start` and traded at `px`."""
        end = position.sz
        kept = _kept(start, end)
        margin = position.margin
        if start:
            released = margin * (abs(start) - kept) // abs(start)
            margin -= released
            account.balance += released
        opened = abs(end) - kept
        if opened > 0:
            leverage = self.leverage(account, market).value
            added = initial_margin(opened * px // SCALE, leverage)
            margin += added
            account.balance -= added
        position.margin = margin


def _kept(start: int, end: int) -> int:
    """How much of a position of signed `start` is still there at `end`."""
    return 0 if start * end <= 0 else min(abs(start), abs(end))


def direction_of(start: int, end: int) -> str:
    """How Hyperliquid labels a fill that moves a position from `start` to `end`."""
    if start >= 0 and end > start:
        return "Open Long"
    if start <= 0 and end < start:
        return "Open Short"
    if start > 0:
        return "Close Long" if end >= 0 else "Long > Short"
    return "Close Short" if end <= 0 else "Short > Long"
