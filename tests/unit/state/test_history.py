"""Histories of users against lists made from all blocks, over blocks of the development chain."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from blocks import ALICE, BOB, block, fill, state_of
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.devnet.rows import snapshot_rows
from sidecar.errors import StateMismatch
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import Row, TriggerRow
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    Fill,
    FundingSettled,
    LedgerChanged,
    OrderStatus,
)
from sidecar.state.chain import ChainState
from sidecar.state.changes import UserChanges
from sidecar.state.history import (
    FillRow,
    History,
    LedgerEntry,
    LedgerRow,
    Payment,
    PaymentRow,
    UserFill,
)
from sidecar.state.market import Trade
from sidecar.state.orders import Orders, StatusRow, is_by_system
from sidecar.state.users import HeightsRow, SourceRow, User, Users

BLOCKS = 130
KINDS = ("orders", "fills", "fundings", "ledger", "events")

OwnRow = SourceRow | HeightsRow | StatusRow | FillRow | PaymentRow | LedgerRow
_decode = msgspec.msgpack.Decoder(list[OwnRow]).decode


def run(seed: int) -> tuple[list[Block], list[list[Row]]]:
    """A chain with funding every two seconds and a crash, and its snapshots."""
    crash = Move("TOYOTA", 40, -30, 10)
    config = DevnetConfig(
        path="unused", seed=seed, actions_per_block=60, funding_ms=2000, moves=(crash,)
    )
    chain = Chain(config)
    blocks, snapshots = [], []
    for _ in range(BLOCKS):
        blocks.append(decode_block(encode_block(chain.step())))
        snapshots.append(list(snapshot_rows(chain)) if chain.height % 40 == 0 else [])
    return blocks, snapshots


@pytest.fixture(scope="module", params=range(2))
def story(request: pytest.FixtureRequest) -> tuple[list[Block], list[list[Row]]]:
    return run(request.param)


def told(made: Block) -> dict[bytes, dict[str, list[Any]]]:
    """What a block says of each user, by kind."""
    said: dict[bytes, dict[str, list[Any]]] = defaultdict(lambda: {kind: [] for kind in KINDS})
    for one in made.transitions:
        if isinstance(one, OrderStatus):
            said[one.user]["orders"].append(one)
            if is_by_system(one.status):
                said[one.user]["events"].append(one)
        elif isinstance(one, Fill):
            for leg, side in ((one.buyer, BID), (one.seller, ASK)):
                assert leg is not None
                said[leg.user]["fills"].append((made.height, made.time_ns, one, side))
                said[leg.user]["events"].append(one)
        elif isinstance(one, FundingSettled):
            for user, position, amount in one.payments:
                paid = (made.height, made.time_ns, one.market, position, amount, one.rate)
                said[user]["fundings"].append(paid)
                said[user]["events"].append(paid)
        elif isinstance(one, LedgerChanged):
            said[one.user]["ledger"].append((made.height, made.time_ns, one))
            if one.kind == "liquidation":
                said[one.user]["events"].append(one)
    return said


def changed(changes: UserChanges) -> dict[str, list[Any]]:
    """The same from what the state says has changed."""
    return {
        "orders": changes.statuses,
        "fills": [fill_of(one) for one in changes.fills],
        "fundings": [msgspec.structs.astuple(one) for one in changes.fundings],
        "ledger": [msgspec.structs.astuple(one) for one in changes.ledger],
    }


def fill_of(one: Any) -> tuple[Any, ...]:
    trade = one.trade
    assert one.leg == (trade.fill.buyer if one.side == BID else trade.fill.seller)
    return trade.height, trade.time_ns, trade.fill, one.side


def past(user: User) -> dict[str, list[Any]]:
    """The same from what a user's history holds."""
    return {
        "orders": list(user.statuses or ()),
        "fills": [fill_of(one) for one in user.fills or ()],
        "fundings": [msgspec.structs.astuple(one) for one in user.fundings or ()],
        "ledger": [msgspec.structs.astuple(one) for one in user.ledger or ()],
    }


def heights(user: User) -> dict[str, int | None]:
    return {kind: getattr(user, f"{kind}_height") for kind in KINDS}


def open_view(user: User) -> Any:
    resting = {oid: (market, order.px, order.sz) for oid, (market, order) in user.resting.items()}
    return resting, dict(user.waiting or {})


FUNDING = FundingSettled(1, 12, 34, 56, ((ALICE, 5, -3), (BOB, -5, 3)))
DEPOSIT = LedgerChanged(ALICE, "deposit", 7)
LIQUIDATED = LedgerChanged(BOB, "liquidation", 0)


