"""Info requests about a user's past: fills, funding payments, ledger entries.

With a time range, both ends included, the oldest ones come first: a client goes on from the time of
the last one. `userFills` has the newest first.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta

from sidecar.api.fills_view import FillView, fill_views, newest_fill_views
from sidecar.api.info.handler import Handler
from sidecar.api.messages import NS_PER_MS, parse_user
from sidecar.api.money_view import UpdateView, check_money_told, funding_update, ledger_update
from sidecar.limits import FILLS_ANSWERED, RANGE_ANSWERED
from sidecar.state.chain import ChainState

Milliseconds = Annotated[int, Meta(ge=0)]


class UserFillsParameters(msgspec.Struct, frozen=True, rename="camel"):
    """`aggregate_by_time`: the fills of a crossing order in a block are combined."""

    user: str
    aggregate_by_time: bool | None = None


class FillsByTimeParameters(msgspec.Struct, frozen=True, rename="camel"):
    """A time range, ms since the epoch; without an end, until now."""

    user: str
    start_time: Milliseconds
    end_time: Milliseconds | None = None
    aggregate_by_time: bool | None = None


class UserRangeParameters(msgspec.Struct, frozen=True, rename="camel"):
    """A time range, ms since the epoch; without a start, all that is kept."""

    user: str
    start_time: Milliseconds = 0
    end_time: Milliseconds | None = None


class _Timed(Protocol):
    @property
    def time_ns(self) -> int: ...


T = TypeVar("T", bound=_Timed)


def _user_fills(state: ChainState, parameters: UserFillsParameters) -> list[FillView]:
    user = state.users.look(parse_user(parameters.user))
    combine = bool(parameters.aggregate_by_time)
    return newest_fill_views(state, user.fills or (), combine=combine, limit=FILLS_ANSWERED)


def _user_fills_by_time(state: ChainState, parameters: FillsByTimeParameters) -> list[FillView]:
    user = state.users.look(parse_user(parameters.user))
    start_ms, end_ms = parameters.start_time, parameters.end_time
    found = (
        one for one in user.fills or () if _within(one.trade.time_ns // NS_PER_MS, start_ms, end_ms)
    )
    combine = bool(parameters.aggregate_by_time)
    return fill_views(state, found, combine=combine, limit=FILLS_ANSWERED)


def _user_funding(state: ChainState, parameters: UserRangeParameters) -> list[UpdateView]:
    check_money_told(state, "userFunding")
    user = state.users.look(parse_user(parameters.user))
    return [funding_update(state, paid) for paid in _in_range(user.fundings or (), parameters)]


def _ledger_updates(state: ChainState, parameters: UserRangeParameters) -> list[UpdateView]:
    check_money_told(state, "userNonFundingLedgerUpdates")
    user = state.users.look(parse_user(parameters.user))
    return [ledger_update(state, entry) for entry in _in_range(user.ledger or (), parameters)]


def _in_range(entries: Iterable[T], parameters: UserRangeParameters) -> Iterator[T]:
    """The oldest ones of a time range, as many as are answered."""
    left = RANGE_ANSWERED
    for entry in entries:
        if _within(entry.time_ns // NS_PER_MS, parameters.start_time, parameters.end_time):
            yield entry
            left -= 1
            if not left:
                return


def _within(time_ms: int, start_ms: int, end_ms: int | None) -> bool:
    return start_ms <= time_ms and (end_ms is None or time_ms <= end_ms)


HANDLERS = {
    "userFills": Handler(UserFillsParameters, _user_fills),
    "userFillsByTime": Handler(FillsByTimeParameters, _user_fills_by_time),
    "userFunding": Handler(UserRangeParameters, _user_funding),
    "userNonFundingLedgerUpdates": Handler(UserRangeParameters, _ledger_updates),
}
