"""Who may act for whom, and which nonces a signer has used.

An agent (API wallet) signs for the account that approved it: one without a name, and up to three
with one. A signer's nonces are its own: the highest 100 are kept; a new one must be higher than the
lowest of them, none of them, and within two days before and one day after the block's time.
(https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/nonces-and-api-wallets)
"""

from bisect import bisect_left, insort

import msgspec

from sidecar.devnet.execution.actions import DONE, ApproveAgent, Outcome
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.devnet.execution.tape import Tape
from sidecar.limits import DEVNET_NONCES_KEPT
from sidecar.node.transitions import AgentApproved

NAMED_AGENTS_MAX = 3
_DAY_MS = 24 * 60 * 60 * 1000


class Agent(msgspec.Struct, frozen=True):
    """An approval: `valid_until` in ns, 0 for ever."""

    user: bytes
    agent: bytes
    name: str
    valid_until: int


class Agents:
    """The approvals of all users."""

    def __init__(self, tape: Tape) -> None:
        self.approved: dict[bytes, Agent] = {}  # by the agent's address
        self._tape = tape

    def approve(self, action: ApproveAgent) -> Outcome:
        """Approves an agent. One of the same name, or the unnamed one, is replaced."""
        known = self.approved.get(action.agent)
        if known is not None and known.user != action.user and not self._is_over(known):
            raise ActionRefused("Agent is already used by another account.")
        if action.agent == action.user:
            raise ActionRefused("An account can't be its own agent.")
        mine = [agent for agent in self.approved.values() if agent.user == action.user]
        gone = [
            agent
            for agent in mine
            if action.name == agent.name or action.agent == agent.agent or self._is_over(agent)
        ]
        named = sum(1 for agent in mine if agent.name and agent not in gone)
        if action.name and named >= NAMED_AGENTS_MAX:
            raise ActionRefused(f"Too many extra agents: at most {NAMED_AGENTS_MAX} have a name.")
        for agent in gone:
            del self.approved[agent.agent]
        self.approved[action.agent] = Agent(
            action.user, action.agent, action.name, action.valid_until
        )
        self._tape.out.append(
            AgentApproved(action.user, action.agent, action.name, action.valid_until)
        )
        return DONE

    def account_of(self, signer: bytes) -> bytes:
        """Whose account a signer acts on: its own, unless it is somebody's agent."""
        agent = self.approved.get(signer)
        return signer if agent is None or self._is_over(agent) else agent.user

    def _is_over(self, agent: Agent) -> bool:
        return 0 < agent.valid_until <= self._tape.time_ns


class Nonces:
    """The nonces (ms) of every signer."""

    def __init__(self) -> None:
        self.used: dict[bytes, list[int]] = {}  # ascending

    def use(self, signer: bytes, nonce: int, time_ms: int) -> None:
        """Uses a nonce up. O(nonces kept). Raises `ActionRefused`; then it is not used."""
        if not time_ms - 2 * _DAY_MS < nonce < time_ms + _DAY_MS:
            raise ActionRefused(
                f"Invalid nonce: {nonce} is not within two days before and one day after {time_ms}."
            )
        used = self.used.setdefault(signer, [])
        place = bisect_left(used, nonce)
        if place < len(used) and used[place] == nonce:
            raise ActionRefused(f"Invalid nonce: duplicate nonce {nonce}.")
        if len(used) >= DEVNET_NONCES_KEPT:
            if place == 0:
                raise ActionRefused(
                    f"Invalid nonce: {nonce} is below the {DEVNET_NONCES_KEPT} highest ones used."
                )
            del used[0]
        insort(used, nonce)
