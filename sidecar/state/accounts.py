"""Accounts as of the last block: balances, positions, leverages, agents, from the log alone.

Exactly as docs/node-log.md says: a balance is the sum of ledger entries, funding payments and
closed PnL less fees, less the isolated margins that `LeverageChanged` tells; a position keeps its
exact cost. Nothing here is rounded but the cost of what a partial close takes out, which the chain
rounds likewise.
"""

from collections.abc import Iterator

import msgspec

from sidecar.errors import StateMismatch
from sidecar.fixed import SCALE
from sidecar.node.snapshot import AccountRow, AgentRow
from sidecar.node.transitions import (
    AccountCheck,
    AgentApproved,
    FundingSettled,
    LedgerChanged,
    Leg,
    LeverageChanged,
    Record,
)
from sidecar.state.market import Market
from sidecar.state.users import User, Users

FEES = bytes.fromhex("fe" * 20)  # the chain's own account, whose income every fee is
_TRANSFERS = frozenset(("deposit", "withdraw", "internalTransfer"))
DEFAULT_LEVERAGE = 20  # or a market's highest, where that is less


class Position(msgspec.Struct, gc=False):
    """`sz` is signed; `cost`, in the quote currency, is what opening it cost, never negative;
    `margin` is its own, 0 for a cross position. Funding is what was paid since then, negative if
    received.
    """

    sz: int = 0
    cost: int = 0
    margin: int = 0
    funding_since_open: int = 0
    funding_since_change: int = 0

    def trade(self, sz: int, px: int) -> None:
        """Moves by the signed `sz` at `px`. O(1)."""
        before, opened = self.sz, abs(sz)
        if before * sz < 0:
            closed = min(opened, abs(before))
            opened -= closed
            self.cost -= self.cost * closed // abs(before)
        self.sz = after = before + sz
        self.cost += opened * px // SCALE
        self.funding_since_change = 0
        if before * after <= 0:
            self.funding_since_open = 0

    def upnl(self, mark_px: int) -> int:
        """Unrealised PnL at a mark price."""
        sz = self.sz
        return sz * mark_px // SCALE - (self.cost if sz > 0 else -self.cost)


class Leverage(msgspec.Struct, frozen=True, gc=False):
    """How positions of a market are opened."""

    value: int
    is_cross: bool = True


class AccountsRow(Record, tag=32, frozen=True):
    """Whether accounts are known at all (see `Accounts`)."""

    complete: bool


class FundingPaidRow(Record, tag=33, frozen=True):
    """Funding that a user has paid in a market: ever, since the position was opened, and since its
    size changed.
    """

    user: bytes
    market: int
    ever: int
    since_open: int
    since_change: int


