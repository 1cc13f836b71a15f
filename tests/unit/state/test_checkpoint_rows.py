"""A state made of a checkpoint's rows is the one that they were read from, and goes on as it."""

from collections import deque
from functools import reduce
from operator import or_
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks import ALICE, BOB, SONY, TOYOTA, ask, bid, block, fill, opened, state_of
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.errors import StateMismatch
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import AccountRow, MarketRow, TriggerRow
from sidecar.node.transitions import BookChanged, LeverageChanged, PricesUpdated, Record
from sidecar.state import checkpoint
from sidecar.state.candles import CandleRow
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes
from sidecar.state.checkpoint import (
    ROW_TYPES,
    LevelsRow,
    checkpoint_rows,
    component,
    restorer,
)
from sidecar.state.context import ContextRow
from sidecar.state.history import FillRow, PaymentRow
from sidecar.state.orders import StatusRow
from sidecar.state.users import HeightsRow, User, Users

BLOCKS = 25
TRANSIENT = {
    "_appliers",
    "_changes",
    "_placed",
    "_restored",
    "_restorers",
    "checked",
    "way",
}  # of the block that is being, or was, applied, and what this process compared
ELSEWHERE = {"_users", "_markets"}  # what parts of the state share, and the state itself holds
ROWS: Any = list[reduce(or_, ROW_TYPES)]  # type: ignore[misc]


def restored(state: ChainState) -> ChainState:
    """By way of bytes."""
    encoded = msgspec.msgpack.encode(list(checkpoint_rows(state)))
    copy = ChainState()
    restorer(copy, state.height, state.time_ns).rows(msgspec.msgpack.decode(encoded, type=ROWS))
    return copy


