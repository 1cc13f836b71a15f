"""What happened to users of late: fills, fundings, ledger entries; bounded each (see `Recent`)."""

from collections.abc import Iterator

import msgspec

from sidecar.errors import StateMismatch
from sidecar.limits import (
    FILLS_KEPT,
    FILLS_PER_USER,
    FUNDINGS_KEPT,
    FUNDINGS_PER_USER,
    LEDGER_KEPT,
    LEDGER_PER_USER,
)
from sidecar.node.transitions import (
    ASK,
    BID,
    Fill,
    FundingSettled,
    LedgerChanged,
    Leg,
    Record,
    Side,
)
from sidecar.state.changes import Changes
from sidecar.state.market import Trade
from sidecar.state.recent import Recent
from sidecar.state.users import Users


class FillRow(Record, tag=43, frozen=True):
    """One user's side of a trade. `fill` is None where the trade is that of the row before."""

    height: int
    time_ns: int
    fill: Fill | None
    side: Side


class PaymentRow(Record, tag=44, frozen=True):
    """Funding paid or received by a user (see `Payment`)."""

    user: bytes
    height: int
    time_ns: int
    market: int
    position: int
    amount: int
    rate: int


class LedgerRow(Record, tag=45, frozen=True):
    """A ledger entry."""

    height: int
    time_ns: int
    changed: LedgerChanged


class UserFill(msgspec.Struct, frozen=True, gc=False):
    """One user's side of a trade."""

    trade: Trade
    side: int

    @property
    def leg(self) -> Leg:
        """The user's leg."""
        leg = _leg(self.trade.fill, self.side)
        assert leg is not None, "fills are kept of sides that the node writes"
        return leg


def _leg(fill: Fill, side: int) -> Leg | None:
    return fill.buyer if side == BID else fill.seller


class Payment(msgspec.Struct, frozen=True, gc=False):
    """Funding paid or received by a user: `amount` is positive for the receiver, `position` signed,
    `rate` of one payment in units of 1e-8.
    """

    height: int
    time_ns: int
    market: int
    position: int
    amount: int
    rate: int


class LedgerEntry(msgspec.Struct, frozen=True, gc=False):
    """A movement of a user's balance that no trade or funding made."""

    height: int
    time_ns: int
    changed: LedgerChanged


class History:
    """The past of every user."""

    def __init__(
        self,
        users: Users,
        *,
        fills: tuple[int, int] = (FILLS_PER_USER, FILLS_KEPT),
        fundings: tuple[int, int] = (FUNDINGS_PER_USER, FUNDINGS_KEPT),
        ledger: tuple[int, int] = (LEDGER_PER_USER, LEDGER_KEPT),
    ) -> None:
        """How many are kept of a user, and of all users together."""
        self._users = users
        self._fills: Recent[UserFill] = Recent("fills", *fills)
        self._fundings: Recent[Payment] = Recent("fundings", *fundings)
        self._ledger: Recent[LedgerEntry] = Recent("ledger", *ledger)
        self._restored: Trade | None = None  # the newest one

    def fill(self, trade: Trade, changes: Changes) -> None:
        """Both legs of a trade. O(1)."""
        fill = trade.fill
        for leg, side in ((fill.buyer, BID), (fill.seller, ASK)):
            if leg is not None:
                changed, one = changes.user(leg.user), UserFill(trade, side)
                changed.fills.append(one)
                changed.events = True
                self._fills.add(changed.user, one)

    def funding(self, settled: FundingSettled, changes: Changes) -> None:
        """Funding of one market. O(payments)."""
        height, time_ns, market, rate = (
            changes.height,
            changes.time_ns,
            settled.market,
            settled.rate,
        )
        for address, position, amount in settled.payments:
            changed = changes.user(address)
            payment = Payment(height, time_ns, market, position, amount, rate)
            changed.fundings.append(payment)
            changed.events = True
            self._fundings.add(changed.user, payment)

    def ledger(self, changed: LedgerChanged, changes: Changes) -> None:
        """A ledger entry. O(1)."""
        user_changes = changes.user(changed.user)
        entry = LedgerEntry(changes.height, changes.time_ns, changed)
        user_changes.ledger.append(entry)
        if changed.kind == "liquidation":
            user_changes.events = True
        self._ledger.add(user_changes.user, entry)

    def rows(self) -> Iterator[FillRow | PaymentRow | LedgerRow]:
        """What `restore` takes, in this order, and no snapshot of a node holds. O(entries)."""
        before: Trade | None = None
        for _, one in self._fills.entries():
            trade = one.trade
            fill = None if trade is before else trade.fill
            yield FillRow(trade.height, trade.time_ns, fill, one.side)
            before = trade
        for user, paid in self._fundings.entries():
            yield PaymentRow(
                user.address,
                paid.height,
                paid.time_ns,
                paid.market,
                paid.position,
                paid.amount,
                paid.rate,
            )
        for _, entry in self._ledger.entries():
            yield LedgerRow(entry.height, entry.time_ns, entry.changed)

    def restore(self, row: FillRow | PaymentRow | LedgerRow) -> None:
        """A row of `rows`. Raises `StateMismatch`. O(1)."""
        get = self._users.get
        if isinstance(row, FillRow):
            if row.fill is not None:
                self._restored = Trade(row.height, row.time_ns, row.fill)
            restored = self._restored
            leg = None if restored is None else _leg(restored.fill, row.side)
            if restored is None or leg is None:
                raise StateMismatch("a row of a fill has no fill, or no such side of it")
            self._fills.add(get(leg.user), UserFill(restored, row.side))
        elif isinstance(row, PaymentRow):
            payment = Payment(
                row.height, row.time_ns, row.market, row.position, row.amount, row.rate
            )
            self._fundings.add(get(row.user), payment)
        else:
            entry = LedgerEntry(row.height, row.time_ns, row.changed)
            self._ledger.add(get(row.changed.user), entry)