def kept(users: Users, slot: str) -> dict[bytes, list[Any]]:
    return {
        address: list(getattr(user, slot))
        for address, user in users.by_address.items()
        if getattr(user, slot) is not None
    }


def test_a_trade_is_in_the_past_of_both_sides() -> None:
    state = state_of()
    changes = state.apply(block(3, fill(9)))
    trade = Trade(3, 3_000_000, fill(9))
    bought, sold = UserFill(trade, BID), UserFill(trade, ASK)
    assert (bought.leg, sold.leg) == (fill(9).buyer, fill(9).seller)
    assert kept(state.users, "fills") == {ALICE: [bought], BOB: [sold]}
    for address, one in ((ALICE, bought), (BOB, sold)):
        assert changes.users[address].fills == [one]
        assert changes.users[address].events


def test_a_side_that_the_node_does_not_write_has_no_past() -> None:
    for missing, there in (("buyer", BOB), ("seller", ALICE)):
        state = state_of(msgspec.structs.replace(fill(9), **{missing: None}))
        assert list(kept(state.users, "fills")) == [there]


def test_funding_is_in_the_past_of_whom_it_was_paid_to_or_by() -> None:
    state = state_of()
    changes = state.apply(block(3, FUNDING))
    alices, bobs = (Payment(3, 3_000_000, 1, 5, -3, 12), Payment(3, 3_000_000, 1, -5, 3, 12))
    assert kept(state.users, "fundings") == {ALICE: [alices], BOB: [bobs]}
    for address, one in ((ALICE, alices), (BOB, bobs)):
        assert changes.users[address].fundings == [one]
        assert changes.users[address].events


def test_of_the_ledger_only_a_liquidation_is_an_event() -> None:
    state = state_of()
    changes = state.apply(block(3, DEPOSIT, LIQUIDATED))
    deposit, liquidated = (LedgerEntry(3, 3_000_000, one) for one in (DEPOSIT, LIQUIDATED))
    assert kept(state.users, "ledger") == {ALICE: [deposit], BOB: [liquidated]}
    assert (changes.users[ALICE].ledger, changes.users[ALICE].events) == ([deposit], False)
    assert (changes.users[BOB].ledger, changes.users[BOB].events) == ([liquidated], True)


def test_what_is_kept_of_the_past_comes_back() -> None:
    state = state_of(fill(9), fill(10), FUNDING, DEPOSIT)
    rows = list(state.history.rows())
    assert rows == [
        FillRow(2, 2_000_000, fill(9), BID),
        FillRow(2, 2_000_000, None, ASK),  # of the same trade
        FillRow(2, 2_000_000, fill(10), BID),
        FillRow(2, 2_000_000, None, ASK),
        PaymentRow(ALICE, 2, 2_000_000, 1, 5, -3, 12),
        PaymentRow(BOB, 2, 2_000_000, 1, -5, 3, 12),
        LedgerRow(2, 2_000_000, DEPOSIT),
    ]
    users = Users()
    history = History(users)
    for row in rows:
        history.restore(row)
    for slot in ("fills", "fundings", "ledger"):
        assert kept(users, slot) == kept(state.users, slot)
    assert list(history.rows()) == rows


def test_a_row_of_a_fill_that_is_not_there_is_a_mismatch() -> None:
    one_sided = msgspec.structs.replace(fill(9), buyer=None)
    for row in (FillRow(2, 7, None, BID), FillRow(2, 7, one_sided, BID)):
        with pytest.raises(StateMismatch, match="a row of a fill has no fill, or no such side"):
            History(Users()).restore(row)


def test_rows_of_earlier_checkpoints_are_read() -> None:
    """Their tags are on disk."""
    written = [
        [43, 2, 7, None, ASK],
        [44, ALICE, 2, 7, 1, 5, -3, 12],
        [45, 2, 7, [9, ALICE, "deposit", 7, {}]],
    ]
    rows = _decode(msgspec.msgpack.encode(written))
    assert rows == [
        FillRow(2, 7, None, ASK),
        PaymentRow(ALICE, 2, 7, 1, 5, -3, 12),
        LedgerRow(2, 7, DEPOSIT),
    ]


