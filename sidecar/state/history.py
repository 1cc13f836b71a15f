"""What happened to users of late: fills, fundings, ledger entries; bounded each."""

import msgspec

from sidecar.node.transitions import FundingSettled, LedgerChanged, Leg
from sidecar.state.changes import Changes
from sidecar.state.market import Trade
from sidecar.state.users import Users


class UserFill(msgspec.Struct, frozen=True, gc=False):
    """One user's side of a trade."""

    trade: Trade
    side: int

    @property
    def leg(self) -> Leg:
        """The user's leg."""
        raise NotImplementedError


class Payment(msgspec.Struct, frozen=True, gc=False):
    """Funding paid or received by a user."""

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

    def __init__(self, users: Users) -> None:
        self._users = users

    def fill(self, trade: Trade, changes: Changes) -> None:
        """Both legs of a trade. O(1)."""

    def funding(self, settled: FundingSettled, changes: Changes) -> None:
        """Funding of one market. O(payments)."""

    def ledger(self, changed: LedgerChanged, changes: Changes) -> None:
        """A ledger entry. O(1)."""
