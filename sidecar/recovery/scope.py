"""The part of the exchange that a rebuild or a rerun is about.

Rows and transitions that do not concern it cost their decoding only.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sidecar.node.snapshot import RestingRow
from sidecar.node.transitions import (
    AccountCheck,
    Block,
    Fill,
    FundingSettled,
    LedgerChanged,
    LeverageChanged,
    MarketListed,
    OrdersRefused,
    OrderStatus,
    PricesUpdated,
)
from sidecar.state.accounts import FEES
from sidecar.state.faults import BOOK_KINDS
from sidecar.state.history import FillRow, LedgerRow, PaymentRow
from sidecar.state.orders import StatusRow

_OF_THE_PAST = (FillRow, PaymentRow, LedgerRow, StatusRow)  # nothing that is rebuilt shows it
_OF_USER = (LedgerChanged, LeverageChanged, AccountCheck)


class Scope:
    """Markets, with their `books` or only with what happens in them, and users."""

    def __init__(
        self,
        *,
        books: Iterable[int] = (),
        markets: Iterable[int] = (),
        users: Iterable[bytes] = (),
        owners: Iterable[bytes] = (),
    ) -> None:
        """`owners`: who had orders in the books before they were rebuilt."""
        self.books = frozenset(books)
        self.markets = frozenset(markets) | self.books
        self.users = frozenset(users)
        self.owners = frozenset(owners)

    def rows(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Those of a snapshot that concern it; every market is listed."""
        for row in rows:
            if self._concerns(row):
                yield row

    def block(self, block: Block) -> Block:
        """The block with the transitions that concern it. O(transitions)."""
        kept = [one for one in block.transitions if self._keeps(one)]
        return Block(block.height, block.time_ns, block.written_ns, kept)

    def _concerns(self, row: Any) -> bool:
        if isinstance(row, RestingRow):
            return row.market in self.books
        if isinstance(row, _OF_THE_PAST):
            return False
        about = getattr(row, "fill", None) or getattr(row, "status", None) or row
        market = getattr(about, "market", None)
        user = getattr(about, "user", None) or getattr(about, "address", None)
        if market is None and user is None:
            return True  # a listing, or about the state as a whole
        return market in self.markets or user in self.users

    def _keeps(self, transition: Any) -> bool:
        kind = type(transition)
        if kind in BOOK_KINDS:
            return transition.market in self.books
        if kind is OrderStatus:
            return transition.market in self.markets or transition.user in self.users
        if kind is Fill:
            return transition.market in self.markets or self._traded(transition)
        return self._keeps_rare(transition)

    def _keeps_rare(self, transition: Any) -> bool:
        kind = type(transition)
        if kind is FundingSettled:
            paid = any(user in self.users for user, _, _ in transition.payments)
            return paid or transition.market in self.markets
        if kind in _OF_USER:
            return transition.user in self.users
        if kind is OrdersRefused:
            return bool(self.users) or transition.market in self.markets
        return kind in (MarketListed, PricesUpdated)

    def _traded(self, fill: Fill) -> bool:
        if FEES in self.users:  # every fee is its income
            return True
        legs = (fill.buyer, fill.seller)
        return any(leg is not None and leg.user in self.users for leg in legs)
