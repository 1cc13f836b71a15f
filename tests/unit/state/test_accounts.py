"""Accounts as blocks move them, step by step, worked out by hand."""

import msgspec
import pytest

from blocks import ALICE, BOB, PX, SONY, TOYOTA, block
from sidecar.errors import StateMismatch
from sidecar.node.snapshot import AccountRow, AgentRow, MarketRow, PositionRow
from sidecar.node.transitions import (
    BID,
    AccountCheck,
    AgentApproved,
    Fill,
    FundingSettled,
    LedgerChanged,
    Leg,
    LeverageChanged,
    MarketListed,
    PricesUpdated,
    Transition,
)
from sidecar.state.accounts import Accounts, AccountsRow, FundingPaidRow, Leverage, Position
from sidecar.state.chain import ChainState
from sidecar.state.users import Users


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


@pytest.mark.parametrize(
    ("before", "sz", "after"),
    [
        (Position(3, 100, 9, 7, 8), 1, Position(4, 102, 9, 7, 0)),  # grows
        (Position(3, 100, 9, 7, 8), -1, Position(2, 67, 9, 7, 0)),  # a third, rounded down
        (Position(-3, 100, 9, 7, 8), 1, Position(-2, 67, 9, 7, 0)),
        (Position(-3, 100, 9, 7, 8), -1, Position(-4, 102, 9, 7, 0)),
        (Position(3, 100, 9, 7, 8), -3, Position(0, 0, 9, 0, 0)),  # ends
        (Position(3, 100, 9, 7, 8), -5, Position(-2, 4, 9, 0, 0)),  # turns
        (Position(0, 0, 9, 7, 8), 1, Position(1, 2, 9, 0, 0)),  # begins
    ],
)
def test_what_a_trade_at_2_makes_of_a_position(before: Position, sz: int, after: Position) -> None:
    before.trade(sz, 2 * PX)
    assert before == after


def test_what_a_position_has_won_is_rounded_down() -> None:
    assert Position(3 * PX, 100).upnl(50) == 50
    assert Position(-3 * PX, 100).upnl(50) == -50
    assert (Position(1, 5).upnl(PX - 1), Position(-1, 0).upnl(1)) == (-5, -1)


