"""Fills an empty state from a snapshot's rows: markets first, each with its orders in queue order,
then what else there is, as `node.snapshot` has them.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sidecar.errors import StateMismatch
from sidecar.node.snapshot import (
    AccountRow,
    AgentRow,
    MarketRow,
    RestingRow,
    TradeRow,
    TriggerRow,
)
from sidecar.state.book import Order
from sidecar.state.market import Market, Trade
from sidecar.state.orders import live

if TYPE_CHECKING:
    from sidecar.state.chain import ChainState


class Restorer:
    """Takes the rows one by one, or all of them."""

    def __init__(
        self,
        state: "ChainState",
        height: int,
        time_ns: int,
        others: Mapping[type, Callable[[Any], None]] = MappingProxyType({}),
    ) -> None:
        """`state` is as of `height` from here on. `others` restore rows that are not the
        vocabulary's (see `state.checkpoint`); a row that nobody restores is passed over.
        """
        assert not state.markets, "only a new state can be filled"
        self._state = state
        state.height = height
        state.time_ns = time_ns
        state.users.unknown_past = height > 0
        state.users.since_ns = time_ns + 1 if time_ns and height else None
        state.accounts.complete = state.users.money_told = height == 0
        self._restorers: dict[type, Callable[[Any], None]] = {
            MarketRow: self._market,
            RestingRow: self._order,
            TradeRow: self._trade,
            TriggerRow: self._waiting,
            AccountRow: self._account,
            AgentRow: state.accounts.restore_agent,
            **others,
        }

    def row(self, row: Any) -> None:
        """One row. Raises `StateMismatch`; the state is of no use then. O(1)."""
        restorer = self._restorers.get(type(row))
        if restorer is None:
            return
        try:
            restorer(row)
        except StateMismatch as error:
            told, state = StateMismatch(f"in the snapshot, {error}"), self._state
            raise state.located(told, state.height, row) from None

    def rows(self, rows: Iterable[Any]) -> None:
        """All of them, likewise. O(rows)."""
        for row in rows:
            self.row(row)

    def _market(self, row: MarketRow) -> None:
        market = self._state.add_market(row.listing)
        market.oracle_px = row.oracle_px
        market.mark_px = row.mark_px
        market.trades_height = row.trades_height
        market.orders_height = row.orders_height

    def _order(self, row: RestingRow) -> None:
        status = row.status
        if status is not None and status.status == "triggered":
            status = live(status)
        order = Order(row.oid, row.user, row.side, row.px, row.sz, row.added_ns, status)
        state = self._state
        market = state.markets.get(row.market) or self._listed(row.market)
        market.book.append(order)
        state.orders.restore_resting(row.market, order)

    def _trade(self, row: TradeRow) -> None:
        trade = Trade(row.height, row.time_ns, row.fill)
        self._listed(row.fill.market).trades.append(trade)

    def _waiting(self, row: TriggerRow) -> None:
        self._listed(row.status.market)
        self._state.orders.restore_waiting(row)

    def _account(self, row: AccountRow) -> None:
        state = self._state
        state.accounts.restore_account(row)
        state.users.money_told = True
        for position in row.positions:
            self._listed(position.market).context.open_interest += max(position.sz, 0)
        for market, _, _ in row.leverages:
            self._listed(market)

    def _listed(self, market_id: int) -> Market:
        market = self._state.markets.get(market_id)
        if market is None:
            raise StateMismatch(f"the snapshot uses market {market_id} before listing it")
        return market
