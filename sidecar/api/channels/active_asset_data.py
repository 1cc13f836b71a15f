"""`activeAssetData`: how much of one market one user could trade now."""

from typing import Any, NamedTuple

import msgspec

from sidecar.api.account_views import active_asset_data, check_accounts_told, look
from sidecar.api.channels.clearinghouse_state import AccountChannel
from sidecar.api.messages import hex_text, parse_user
from sidecar.api.topics import Topic


class ActiveAssetDataParameters(msgspec.Struct, frozen=True):
    """A user and a market."""

    user: str
    coin: str


class _Key(NamedTuple):
    user: bytes
    market: int


class ActiveAssetDataChannel(AccountChannel):
    """One topic for each user and market that somebody reads."""

    name = "activeAssetData"
    parameters = ActiveAssetDataParameters

    def key(self, parameters: Any) -> tuple[Any, str]:
        """Raises `NotInSource` where the node does not tell of accounts."""
        address, market = parse_user(parameters.user), self.market(parameters.coin)
        check_accounts_told(self.state)
        name = f"{self.name}:{hex_text(address)} {market.symbol}"
        return _Key(address, market.id), name

    def view(self, topic: Topic) -> dict[str, Any]:
        """As the info request has it."""
        key: _Key = topic.key
        user = look(self.state, key.user)
        return active_asset_data(self.state, user, self.state.markets[key.market])