def test_cost_and_volume_are_rounded_down() -> None:
    alice = after(Fill(1, 1, PX // 2, 3, BID, b"", Leg(ALICE, 1, None, 0, 0, 0), None)).users.get(
        ALICE
    )
    assert (alice.positions[1], alice.volume) == (Position(3, 1), 1)


def test_a_fee_is_income_of_the_chains_own_account() -> None:
    state = after(trade(2, 100, pnl=3, fee=1), trade(2, 100, 2, fee=1))
    users = state.users
    assert (users.get(ALICE).balance, users.get(ALICE).volume) == (PX, 400 * PX)
    assert (users.get(BOB).balance, users.get(BOB).volume) == (0, 400 * PX)
    assert users.get(b"\xfe" * 20).balance == 2 * PX
    assert set(after(trade(2, 100)).users.by_address) == {ALICE, BOB}


def test_money_from_and_to_outside_is_what_was_deposited() -> None:
    state = after(
        LedgerChanged(ALICE, "deposit", 10),
        LedgerChanged(ALICE, "withdraw", -3),
        LedgerChanged(ALICE, "internalTransfer", -2),
        LedgerChanged(ALICE, "liquidation", -1),
    )
    alice = state.users.get(ALICE)
    assert (alice.balance, alice.deposited) == (4, 5)


def test_a_position_that_only_its_margin_keeps_is_none_to_the_node() -> None:
    state = after(
        trade(2, 100),
        LeverageChanged(ALICE, 1, 5, is_cross=False, isolated_margin=40 * PX),
        Fill(4, 1, 100 * PX, 2 * PX, BID, b"", None, Leg(ALICE, 3, None, 2 * PX, 0, 0)),
        AccountCheck(ALICE, 0, ()),
    )
    assert state.users.get(ALICE).positions == {1: Position(0, 0, 40 * PX)}
    state.apply(block(6, FundingSettled(1, 1, 1, 1, ((ALICE, 0, 3),))))
    assert state.users.get(ALICE).positions[1].funding_since_open == -3


def test_leverage_is_as_set_or_20_or_the_highest_that_there_is() -> None:
    state = after(
        SONY,
        MarketListed(3, "NO RULES"),
        MarketListed(4, "HIGH", 2, 50),
        MarketListed(5, "LOW", 2, 1),
    )
    alice = state.users.get(ALICE)
    leverages = {
        market.symbol: state.accounts.leverage_of(alice, market)
        for market in state.markets.values()
    }
    assert leverages == {
        "TOYOTA": Leverage(10),
        "SONY": Leverage(20, is_cross=False),
        "NO RULES": Leverage(20),
        "HIGH": Leverage(20),
        "LOW": Leverage(1),
    }
    for cross in (True, False):
        state.apply(block(state.height + 1, LeverageChanged(ALICE, 1, 3, is_cross=cross)))
        assert state.accounts.leverage_of(alice, state.markets[1]) == Leverage(3, is_cross=cross)
        assert state.accounts.leverage_of(alice, state.markets[4]) == Leverage(20)
    assert alice.balance == 0


def test_an_account_that_was_rebuilt_is_taken_over() -> None:
    rebuilt = after(
        LedgerChanged(ALICE, "deposit", 1_000 * PX),
        trade(2, 100),
        LeverageChanged(ALICE, 1, 5, is_cross=True),
        FundingSettled(1, 1, 1, 1, ((ALICE, 1, -3 * PX),)),
    ).users.get(ALICE)
    state = after()
    state.accounts.adopt(rebuilt)
    alice = state.users.get(ALICE)
    assert alice is not rebuilt
    for name in ("balance", "positions", "leverages", "deposited", "funding_paid"):
        assert getattr(alice, name) == getattr(rebuilt, name)
        assert getattr(alice, name)


def test_an_account_of_a_snapshot_is_as_its_row() -> None:
    state = ChainState()
    positions = (PositionRow(1, 7, 70, 9), PositionRow(2, -8, 80))
    rows = [MarketRow(TOYOTA), MarketRow(SONY)]
    accounts = [AccountRow(ALICE, 5, positions, ((2, 3, False),)), AccountRow(BOB, 6)]
    state.restore(10, 99, [*rows, *accounts])
    alice, bob = state.users.get(ALICE), state.users.get(BOB)
    assert (alice.balance, alice.leverages) == (5, {2: Leverage(3, is_cross=False)})
    assert alice.positions == {1: Position(7, 70, 9), 2: Position(-8, 80)}
    assert (bob.balance, bob.leverages, bob.positions) == (6, None, {})
    assert state.accounts.complete is True


@pytest.mark.parametrize("ends", [True, False])
def test_what_snapshots_do_not_say_of_accounts_comes_back(*, ends: bool) -> None:
    end = Fill(4, 1, PX, 2 * PX, BID, b"", None, Leg(ALICE, 3, None, 2 * PX, 0, 0))
    steps: list[Transition] = [
        trade(2, 100),
        FundingSettled(1, 1, 1, 1, ((ALICE, 1, -3),)),
        trade(1, 100, 2),
        FundingSettled(1, 1, 1, 1, ((ALICE, 1, 1),)),
        AgentApproved(ALICE, BOB, "bot", 1 << 62),
    ]
    if ends:
        steps = [trade(2, 100), steps[1], end, steps[4]]
    state = after(*steps)
    agent = AgentRow(ALICE, BOB, "bot", 1 << 62)
    paid = FundingPaidRow(ALICE, 1, *((3, 0, 0) if ends else (2, 2, -1)))
    assert list(state.accounts.rows()) == [AccountsRow(True), agent, paid]
    again = Accounts(Users(), state.markets)
    alice = again._users.get(ALICE)
    if not ends:
        alice.positions[1] = Position(3 * PX, 300 * PX)
    again.restore(AccountsRow(False))
    assert (again.complete, again._users.money_told) == (False, False)
    again.restore(AccountsRow(True))
    again.restore_agent(agent)
    again.restore(paid)
    assert list(again.rows()) == list(state.accounts.rows())
    assert again._users.money_told
    assert alice.funding_paid == {1: paid.ever}


def test_an_agent_is_over_at_its_time_and_one_without_never() -> None:
    """`after` applies the first at 2 ms, the last, which looks, at 5."""
    state = after(
        AgentApproved(ALICE, b"1" * 20, "at 5 ms", 5_000_000),
        AgentApproved(ALICE, b"2" * 20, "later", 5_000_001),
        AgentApproved(ALICE, b"3" * 20, "for ever"),
        AgentApproved(ALICE, b"4" * 20, "last"),
    )
    assert set(state.accounts.agents_of[ALICE]) == {"later", "for ever", "last"}
    assert set(state.accounts.agents) == {b"2" * 20, b"3" * 20, b"4" * 20}
    state.apply(block(6, AgentApproved(BOB, b"5" * 20, "bob's")))
    assert len(state.accounts.agents) == 4
    assert state.accounts.agents[b"5" * 20] == AgentRow(BOB, b"5" * 20, "bob's", 0)


def test_an_account_is_worth_what_its_positions_would_be_sold_for() -> None:
    state = after(
        LedgerChanged(ALICE, "deposit", 1_000 * PX),
        trade(2, 110),
        LeverageChanged(ALICE, 1, 5, is_cross=False, isolated_margin=40 * PX),
        SONY,
        Fill(4, 2, 50 * PX, 2 * PX, BID, b"", None, Leg(ALICE, 3, None, 0, 0, 0)),
        PricesUpdated(((2, 1, 45 * PX),)),
    )
    alice = state.users.get(ALICE)
    assert alice.balance == 960 * PX
    assert state.accounts.value(alice) == (1_000 - 20 + 10) * PX
    state.apply(block(8, AccountCheck(ALICE, 990 * PX, ((1, 2 * PX), (2, -2 * PX)))))