def test_histories_are_what_all_blocks_say(story: tuple[list[Block], list[list[Row]]]) -> None:
    state = ChainState()
    expected: dict[bytes, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    last: dict[tuple[bytes, str], int] = {}
    seen: set[str] = set()
    for made in story[0]:
        before = {address: open_view(user) for address, user in state.users.by_address.items()}
        changes, said = state.apply(made), told(made)
        for address, kinds in said.items():
            of_user = changes.users[address]
            assert changed(of_user) == {kind: kinds[kind] for kind in KINDS[:-1]}
            assert of_user.events == bool(kinds["events"])
            for kind, entries in kinds.items():
                if entries:
                    seen.add(kind)
                    prev = getattr(of_user, f"{kind}_prev")
                    assert prev == last.get((address, kind), 0)
                    last[address, kind] = made.height
                    expected[address][kind] += entries
        for address, user in state.users.by_address.items():
            if open_view(user) != before.get(address, ({}, {})):
                assert changes.users[address].open_orders
    assert seen == set(KINDS)
    for address, user in state.users.by_address.items():
        assert past(user) == {
            "orders": expected[address]["orders"][-2000:],
            "fills": expected[address]["fills"],
            "fundings": expected[address]["fundings"],
            "ledger": expected[address]["ledger"],
        }
        assert heights(user) == {kind: last.get((address, kind), 0) for kind in KINDS}
    assert any(len(kinds["orders"]) > 200 for kinds in expected.values())
    state.orders.check_invariants()


def small(state: ChainState) -> ChainState:
    """With bounds that the story passes."""
    state.orders = Orders(state.users, per_user=50, overall=400)
    state.history = History(state.users, fills=(20, 200), fundings=(8, 90), ledger=(2, 60))
    return state


def own_rows(state: ChainState) -> Iterator[OwnRow]:
    yield from state.users.rows()
    yield from state.orders.rows()
    yield from state.history.rows()


def restored(height: int, time_ns: int, rows: list[Row], own: bytes) -> ChainState:
    state = small(ChainState())
    state.restore(height, time_ns, rows)
    for row in _decode(own):
        if isinstance(row, SourceRow | HeightsRow):
            state.users.restore(row)
        elif isinstance(row, StatusRow):
            state.orders.restore(row)
        else:
            state.history.restore(row)
    return state


def everything(state: ChainState) -> Any:
    users = state.users
    flags = (users.unknown_past, users.refusals_encoded, users.money_told)
    return flags, {
        address: (past(user), heights(user), open_view(user), user.cloids)
        for address, user in sorted(users.by_address.items())
    }


def test_a_state_from_its_rows_is_the_same_and_goes_on_equally(
    story: tuple[list[Block], list[list[Row]]],
) -> None:
    blocks, snapshots = story
    state = small(ChainState())
    copies: list[ChainState] = []
    for made, rows in zip(blocks, snapshots, strict=True):
        state.apply(made)
        for copy in copies:
            copy.apply(made)
        if rows:
            own = msgspec.msgpack.encode(list(own_rows(state)))
            copies.append(restored(made.height, made.time_ns, rows, own))
            copies[-1].orders.check_invariants()
            assert everything(copies[-1]) == everything(state)
            waiting = [row for row in rows if isinstance(row, TriggerRow)]
            assert set(copies[-1].orders.waiting_rows()) == set(waiting)
            active = {row for row in waiting if not row.parent}
            assert set(state.orders.waiting_rows()) == active
    assert len(copies) == BLOCKS // 40
    for copy in copies:
        copy.orders.check_invariants()
        assert everything(copy) == everything(state)
        assert list(copy.orders.rows()) == list(state.orders.rows())
        assert list(copy.history.rows()) == list(state.history.rows())
        assert set(copy.users.rows()) == set(state.users.rows())


def test_bounds_hold(story: tuple[list[Block], list[list[Row]]]) -> None:
    state = small(ChainState())
    for made in story[0]:
        state.apply(made)
        state.orders.check_invariants()
    users = state.users.by_address.values()
    for slot, per_user, overall in (
        ("statuses", 50, 400),
        ("fills", 20, 200),
        ("fundings", 8, 90),
        ("ledger", 2, 60),
    ):
        lengths = [len(getattr(user, slot) or ()) for user in users]
        assert max(lengths) <= per_user
        assert sum(lengths) <= overall
        assert slot == "ledger" or sum(lengths) == overall


def test_a_state_that_did_not_start_with_the_chain_does_not_know_heights() -> None:
    state = ChainState()
    state.restore(10, 0, [])
    assert heights(state.users.get(b"a" * 20)) == dict.fromkeys(KINDS)
    assert not state.users.money_told


def test_a_snapshot_with_accounts_is_of_a_node_that_tells_of_money(
    story: tuple[list[Block], list[list[Row]]],
) -> None:
    state = ChainState()
    state.restore(40, 0, story[1][39])
    assert state.users.money_told
