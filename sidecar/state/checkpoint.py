"""The whole state as rows, and back: what the sidecar's own checkpoints hold.

    users first     each with the heights that continue its `prev` chains, in the order in which the
                    chain named them
    then markets    with their orders in queue order and their recent trades, as snapshots have them
    then the rest   waiting orders, accounts, and whatever a part of the state adds

A state made of these rows equals the one that they were read from, and goes on equally. A part of
the state that has more to keep adds a line to `PARTS`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from sidecar.errors import StateMismatch
from sidecar.node.snapshot import (
    AccountRow,
    MarketRow,
    PositionRow,
    RestingRow,
    Row,
    TradeRow,
)
from sidecar.node.transitions import ASK, BID, Record
from sidecar.state.accounts import AccountsRow, FundingPaidRow
from sidecar.state.candles import CandleRow, CandlesRow
from sidecar.state.chain import ChainState
from sidecar.state.context import ContextRow, MinuteRow, RateRow
from sidecar.state.history import FillRow, LedgerRow, PaymentRow
from sidecar.state.market import Market
from sidecar.state.orders import StatusRow
from sidecar.state.restorer import Restorer
from sidecar.state.users import HeightsRow, SourceRow, User

Restore = Callable[[ChainState, Any], None]


class Part(NamedTuple):
    """A part of the state: how its rows are read from it, and how each type of row beside those of
    snapshots goes back into it.
    """

    rows: Callable[[ChainState], Iterable[Record]]
    restore: Mapping[type[Record], Restore]


def checkpoint_rows(state: ChainState) -> Iterator[Record]:
    """Every row of the state, to be read through before the next block. O(state)."""
    for part in PARTS:
        yield from part.rows(state)


def restorer(state: ChainState, height: int, time_ns: int) -> Restorer:
    """Fills an empty state from the rows of a checkpoint, or of a snapshot."""
    return Restorer(state, height, time_ns, _others(state))


def _others(state: ChainState) -> dict[type, Callable[[Any], None]]:
    return {
        kind: partial(_restore, state, restore)
        for part in PARTS
        for kind, restore in part.restore.items()
    }


def _restore(state: ChainState, restore: Restore, row: Any) -> None:
    """Raises `StateMismatch` for a row that fits to nothing before it."""
    told = getattr(row, "status", None) or getattr(row, "fill", None) or row
    market = getattr(told, "market", None)
    if market is not None and market not in state.markets:
        raise StateMismatch(f"the checkpoint uses market {market} before listing it")
    try:
        restore(state, row)
    except (KeyError, ValueError) as error:  # an interval, a number in a text
        raise StateMismatch(f"a {type(row).__name__} that makes no sense: {error}") from error


def component(read: Callable[[ChainState], Any], *kinds: type[Record]) -> Part:
    """A part that is an object with `rows()` and `restore(row)`, which `read` finds in the state.
    `kinds` are the types of its own rows; it may write those of snapshots, too.
    """

    def rows(state: ChainState) -> Iterable[Record]:
        found: Iterable[Record] = read(state).rows()
        return found

    def restore(state: ChainState, row: Any) -> None:
        read(state).restore(row)

    return Part(rows, dict.fromkeys(kinds, restore))


def _market_rows(state: ChainState) -> Iterator[Record]:
    for market in state.markets.values():
        yield MarketRow(
            market.listing,
            market.oracle_px,
            market.mark_px,
            market.trades_height,
            market.orders_height,
        )
        yield from _resting_rows(market)
        for trade in market.trades:
            yield TradeRow(trade.height, trade.time_ns, trade.fill)


def _resting_rows(market: Market) -> Iterator[Record]:
    number = market.id
    for side in (BID, ASK):
        for order in market.book.queue(side):
            yield RestingRow(
                number,
                order.oid,
                order.user,
                side,
                order.px,
                order.sz,
                order.added_ns,
                order.status,
            )


def _waiting_rows(state: ChainState) -> Iterator[Record]:
    yield from state.orders.waiting_rows()


def _account_rows(state: ChainState) -> Iterator[Record]:
    for user in state.users.by_address.values():
        if user.balance or user.positions or user.leverages is not None:
            yield _account_row(user)


def _market(one: tuple[int, Any]) -> int:
    return one[0]


def _account_row(user: User) -> AccountRow:
    positions = tuple(
        PositionRow(market, position.sz, position.cost, position.margin)
        for market, position in sorted(user.positions.items(), key=_market)
    )
    leverages = tuple(
        (market, leverage.value, leverage.is_cross)
        for market, leverage in sorted((user.leverages or {}).items(), key=_market)
    )
    return AccountRow(user.address, user.balance, positions, leverages)


class LevelsRow(Record, tag=58, frozen=True):
    """A market's newest block that left a level different (see `Market`)."""

    market: int
    height: int | None


def _past_rows(state: ChainState) -> Iterator[Record]:
    for market in state.markets.values():
        yield LevelsRow(market.id, market.levels_height)
        yield from market.candles.rows(market.id)
        yield from market.context.rows(market.id)


def _restore_levels(state: ChainState, row: LevelsRow) -> None:
    state.markets[row.market].levels_height = row.height


def _restore_candles(state: ChainState, row: CandlesRow | CandleRow) -> None:
    state.markets[row.market].candles.restore(row)


def _restore_context(state: ChainState, row: ContextRow | MinuteRow | RateRow) -> None:
    state.markets[row.market].context.restore(row)


PARTS = (
    component(lambda state: state.users, SourceRow, HeightsRow),
    Part(_market_rows, {}),
    Part(
        _past_rows,
        {
            LevelsRow: _restore_levels,
            **dict.fromkeys((CandlesRow, CandleRow), _restore_candles),
            **dict.fromkeys((ContextRow, MinuteRow, RateRow), _restore_context),
        },
    ),
    Part(_waiting_rows, {}),
    Part(_account_rows, {}),
    component(lambda state: state.accounts, AccountsRow, FundingPaidRow),
    component(lambda state: state.orders, StatusRow),
    component(lambda state: state.history, FillRow, PaymentRow, LedgerRow),
)

ROW_TYPES: tuple[Any, ...] = (Row, *(kind for part in PARTS for kind in part.restore))
