"""Who may act for whom, and which nonces may be used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.execution.actions import ApproveAgent
from sidecar.devnet.execution.agents import Agents, Nonces
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.devnet.execution.tape import Tape
from sidecar.node.transitions import AgentApproved

ANN, BEN = b"a" * 20, b"b" * 20
DAY_MS = 86_400_000
NOW = 10**12


@pytest.fixture
def tape() -> Tape:
    tape = Tape("test")
    tape.begin_block(1, 1_000)
    return tape


def agent(number: int) -> bytes:
    return bytes([number]) * 20


def test_an_agent_acts_for_who_approved_it(tape: Tape) -> None:
    agents = Agents(tape)
    assert agents.account_of(agent(1)) == agent(1)
    agents.approve(ApproveAgent(ANN, agent(1), "desk"))
    assert agents.account_of(agent(1)) == ANN
    assert tape.out == [AgentApproved(ANN, agent(1), "desk", 0)]


def test_one_of_the_same_name_takes_its_place(tape: Tape) -> None:
    agents = Agents(tape)
    for name in ("", "desk"):
        agents.approve(ApproveAgent(ANN, agent(1 + len(name)), name))
        agents.approve(ApproveAgent(ANN, agent(2 + len(name)), name))
        assert agents.account_of(agent(1 + len(name))) != ANN
        assert agents.account_of(agent(2 + len(name))) == ANN


def test_three_have_a_name(tape: Tape) -> None:
    agents = Agents(tape)
    for number, name in enumerate(("", "x", "y", "z")):
        agents.approve(ApproveAgent(ANN, agent(number + 1), name))
    with pytest.raises(ActionRefused, match="at most 3"):
        agents.approve(ApproveAgent(ANN, agent(9), "w"))
    agents.approve(ApproveAgent(ANN, agent(9), "z"))
    agents.approve(ApproveAgent(BEN, agent(10), "w"))  # everybody has their own


def test_nobody_takes_another_ones_agent(tape: Tape) -> None:
    agents = Agents(tape)
    agents.approve(ApproveAgent(ANN, agent(1), ""))
    with pytest.raises(ActionRefused, match="already used"):
        agents.approve(ApproveAgent(BEN, agent(1), ""))
    with pytest.raises(ActionRefused, match="its own agent"):
        agents.approve(ApproveAgent(BEN, BEN, ""))


def test_an_approval_ends(tape: Tape) -> None:
    agents = Agents(tape)
    agents.approve(ApproveAgent(ANN, agent(1), "", valid_until=2_000))
    tape.begin_block(2, 1_999)
    assert agents.account_of(agent(1)) == ANN
    tape.begin_block(3, 2_000)
    assert agents.account_of(agent(1)) == agent(1)


@pytest.mark.parametrize(
    ("nonce", "good"),
    [
        (NOW - 2 * DAY_MS, False),
        (NOW - 2 * DAY_MS + 1, True),
        (NOW + DAY_MS - 1, True),
        (NOW + DAY_MS, False),
    ],
)
def test_the_window_of_nonces(nonce: int, good: bool) -> None:
    nonces = Nonces()
    if good:
        nonces.use(ANN, nonce, NOW)
    else:
        with pytest.raises(ActionRefused, match="two days before and one day after"):
            nonces.use(ANN, nonce, NOW)
        assert not nonces.used.get(ANN)


@given(st.lists(st.integers(NOW - 300, NOW + 300), max_size=400))
def test_nonces_as_the_rule_says(wanted: list[int]) -> None:
    """Against the rule written with sets: higher than the lowest of the highest 100, and new."""
    nonces, used = Nonces(), set[int]()
    for nonce in wanted:
        highest = sorted(used)[-100:]
        good = nonce not in highest and (len(highest) < 100 or nonce > highest[0])
        try:
            nonces.use(ANN, nonce, NOW)
            assert good
            used.add(nonce)
        except ActionRefused:
            assert not good
    nonces.use(BEN, NOW, NOW)  # everybody has their own
    assert nonces.used.get(ANN, []) == sorted(used)[-100:]


def test_an_ended_approval_makes_room(tape: Tape) -> None:
    agents = Agents(tape)
    for number, name in enumerate(("x", "y", "z")):
        agents.approve(ApproveAgent(ANN, agent(number + 1), name, valid_until=2_000))
    tape.begin_block(2, 2_000)
    agents.approve(ApproveAgent(ANN, agent(9), "w"))
    agents.approve(ApproveAgent(BEN, agent(1), ""))  # nobody's any more
    assert agents.account_of(agent(1)) == BEN


def test_an_agent_is_renamed(tape: Tape) -> None:
    agents = Agents(tape)
    for number, name in enumerate(("x", "y", "z")):
        agents.approve(ApproveAgent(ANN, agent(number + 1), name))
    agents.approve(ApproveAgent(ANN, agent(3), "w"))
    assert sorted(one.name for one in agents.approved.values()) == ["w", "x", "y"]
