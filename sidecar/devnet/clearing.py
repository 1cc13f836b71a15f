"""What a trade does to each of the two who made it: position, closed PnL, fee.

A position keeps its exact cost, the sum of px * sz in units of 1e-16, so nothing is rounded while
it grows. Closing q of a position of size s takes cost * q / s out of it, rounded down, which is
closing at the average entry price. The closed PnL is rounded toward zero to 1e-8 and does not
contain the fee; the fee is rounded down.
"""

import msgspec

from sidecar.devnet.markets import QUOTE
from sidecar.fixed import SCALE, Rounding, divide
from sidecar.node.transitions import BID, Leg

MAKER_FEE = 15  # of the notional, in units of a tenth of a basis point: 1.5 bp
TAKER_FEE = 45  # 4.5 bp
_FEE_SCALE = SCALE * 100_000


class Position(msgspec.Struct, gc=False):
    """`sz` is signed; `cost` is what opening it cost, in units of 1e-16, never negative."""

    sz: int = 0
    cost: int = 0

    def trade(self, sz: int, px: int) -> int:
        """Moves by the signed `sz` at `px`; returns the closed PnL in units of 1e-8."""
        closed, pnl = 0, 0
        if self.sz * sz < 0:
            closed = min(abs(sz), abs(self.sz))
            cost = self.cost * closed // abs(self.sz)
            gain = closed * px - cost
            pnl = divide(gain if self.sz > 0 else -gain, SCALE, Rounding.TOWARD_ZERO)
            self.cost -= cost
        self.sz += sz
        self.cost += (abs(sz) - closed) * px
        return pnl


class Clearing:
    """Every user's positions, by market."""

    def __init__(self) -> None:
        self._positions: dict[tuple[bytes, int], Position] = {}

    def leg(
        self,
        user: bytes,
        oid: int,
        cloid: bytes | None,
        *,
        market: int,
        side: int,
        px: int,
        sz: int,
        fee_rate: int,
    ) -> Leg:
        """Books one side of a trade and returns what the fill says of it."""
        position = self._positions.get((user, market))
        if position is None:
            position = self._positions[user, market] = Position()
        start = position.sz
        pnl = position.trade(sz if side == BID else -sz, px)
        direction = _direction(start, position.sz)
        fee = px * sz * fee_rate // _FEE_SCALE
        return Leg(user, oid, cloid, start, pnl, fee, direction=direction, fee_token=QUOTE)

    def position(self, user: bytes, market: int) -> int:
        """A user's signed position, 0 for none."""
        position = self._positions.get((user, market))
        return 0 if position is None else position.sz

    def positions(self, market: int) -> dict[bytes, int]:
        """Every signed position of a market that is not 0. O(positions of all markets)."""
        return {
            user: position.sz
            for (user, its_market), position in self._positions.items()
            if its_market == market and position.sz
        }


def _direction(start: int, end: int) -> str:
    """How Hyperliquid labels a fill that moves a position from `start` to `end`."""
    if start >= 0 and end > start:
        return "Open Long"
    if start <= 0 and end < start:
        return "Open Short"
    if start > 0:
        return "Close Long" if end >= 0 else "Long > Short"
    return "Close Short" if end <= 0 else "Short > Long"
