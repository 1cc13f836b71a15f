"""A block in the making: the rows of one height become its transitions.

    MarketListed   OrderStatus   OrdersRefused   BookAdded, BookChanged, BookRemoved   Fill

That is not the order of execution, which the three files don't tell: each says its own only. It is
one in which they can be applied, as orders and their statuses are joined by oid.
"""

from collections.abc import Mapping
from functools import partial

import msgspec

from sidecar.errors import NumberInvalid
from sidecar.node.hyperliquid.diffs import Placed, book_transition
from sidecar.node.hyperliquid.fills import pair_fills
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.orders import KNOWN_STATUSES, WireStatus, order_status
from sidecar.node.hyperliquid.rows import DiffRow, FillRow, Row, StatusRow, read_refusals
from sidecar.node.transitions import PLACING, MarketListed, OrdersRefused, OrderStatus, Transition
from sidecar.telemetry.logs import get_log

_log = get_log("node")

INVALID = (msgspec.DecodeError, NumberInvalid, ValueError, RecursionError)


class Draft:
    """Collects the transitions of a block; nothing outside changes until it is done."""

    def __init__(self, markets: Mapping[str, int], next_market: int) -> None:
        """`markets` are those known before the block; new ones are numbered from `next_market`."""
        self.listed: dict[str, int] = {}
        self.statuses_unknown = 0
        self._markets = markets
        self._next_market = next_market
        self._statuses: list[OrderStatus] = []
        self._rest: list[Transition] = []

    def transitions(self) -> list[Transition]:
        """All of them, in the order drawn above."""
        listings = (MarketListed(market, coin) for coin, market in self.listed.items())
        return [*listings, *self._statuses, *self._rest]

    def add(self, row: Row) -> None:
        """Adds a row: statuses, then diffs, then fills. Raises `LogCorrupt`. O(events)."""
        try:
            if isinstance(row, StatusRow):
                self._add_statuses(row)
            elif isinstance(row, DiffRow):
                self._add_diffs(row)
            else:
                assert isinstance(row, FillRow)
                self._rest += pair_fills(row.fills, self._market)
        except INVALID as error:
            raise row.line.corrupt(str(error), row.height) from error

    def _add_statuses(self, row: StatusRow) -> None:
        for status, wire in row.statuses:
            self.statuses_unknown += status not in KNOWN_STATUSES
            market = self._market(wire.order.coin)
            self._statuses.append(order_status(wire, status, market, row.time_ns))
        refusals = _Refusals(row.line, row.height, row.time_ns)
        for coin, count in row.refused.items():
            market = self._market(coin)
            self._rest.append(OrdersRefused(market, count, partial(refusals.of, coin, market)))

    def _add_diffs(self, row: DiffRow) -> None:
        placed = self._placed(row)
        self._rest += [book_transition(one, self._market(one.coin), placed) for one in row.diffs]

    def _placed(self, row: DiffRow) -> Placed:
        if all(diff.side is not None for diff in row.diffs):
            return {}  # nobody will ask
        return {one.oid: one for one in self._statuses if one.status in PLACING}

    def _market(self, coin: str) -> int:
        market = self._markets.get(coin)
        if market is None:
            market = self.listed.setdefault(coin, self._next_market + len(self.listed))
        return market


class _Refusals:
    """Decodes a row's refusals when somebody reads them, once for all markets.

    One that makes no sense is left out, with a log line: no book depends on it.
    """

    __slots__ = ("_by_coin", "_height", "_line", "_time_ns")

    def __init__(self, line: Line, height: int, time_ns: int) -> None:
        self._line = line
        self._height = height
        self._time_ns = time_ns
        self._by_coin: dict[str, list[WireStatus]] | None = None

    def of(self, coin: str, market: int) -> list[OrderStatus]:
        """The refusals of a market. O(n) for the first market that is read."""
        if self._by_coin is None:
            self._by_coin = self._read()
        statuses = []
        for wire in self._by_coin.get(coin, ()):
            try:
                statuses.append(order_status(wire, wire.status, market, self._time_ns))
            except INVALID as error:
                self._warn(str(error))
        return statuses

    def _read(self) -> dict[str, list[WireStatus]]:
        wires, broken = read_refusals(self._line)
        if broken:
            self._warn(f"{broken} of another shape")
        by_coin: dict[str, list[WireStatus]] = {}
        for wire in wires:
            by_coin.setdefault(wire.order.coin, []).append(wire)
        return by_coin

    def _warn(self, reason: str) -> None:
        _log.warning(
            "refused orders left out",
            height=self._height,
            path=str(self._line.path),
            offset=self._line.offset,
            reason=reason,
        )