class Accounts:
    """The account half of every user.

    `complete` says whether the source tells of accounts: a Hyperliquid node's files start from a
    snapshot without any, and have no ledger. `agents` are by the agent's address, `agents_of` by
    user and name.
    """

    def __init__(self, users: Users, markets: dict[int, Market]) -> None:
        self.complete = True
        self.agents: dict[bytes, AgentRow] = {}
        self.agents_of: dict[bytes, dict[str, AgentRow]] = {}
        self._users = users
        self._markets = markets

    def fill(self, user: User, market: int, sz: int, px: int, leg: Leg) -> None:
        """One side of a trade, of signed `sz`. O(1)."""
        position = user.positions.get(market)
        if position is None:
            position = user.positions[market] = Position()
            if leg.start_position:  # from before the state began; what it cost is not known
                position.sz = leg.start_position
        position.trade(sz, px)
        user.balance += leg.closed_pnl - leg.fee
        user.volume += abs(sz) * px // SCALE
        if leg.fee:
            self._users.get(FEES).balance += leg.fee
        if not position.sz and not position.margin:
            del user.positions[market]

    def funding(self, settled: FundingSettled) -> None:
        """Funding of one market. O(payments)."""
        market = settled.market
        for address, _, amount in settled.payments:
            user = self._users.get(address)
            user.balance += amount
            if user.funding_paid is None:
                user.funding_paid = {}
            user.funding_paid[market] = user.funding_paid.get(market, 0) - amount
            position = user.positions.get(market)
            if position is not None:
                position.funding_since_open -= amount
                position.funding_since_change -= amount

    def ledger(self, changed: LedgerChanged) -> None:
        """A movement of the balance. O(1)."""
        user = self._users.get(changed.user)
        user.balance += changed.amount
        if changed.kind in _TRANSFERS:
            user.deposited += changed.amount

    def leverage(self, changed: LeverageChanged) -> None:
        """A leverage, and the isolated margin of the position, which the balance gave or gets.
        O(1).
        """
        user = self._users.get(changed.user)
        if user.leverages is None:
            user.leverages = {}
        user.leverages[changed.market] = Leverage(changed.leverage, changed.is_cross)
        position = user.positions.get(changed.market)
        if position is None:
            return
        user.balance += position.margin - changed.isolated_margin
        position.margin = changed.isolated_margin
        if not position.sz and not position.margin:
            del user.positions[changed.market]

    def agent(self, approved: AgentApproved, time_ns: int) -> None:
        """An agent, approved at that time; it takes the place of the user's agent of that name, and
        those of the user that are over are forgotten. O(agents of the user).
        """
        for known in list(self.agents_of.get(approved.user, {}).values()):
            if known.name == approved.name or 0 < known.valid_until <= time_ns:
                self._forget(known)
        before = self.agents.get(approved.agent)
        if before is not None:
            self._forget(before)
        self.restore_agent(
            AgentRow(approved.user, approved.agent, approved.name, approved.valid_until)
        )

    def _forget(self, agent: AgentRow) -> None:
        del self.agents[agent.agent]
        mine = self.agents_of[agent.user]
        del mine[agent.name]
        if not mine:
            del self.agents_of[agent.user]

    def check(self, check: AccountCheck) -> None:
        """Raises `StateMismatch` that names the first thing in which the account is not the
        node's. O(positions).
        """
        user = self._users.get(check.user)
        held = sorted((market, one.sz) for market, one in user.positions.items() if one.sz)
        if held != list(check.positions):
            raise _mismatch(check.user, "positions are", list(check.positions), held)
        value = self.value(user)
        if value != check.account_value:
            raise _mismatch(check.user, "account value is", check.account_value, value)

    def value(self, user: User) -> int:
        """Everything that an account is worth at the marks, isolated positions included.
        O(positions).
        """
        markets = self._markets
        positions = user.positions.items()
        return user.balance + sum(
            one.margin + one.upnl(markets[market].mark_px) for market, one in positions
        )

    def leverage_of(self, user: User, market: Market) -> Leverage:
        """How the user opens positions of a market: as set, else 20 or the highest that there is,
        cross unless the market is isolated only.
        """
        known = user.leverages and user.leverages.get(market.id)
        if known:
            return known
        listing = market.listing
        highest = listing.max_leverage or DEFAULT_LEVERAGE
        return Leverage(min(DEFAULT_LEVERAGE, highest), not listing.only_isolated)

    def adopt(self, rebuilt: User) -> None:
        """Takes over an account that was rebuilt elsewhere, in place of the one of that address."""
        user = self._users.get(rebuilt.address)
        user.balance = rebuilt.balance
        user.positions = rebuilt.positions
        user.leverages = rebuilt.leverages
        user.deposited = rebuilt.deposited
        user.funding_paid = rebuilt.funding_paid

    def restore_account(self, row: AccountRow) -> None:
        """An account of a snapshot. O(positions)."""
        self.complete = True
        user = self._users.get(row.user)
        user.balance = row.balance
        user.positions = {
            one.market: Position(one.sz, one.cost, one.isolated_margin) for one in row.positions
        }
        if row.leverages:
            user.leverages = {
                market: Leverage(value, is_cross) for market, value, is_cross in row.leverages
            }

    def restore_agent(self, row: AgentRow) -> None:
        """An agent of a snapshot. O(1)."""
        self.agents[row.agent] = row
        self.agents_of.setdefault(row.user, {})[row.name] = row

    def rows(self) -> Iterator[Record]:
        """What a checkpoint holds beside the rows of accounts."""
        yield AccountsRow(self.complete)
        yield from self.agents.values()
        for user in self._users.by_address.values():
            for market, ever in (user.funding_paid or {}).items():
                position = user.positions.get(market, _NONE)
                yield FundingPaidRow(
                    user.address,
                    market,
                    ever,
                    position.funding_since_open,
                    position.funding_since_change,
                )

    def restore(self, row: AccountsRow | FundingPaidRow) -> None:
        """One of these. O(1)."""
        if isinstance(row, AccountsRow):
            self.complete = self._users.money_told = row.complete
            return
        user = self._users.get(row.user)
        if user.funding_paid is None:
            user.funding_paid = {}
        user.funding_paid[row.market] = row.ever
        position = user.positions.get(row.market)
        if position is not None:
            position.funding_since_open = row.since_open
            position.funding_since_change = row.since_change


_NONE = Position()


def _mismatch(user: bytes, what: str, node: object, mine: object) -> StateMismatch:
    return StateMismatch(f"the node checks account 0x{user.hex()}: {what} {node}, here {mine}")