def picture(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Everything that can be reached from a value, as plain values that compare."""
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    if id(value) in within:
        return "(cycle)"
    if isinstance(value, User) and within:
        return value.address  # all of it is in `Users`
    within = (*within, id(value))
    if isinstance(value, Users):
        users = value.by_address.items()
        fields = {address: _fields(user, within) for address, user in users}
        return (fields, value.unknown_past, value.refusals_encoded, value.money_told)
    if isinstance(value, dict):
        return {key: picture(one, within) for key, one in value.items()}
    if isinstance(value, list | tuple | deque):
        bound = getattr(value, "maxlen", None)
        return (bound, [picture(one, within) for one in value])
    if isinstance(value, set | frozenset):
        return value
    return (type(value).__name__, _fields(value, within))


def _fields(value: Any, within: tuple[int, ...]) -> dict[str, Any]:
    if isinstance(value, msgspec.Struct):
        names: Any = value.__struct_fields__
    else:
        names = getattr(value, "__slots__", None) or vars(value)
    return {
        name: picture(getattr(value, name), within)
        for name in names
        if name not in TRANSIENT | ELSEWHERE and not callable(getattr(value, name))
    }


def same(one: ChainState | User | None, other: ChainState | User | None) -> bool:
    """Said in a word: a picture is too large for an explanation of where it differs."""
    return bool(picture(one) == picture(other))


def links(changes: Changes) -> Any:
    """What continues the chains of heights."""
    markets = {
        market: (changed.trades_prev, changed.orders_prev)
        for market, changed in changes.markets.items()
    }
    users = {
        address: {name: getattr(changed, name) for name in dir(changed) if name.endswith("_prev")}
        for address, changed in changes.users.items()
    }
    return markets, users


def queues(state: ChainState) -> list[list[int]]:
    """Equal dicts may differ in order; queues must not."""
    return [
        [order.oid for order in market.book.queue(side)]
        for market in state.markets.values()
        for side in (0, 1)
    ]


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), at=st.integers(1, BLOCKS))
def test_at_any_height_it_is_the_state_and_goes_on_as_it(seed: int, at: int) -> None:
    chain = Chain(DevnetConfig(path="unused", seed=seed, funding_ms=700))
    blocks = [decode_block(encode_block(chain.step())) for _ in range(BLOCKS)]
    state = ChainState()
    for one in blocks[:at]:
        state.apply(one)
    copy = restored(state)
    assert same(copy, state)
    assert queues(copy) == queues(state)
    assert list(copy.users.by_address) == list(state.users.by_address)
    for one in blocks[at:]:
        assert links(copy.apply(one)) == links(state.apply(one))
    assert same(copy, state)
    assert list(checkpoint_rows(copy)) == list(checkpoint_rows(state))


def test_orders_of_size_0_unlisted_statuses_and_prices_are_kept() -> None:
    state = state_of(
        bid(5, 100), bid(6, 100), opened(6), ask(7, 103, market=2), PricesUpdated(((1, 7, 8),))
    )
    state.apply(block(3, BookChanged(1, 5, 0), fill(9)))
    copy = restored(state)
    assert same(copy, state)
    assert copy.markets[1].book.order(5).sz == 0
    copy.markets[1].book.check_invariants()


def test_a_users_heights_go_on() -> None:
    state = state_of(opened(6))
    alice = state.users.get(ALICE)
    alice.orders_height, alice.fills_height, alice.fundings_height = 2, 1, None
    alice.ledger_height, alice.events_height = 0, 9
    copy = restored(state)
    assert same(copy.users.get(ALICE), alice)
    assert copy.users.get(BOB).fills_height == 0


def test_what_a_snapshot_could_not_tell_stays_unknown() -> None:
    state = ChainState()
    state.restore(10, 99, [])
    state.apply(block(11, TOYOTA, SONY, opened(6)))
    state.users.get(ALICE).orders_height = 11
    copy = restored(state)
    for one in (state, copy):
        alice, stranger = one.users.get(ALICE), one.users.get(BOB)
        assert (alice.orders_height, alice.fills_height, stranger.fills_height) == (11, None, None)


class NoteRow(Record, tag=63, frozen=True):
    """Something that a part of the state could keep."""

    text: str


class Notes:
    """A part of the state."""

    def __init__(self) -> None:
        self.kept: list[NoteRow] = []

    def rows(self) -> list[NoteRow]:
        return self.kept

    def restore(self, row: NoteRow) -> None:
        self.kept.append(row)


def test_a_part_that_has_more_to_keep_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: dict[int, Notes] = {}
    part = component(lambda state: notes.setdefault(id(state), Notes()), NoteRow)
    monkeypatch.setattr(checkpoint, "PARTS", (*checkpoint.PARTS, part))
    state, copy = state_of(bid(5, 100)), ChainState()
    notes[id(state)] = Notes()
    notes[id(state)].restore(NoteRow("one"))
    restorer(copy, state.height, state.time_ns).rows(checkpoint_rows(state))
    assert notes[id(copy)].kept == [NoteRow("one")]


def test_an_empty_state_says_what_its_source_tells() -> None:
    rows = [type(row).__name__ for row in checkpoint_rows(ChainState())]
    assert rows == ["SourceRow", "AccountsRow"]


@pytest.mark.parametrize(
    "row",
    [
        CandleRow(9, "1h", 0, 1, 1, 1, 1, "1", 1),
        CandleRow(1, "2m", 0, 1, 1, 1, 1, "1", 1),
        CandleRow(1, "1h", 0, 1, 1, 1, 1, "much", 1),
        ContextRow(9, 1),
        LevelsRow(9, 1),
        StatusRow(msgspec.structs.replace(opened(7), market=9)),
        TriggerRow(msgspec.structs.replace(opened(7), market=9)),
        PaymentRow(ALICE, 1, 1, 9, 1, 1, 1),
        FillRow(1, 1, None, 0),
        FillRow(1, 1, msgspec.structs.replace(fill(1), market=9), 0),
        FillRow(1, 1, msgspec.structs.replace(fill(1), buyer=None), 0),
        AccountRow(ALICE, 1, (), ((9, 5, True),)),
        HeightsRow(ALICE, 1, 1, 1, 1, 1, "much"),
    ],
    ids=lambda row: type(row).__name__,
)
def test_a_row_that_fits_to_nothing_is_a_mismatch(row: Any) -> None:
    """Then the next place to start from is taken; all else ended the start. Found by fuzzing."""
    with pytest.raises(StateMismatch):
        restorer(ChainState(), 2, 7).rows([MarketRow(TOYOTA), row])


def test_rows_of_earlier_checkpoints_are_read() -> None:
    """Their tags are on disk."""
    encoded = msgspec.msgpack.encode([[58, 1, None]])
    assert msgspec.msgpack.decode(encoded, type=ROWS) == [LevelsRow(1, None)]


def test_an_account_that_has_nothing_but_a_leverage_is_kept() -> None:
    state = state_of(LeverageChanged(ALICE, 1, 5, is_cross=True), opened(7))
    state.users.get(BOB)
    rows = [row for row in checkpoint_rows(state) if isinstance(row, AccountRow)]
    assert rows == [AccountRow(ALICE, 0, (), ((1, 5, True),))]
