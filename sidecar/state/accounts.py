"""Accounts as of the last block: balances, positions, leverages, agents, from the log alone."""

import msgspec

from sidecar.node.snapshot import AccountRow, AgentRow
from sidecar.node.transitions import (
    AccountCheck,
    AgentApproved,
    Fill,
    FundingSettled,
    LedgerChanged,
    LeverageChanged,
)
from sidecar.state.market import Market
from sidecar.state.users import User, Users


class Position(msgspec.Struct, gc=False):
    """`sz` is signed; `cost` is what opening it cost, never negative."""

    sz: int = 0
    cost: int = 0
    margin: int = 0


class Leverage(msgspec.Struct, frozen=True, gc=False):
    """How positions of a market are opened."""

    value: int
    is_cross: bool = True


class Accounts:
    """The account half of every user."""

    def __init__(self, users: Users, markets: dict[int, Market]) -> None:
        self._users = users
        self._markets = markets

    def fill(self, fill: Fill) -> None:
        """Both legs of a trade. O(1)."""

    def funding(self, settled: FundingSettled) -> None:
        """Funding of one market. O(payments)."""

    def ledger(self, changed: LedgerChanged) -> None:
        """A movement of the balance."""

    def leverage(self, changed: LeverageChanged) -> None:
        """A leverage or an isolated margin."""

    def agent(self, approved: AgentApproved) -> None:
        """An agent."""

    def check(self, check: AccountCheck) -> None:
        """Raises `StateMismatch` that names the first thing in which the account is not the
        node's. O(positions).
        """

    def restore_account(self, row: AccountRow) -> None:
        """An account of a snapshot."""

    def restore_agent(self, row: AgentRow) -> None:
        """An agent of a snapshot."""

    def adopt(self, rebuilt: User) -> None:
        """Takes over an account that was rebuilt elsewhere, in place of the one of that address."""
        user = self._users.get(rebuilt.address)
        user.balance = rebuilt.balance
        user.positions = rebuilt.positions
        user.leverages = rebuilt.leverages
        user.funding_paid = rebuilt.funding_paid
