"""Accounts as blocks move them, step by step, worked out by hand."""

import msgspec
import pytest

from blocks import ALICE, BOB, PX, TOYOTA, block
from sidecar.errors import StateMismatch
from sidecar.node.transitions import (
    BID,
    AccountCheck,
    AgentApproved,
    Fill,
    FundingSettled,
    LedgerChanged,
    Leg,
    LeverageChanged,
    PricesUpdated,
    Transition,
)
from sidecar.state.accounts import AccountsRow, FundingPaidRow, Position
from sidecar.state.chain import ChainState


def trade(sz: int, px: int, start: int = 0, *, pnl: int = 0, fee: int = 0) -> Fill:
    """ALICE buys from BOB, in whole units."""
    buyer = Leg(ALICE, 1, None, start * PX, pnl * PX, fee * PX)
    seller = Leg(BOB, 2, None, -start * PX, 0, 0)
    return Fill(1, 1, px * PX, sz * PX, BID, b"\x0f" * 32, buyer, seller)


def after(*transitions: Transition) -> ChainState:
    state = ChainState()
    state.apply(block(1, TOYOTA, PricesUpdated(((1, 100 * PX, 100 * PX),))))
    for height, one in enumerate(transitions, start=2):
        state.apply(block(height, one))
    return state


def test_a_position_grows_shrinks_flips_and_ends() -> None:
    state = after(LedgerChanged(ALICE, "deposit", 1_000 * PX), trade(2, 100, fee=1))
    alice = state.users.get(ALICE)
    assert alice.balance == 999 * PX
    assert alice.positions[1] == Position(2 * PX, 200 * PX)
    state.apply(block(4, trade(1, 130, 2)))
    assert alice.positions[1] == Position(3 * PX, 330 * PX)
    assert state.users.get(BOB).positions[1] == Position(-3 * PX, 330 * PX)
    sold = Leg(ALICE, 3, None, 3 * PX, 10 * PX, 0)
    state.apply(
        block(5, Fill(2, 1, 120 * PX, PX, BID, b"", Leg(BOB, 4, None, -3 * PX, 0, 0), sold))
    )
    assert alice.positions[1] == Position(2 * PX, 220 * PX)
    assert alice.balance == 1_009 * PX
    flip = Leg(ALICE, 3, None, 2 * PX, 20 * PX, 0)
    state.apply(block(6, Fill(3, 1, 120 * PX, 5 * PX, BID, b"", None, flip)))
    assert alice.positions[1] == Position(-3 * PX, 360 * PX)
    end = Leg(ALICE, 3, None, -3 * PX, 0, 0)
    state.apply(block(7, Fill(4, 1, 120 * PX, 3 * PX, BID, b"", end, None)))
    assert not alice.positions


def test_a_position_from_before_the_state_began_has_no_known_cost() -> None:
    state = after(trade(2, 100, start=3))
    assert state.users.get(ALICE).positions[1] == Position(5 * PX, 200 * PX)
    assert state.users.get(BOB).positions[1] == Position(-5 * PX, 200 * PX)


def test_funding_is_counted_where_there_is_no_position_any_more() -> None:
    state = after(FundingSettled(1, 1, 1, 1, ((ALICE, 1, -3 * PX), (ALICE, 1, PX))))
    alice = state.users.get(ALICE)
    assert (alice.balance, alice.funding_paid) == (-2 * PX, {1: 2 * PX})
    assert not alice.positions


def test_an_isolated_margin_comes_from_the_balance_and_goes_back() -> None:
    state = after(
        LedgerChanged(ALICE, "deposit", 1_000 * PX),
        trade(2, 100),
        LeverageChanged(ALICE, 1, 5, is_cross=False, isolated_margin=40 * PX),
    )
    alice = state.users.get(ALICE)
    assert (alice.balance, alice.positions[1].margin) == (960 * PX, 40 * PX)
    end = Leg(ALICE, 3, None, 2 * PX, 0, 0)
    state.apply(block(5, Fill(4, 1, 100 * PX, 2 * PX, BID, b"", None, end)))
    assert alice.positions[1].margin == 40 * PX
    state.apply(block(6, LeverageChanged(ALICE, 1, 5, is_cross=False)))
    assert not alice.positions
    assert alice.balance == 1_000 * PX


def test_funding_is_counted_since_open_and_since_change() -> None:
    def funding(amount: int) -> FundingSettled:
        return FundingSettled(1, 1, 1, 1, ((ALICE, 1, amount * PX),))

    state = after(trade(2, 100), funding(-3), trade(1, 100, 2), funding(1))
    position = state.users.get(ALICE).positions[1]
    assert (position.funding_since_open, position.funding_since_change) == (2 * PX, -PX)
    assert state.users.get(ALICE).funding_paid == {1: 2 * PX}


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (AccountCheck(ALICE, 1_000 * PX, ((1, 2 * PX),)), None),
        (AccountCheck(ALICE, 1_000 * PX, ()), "positions are"),
        (AccountCheck(ALICE, 1_000 * PX + 1, ((1, 2 * PX),)), "account value is"),
    ],
)
def test_a_check_names_the_first_difference(check: AccountCheck, message: str | None) -> None:
    state = after(LedgerChanged(ALICE, "deposit", 1_000 * PX), trade(2, 100))
    if message is None:
        state.apply(block(4, check))
        return
    with pytest.raises(StateMismatch, match=f"checks account 0x{ALICE.hex()}: {message}"):
        state.apply(block(4, check))


def test_one_wrong_account_is_marked_and_the_others_go_on() -> None:
    state = ChainState(strict=False)
    state.apply(block(1, TOYOTA, LedgerChanged(ALICE, "deposit", 5)))
    state.apply(block(2, AccountCheck(ALICE, 6, ()), LedgerChanged(BOB, "deposit", 7)))
    assert list(state.faults.accounts) == [ALICE]
    assert not state.faults.books
    assert state.users.get(BOB).balance == 7
    state.apply(block(3, AccountCheck(ALICE, 9, ())))
    assert state.faults.found == {"account": 1}


def test_an_agent_takes_the_place_of_the_one_of_its_name() -> None:
    first, second, other = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
    far = 1 << 62
    state = after(
        AgentApproved(ALICE, first, ""),
        AgentApproved(ALICE, other, "bot", far),
        AgentApproved(ALICE, second, ""),
    )
    assert set(state.accounts.agents) == {second, other}
    assert state.accounts.agents_of == {
        ALICE: {agent.name: agent for agent in state.accounts.agents.values()}
    }


def test_agents_that_are_over_are_forgotten() -> None:
    """When their user approves another one, or somebody else the same key."""
    over, key = b"\x01" * 20, b"\x02" * 20
    state = after(AgentApproved(ALICE, over, "old", 1), AgentApproved(ALICE, key, "new"))
    assert set(state.accounts.agents) == {key}
    state = after(AgentApproved(ALICE, key, "", 1), AgentApproved(BOB, key, ""))
    assert state.accounts.agents[key].user == BOB
    assert set(state.accounts.agents_of) == {BOB}


def test_rows_of_earlier_checkpoints_are_read() -> None:
    """Their tags are on disk."""
    encoded = msgspec.msgpack.encode([[32, True], [33, ALICE, 1, 2, 3, 4]])
    rows = msgspec.msgpack.decode(encoded, type=list[AccountsRow | FundingPaidRow])
    assert rows == [AccountsRow(True), FundingPaidRow(ALICE, 1, 2, 3, 4)]
