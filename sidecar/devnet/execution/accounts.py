"""What a user has: a balance, positions, and leverages. Amounts are in units of 1e-8.

A position keeps its exact cost, the sum of px * sz, so nothing is rounded while it grows. Closing q
of a position of size s takes cost * q / s out of it, rounded down, which is closing at the average
entry price; the closed PnL is what that part was sold for less what it cost, exactly. What rounding
left stays in the cost of the rest. So over all users

    balances + isolated margins - costs of longs + costs of shorts

is changed by deposits and withdrawals only: for every buyer at a price there is a seller.
"""

import msgspec

from sidecar.fixed import SCALE


class Position(msgspec.Struct, gc=False):
    """`sz` is signed; `cost` is what opening it cost, never negative; `margin` is its own, 0 for
    a cross position.
    """

    sz: int = 0
    cost: int = 0
    margin: int = 0

    def trade(self, sz: int, px: int) -> int:
        """Moves by the signed `sz` at `px`; returns the closed PnL."""
        before = self.sz
        opened = abs(sz)
        pnl = 0
        if before * sz < 0:
            closed = min(opened, abs(before))
            opened -= closed
            pnl = self.closed_pnl(closed, px)
            self.cost -= self.cost * closed // abs(before)
        self.sz = before + sz
        self.cost += opened * px // SCALE
        return pnl

    def closed_pnl(self, sz: int, px: int) -> int:
        """What closing `sz` of it, without its sign, would realise."""
        gain = sz * px // SCALE - self.cost * sz // abs(self.sz)
        return gain if self.sz > 0 else -gain

    def upnl(self, mark_px: int) -> int:
        """Unrealised PnL at a mark price."""
        sz = self.sz
        return sz * mark_px // SCALE - (self.cost if sz > 0 else -self.cost)


class Leverage(msgspec.Struct, frozen=True, gc=False):
    """How positions of a market are opened."""

    value: int
    is_cross: bool = True


class Account(msgspec.Struct):
    """`positions` and `leverages` are by market; a position of size 0 is not kept."""

    user: bytes
    balance: int = 0
    positions: dict[int, Position] = {}
    leverages: dict[int, Leverage] = {}

    def sz(self, market: int) -> int:
        """The signed position, 0 for none."""
        position = self.positions.get(market)
        return 0 if position is None else position.sz


class Standing(msgspec.Struct, frozen=True, gc=False):
    """An account's cross side at the present marks."""

    value: int  # balance and unrealised PnL of the cross positions
    initial: int
    maintenance: int
    notional: int
