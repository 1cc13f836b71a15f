"""What a block changed, by market, so that nothing downstream has to look for it."""

from enum import IntEnum
from typing import NamedTuple

from sidecar.node.transitions import BID, Fill, OrdersRefused, OrderStatus
from sidecar.state.book import Order, Touched
from sidecar.state.market import Market


class DiffKind(IntEnum):
    """What happened to a resting order."""

    NEW = 0
    UPDATE = 1
    REMOVE = 2


class Diff(NamedTuple):
    """One step of a book: `old_sz` and `new_sz` as of this step (the order itself may have moved
    on since).
    """

    kind: DiffKind
    order: Order
    old_sz: int
    new_sz: int
    before_oid: int = 0


class MarketChanges:
    """What one block did to one market.

    `bids` and `asks` hold the touched levels by rank with their size and number of orders before
    the block. `trades_prev` and `orders_prev` are the heights of the block before this one that had
    any (see `Market`).
    """

    __slots__ = (
        "asks",
        "bids",
        "diffs",
        "fills",
        "market",
        "orders_prev",
        "refused",
        "statuses",
        "trades_prev",
    )

    def __init__(self, market: Market) -> None:
        self.market = market
        self.bids: Touched = {}
        self.asks: Touched = {}
        self.diffs: list[Diff] = []
        self.statuses: list[OrderStatus] = []
        self.refused: list[OrdersRefused] = []
        self.fills: list[Fill] = []
        self.trades_prev = market.trades_height
        self.orders_prev = market.orders_height

    def touched(self, side: int) -> Touched:
        """The touched levels of a side."""
        return self.bids if side == BID else self.asks

    @property
    def book_changed(self) -> bool:
        """Whether any level was touched."""
        return bool(self.bids or self.asks)

    @property
    def orders_changed(self) -> bool:
        """Whether there was any order status or book change."""
        return bool(self.diffs or self.statuses or self.refused)


class Changes:
    """What one block did: `markets` holds those that it names, by market id."""

    __slots__ = ("height", "markets", "time_ns", "transitions")

    def __init__(self, height: int, time_ns: int, transitions: int) -> None:
        self.height = height
        self.time_ns = time_ns
        self.transitions = transitions
        self.markets: dict[int, MarketChanges] = {}
