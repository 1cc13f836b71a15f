"""`webData2`: what a front end shows of a user, in one message: account, orders, markets."""

from collections.abc import Iterator
from typing import Any

from sidecar.api.account_views import check_accounts_told, clearinghouse_state, look
from sidecar.api.channels.clearinghouse_state import AccountChannel
from sidecar.api.context_views import asset_contexts
from sidecar.api.messages import NS_PER_MS, Push, hex_text, parse_user
from sidecar.api.meta_view import meta_view
from sidecar.api.open_orders_view import frontend_open_orders
from sidecar.api.topics import Topic, UserParameters
from sidecar.fixed import to_text
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes


class WebData2Channel(AccountChannel):
    """Computed anew in each block that changed the account, its orders or prices."""

    name = "webData2"
    reads_orders = True
    parameters = UserParameters

    def key(self, parameters: UserParameters) -> tuple[bytes, str]:
        """The user's address. Raises `NotInSource` where the node does not tell of accounts."""
        address = parse_user(parameters.user)
        check_accounts_told(self.state)
        meta_view(self.state)
        return address, f"{self.name}:{hex_text(address)}"

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._shared: dict[str, Any] | None = None  # of a block's messages, while they are made

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(positions + orders) for each open topic that changed, and once O(markets)."""
        self._shared = {}
        try:
            yield from super().publish(changes)
        finally:
            self._shared = None

    def _markets(self) -> dict[str, Any]:
        """What is the same for all users."""
        shared = {} if self._shared is None else self._shared
        if not shared:
            shared |= {"meta": meta_view(self.state), "assetCtxs": asset_contexts(self.state)}
        return shared

    def concerns(self, changed: Any) -> bool:
        """Orders are shown, too."""
        return bool(changed.account or changed.open_orders)

    def view(self, topic: Topic) -> dict[str, Any]:
        """Vaults and TWAP orders are empty: the chain has none. O(positions + orders + markets)."""
        state = self.state
        user = look(state, topic.key)
        agent, valid_until = _unnamed_agent(state, topic.key)
        return {
            "clearinghouseState": clearinghouse_state(state, user),
            "leadingVaults": [],
            "totalVaultEquity": "0.0",
            "openOrders": frontend_open_orders(state, topic.key),
            "agentAddress": agent,
            "agentValidUntil": valid_until,
            "cumLedger": to_text(user.deposited),
            **self._markets(),
            "serverTime": state.time_ns // NS_PER_MS,
            "isVault": False,
            "user": hex_text(topic.key),
            "twapStates": [],
        }


def _unnamed_agent(state: ChainState, address: bytes) -> tuple[str | None, int | None]:
    agent = state.accounts.agents_of.get(address, {}).get("")
    if agent is None or 0 < agent.valid_until <= state.time_ns:
        return None, None
    return hex_text(agent.agent), agent.valid_until // NS_PER_MS or None
