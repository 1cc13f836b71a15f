"""The exchange: every action, executed against books and accounts.

    Tape          what the block says
    Clearing      accounts: positions, margin, fees
    Matching      books, waiting orders
    Entry         which orders are refused
    Placing       groups, modification, triggers
    Agents        who may sign for whom

What comes by the clock, prices, funding and liquidation, is in modules of its own, which `Chain`
calls.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sidecar.devnet.execution.accounts import Account, Leverage
from sidecar.devnet.execution.actions import (
    DONE,
    Action,
    ApproveAgent,
    Cancel,
    CancelByCloid,
    Deposit,
    Modify,
    Noop,
    Outcome,
    Place,
    PlaceGroup,
    ScheduleCancel,
    Send,
    UpdateIsolatedMargin,
    UpdateLeverage,
    Withdraw,
)
from sidecar.devnet.execution.agents import Agents
from sidecar.devnet.execution.clearing import Clearing
from sidecar.devnet.execution.entry import Entry
from sidecar.devnet.execution.margin import initial_margin
from sidecar.devnet.execution.markets import Market
from sidecar.devnet.execution.matching import Matching
from sidecar.devnet.execution.orders import Resting, Waiting
from sidecar.devnet.execution.placing import Placing
from sidecar.devnet.execution.refusals import REFUSED, ActionRefused, Refusal
from sidecar.devnet.execution.tape import Tape
from sidecar.fixed import NUMBER_MAX, SCALE
from sidecar.node.transitions import LeverageChanged, Transition

SUPPLY_MAX = NUMBER_MAX // 4 * 3  # of all accounts together: whoever wins it all, it fits 64 bits
_SCHEDULE_LEAST_NS = 5 * 10**9  # a scheduled cancel is at least so far ahead


class Exchange:
    """Books, accounts and agents of all markets. Pure: no clock, no I/O."""

    def __init__(self, chain: str, markets: Iterable[Market]) -> None:
        """`chain` names the chain in every transaction hash."""
        self.tape = Tape(chain)
        self.clearing = Clearing(self.tape, markets)
        self.markets = self.clearing.markets
        self.matching = Matching(self.tape, self.clearing)
        self.books = self.matching.books
        self.entry = Entry(self.matching, self.clearing)
        self.placing = Placing(self.tape, self.clearing, self.matching, self.entry)
        self.agents = Agents(self.tape)
        self.supply = 0  # deposits less withdrawals
        self.scheduled: dict[bytes, int] = {}  # user -> when everything of theirs is cancelled, ns
        self._executors: dict[type, Callable[[Any], Outcome | list[Outcome]]] = {
            Place: self.placing.place,
            PlaceGroup: self.placing.place_group,
            Cancel: self._cancel,
            CancelByCloid: self._cancel_by_cloid,
            Modify: self.placing.modify,
            ScheduleCancel: self._schedule_cancel,
            UpdateLeverage: self._update_leverage,
            UpdateIsolatedMargin: self._update_isolated_margin,
            ApproveAgent: self.agents.approve,
            Send: self._send,
            Deposit: self._deposit,
            Withdraw: self._withdraw,
            Noop: self._noop,
        }

    def begin_block(self, height: int, time_ns: int) -> list[Transition]:
        """Starts a block; returns the list to which its transitions will be appended."""
        return self.tape.begin_block(height, time_ns)

    def execute(self, action: Action) -> Outcome | list[Outcome]:
        """Executes an action; a list of outcomes for a group. Raises `ActionRefused` where all of
        it is refused; then nothing changed.
        """
        self.tape.begin_action()
        return self._executors[type(action)](action)

    def set_prices(self, market: int, oracle_px: int, mark_px: int) -> None:
        """New prices of a market, on its grid."""
        self.entry.oracles[market] = oracle_px
        self.clearing.marks[market] = mark_px

    def wake_triggers(self) -> None:
        """Executes the waiting orders that the marks reach, market by market, oldest first.

        Once for a change of marks: what they cause is seen at the next.
        """
        for market, triggers in self.matching.triggers.items():
            for order in triggers.due(self.clearing.marks[market]):
                if order.opened.oid in triggers.orders:
                    self.tape.begin_action()
                    self.placing.wake(order)

    def cancel_scheduled(self) -> None:
        """Cancels everything of the users whose time has come. O(scheduled)."""
        due = [user for user, when in self.scheduled.items() if when <= self.tape.time_ns]
        for user in due:
            del self.scheduled[user]
            self.cancel_all(user, "scheduledCancel")

    def cancel_all(self, user: bytes, status: str, market: int | None = None) -> None:
        """Cancels every order of a user, of one market or of all. O(orders)."""
        for one in self.markets if market is None else (market,):
            for order in self.matching.open.of_user(user, one):
                if self.matching.open.find(user, one, order.opened.oid) is order:
                    self.matching.cancel(order, status)

    def check_invariants(self) -> None:
        """Asserts what holds between blocks whatever happened. O(orders + accounts)."""
        self.matching.check_invariants()
        totals = dict.fromkeys(self.markets, 0)
        for account in self.clearing.accounts.values():
            for market, position in account.positions.items():
                assert position.sz
                assert position.cost >= 0
                cross = self.clearing.leverage(account, market).is_cross
                assert not (cross and position.margin)
                totals[market] += position.sz
        assert not any(totals.values()), "the positions of a market do not sum to zero"

    def total(self) -> int:
        """What all accounts own together: deposits less withdrawals, whatever was traded. O(n)."""
        total = 0
        for account in self.clearing.accounts.values():
            total += account.balance
            for position in account.positions.values():
                total += position.margin
                total -= position.cost if position.sz > 0 else -position.cost
        return total

    def _cancel(self, cancel: Cancel) -> Outcome:
        order = self.matching.open.find(cancel.user, cancel.market, cancel.oid)
        return self._cancel_found(order, cancel.market)

    def _cancel_by_cloid(self, cancel: CancelByCloid) -> Outcome:
        order = self.matching.open.find_cloid(cancel.user, cancel.cloid)
        return self._cancel_found(order, cancel.market)

    def _cancel_found(self, order: Resting | Waiting | None, market: int) -> Outcome:
        if order is None or order.opened.market != market:
            return REFUSED[Refusal.NO_ORDER]
        self.matching.cancel(order, "canceled")
        return DONE

    def _schedule_cancel(self, action: ScheduleCancel) -> Outcome:
        if action.time_ns is None:
            self.scheduled.pop(action.user, None)
            return DONE
        if action.time_ns < self.tape.time_ns + _SCHEDULE_LEAST_NS:
            raise ActionRefused(
                "Scheduled cancel time too early, must be at least 5 seconds from now."
            )
        self.scheduled[action.user] = action.time_ns
        return DONE

    def _update_leverage(self, action: UpdateLeverage) -> Outcome:
        market = self.markets[action.market]
        account = self.clearing.account(action.user)
        if not 1 <= action.leverage <= market.max_leverage:
            raise ActionRefused(
                f"Invalid leverage value. {market.symbol} takes 1 to {market.max_leverage}."
            )
        if action.is_cross and market.only_isolated:
            raise ActionRefused("Cross margin is not allowed for this asset.")
        before = self.clearing.leverage(account, action.market)
        after = Leverage(action.leverage, action.is_cross)
        position = account.positions.get(action.market)
        margin = 0
        if position is not None:
            if before.is_cross != after.is_cross:
                raise ActionRefused("Cannot switch leverage type with open position.")
            notional = abs(position.sz) * self.clearing.marks[action.market] // SCALE
            if after.value > market.tier_leverage(notional):
                raise ActionRefused(Refusal.MAX_POSITION.message)
            margin = self._fit_margin(account, action.market, before, after, notional)
        account.leverages[action.market] = after
        self.clearing.touched.add(action.user)
        self.tape.out.append(
            LeverageChanged(action.user, action.market, after.value, after.is_cross, margin)
        )
        return DONE

    def _fit_margin(
        self, account: Account, market: int, before: Leverage, after: Leverage, notional: int
    ) -> int:
        """Checks that a position may have the new leverage; a lower one of an isolated position
        takes margin from the balance. Returns the isolated margin.
        """
        position = account.positions[market]
        more = initial_margin(notional, after.value) - initial_margin(notional, before.value)
        if not after.is_cross:
            more = initial_margin(notional, after.value) - position.margin
            more -= position.upnl(self.clearing.marks[market])
        standing = self.clearing.standing(account)
        if after.value < before.value and more > 0:
            if standing.value - standing.initial < more:
                raise ActionRefused("Insufficient margin to decrease leverage.")
            if not after.is_cross:
                account.balance -= more
                position.margin += more
        return position.margin

    def _update_isolated_margin(self, action: UpdateIsolatedMargin) -> Outcome:
        account = self.clearing.account(action.user)
        position = account.positions.get(action.market)
        leverage = self.clearing.leverage(account, action.market)
        if position is None or leverage.is_cross:
            raise ActionRefused("No isolated position to update the margin of.")
        mark = self.clearing.marks[action.market]
        if action.amount >= 0:
            if self.clearing.withdrawable(account) < action.amount:
                raise ActionRefused("Insufficient balance to add isolated margin.")
        else:
            notional = abs(position.sz) * mark // SCALE
            needed = max(initial_margin(notional, leverage.value), -(-notional // 10))
            if position.margin + position.upnl(mark) + action.amount < needed:
                raise ActionRefused("Insufficient isolated margin to remove.")
        position.margin += action.amount
        account.balance -= action.amount
        self.clearing.touched.add(action.user)
        self.clearing.tell_margin(action.user, action.market)
        return DONE

    def _send(self, action: Send) -> Outcome:
        clearing = self.clearing
        if action.destination == action.user:
            raise ActionRefused("Cannot send to oneself.")
        if action.amount <= 0:
            raise ActionRefused("The amount must be positive.")
        if clearing.withdrawable(clearing.account(action.user)) < action.amount:
            raise ActionRefused("Insufficient balance for transfer.")
        details = {"user": action.user, "destination": action.destination}
        clearing.move_balance(action.user, -action.amount, "internalTransfer", details)
        clearing.move_balance(action.destination, action.amount, "internalTransfer", details)
        return DONE

    def _deposit(self, action: Deposit) -> Outcome:
        if action.amount <= 0:
            raise ActionRefused("The amount must be positive.")
        if self.supply + action.amount > SUPPLY_MAX:
            raise ActionRefused("There is no more money on this chain.")
        self.supply += action.amount
        self.clearing.move_balance(action.user, action.amount, "deposit")
        return DONE

    def _withdraw(self, action: Withdraw) -> Outcome:
        account = self.clearing.account(action.user)
        if not 0 < action.amount <= self.clearing.withdrawable(account):
            raise ActionRefused("Insufficient balance for withdrawal.")
        self.supply -= action.amount
        self.clearing.move_balance(action.user, -action.amount, "withdraw")
        return DONE

    def _noop(self, _action: Noop) -> Outcome:
        return DONE
