"""Info requests about accounts: what users have, may and hold."""

from functools import lru_cache
from typing import Any

import msgspec

from sidecar.api.account_views import active_asset_data, clearinghouse_state, look
from sidecar.api.info.handler import DexParameters, Handler, UserParameters
from sidecar.api.messages import NS_PER_MS, hex_text, parse_user
from sidecar.api.topics import check_dex, find_market
from sidecar.fixed import to_text
from sidecar.state.chain import ChainState
from sidecar.state.margin import is_liquidatable

# The native chain's fees, the same for everybody: parts of the notional.
NS_PER_S = 1_000_000_000
TAKER_RATE, MAKER_RATE = "0.00045", "0.00015"


class ActiveAssetDataParameters(msgspec.Struct, frozen=True):
    """A user and a market."""

    user: str
    coin: str


def _clearinghouse_state(state: ChainState, parameters: UserParameters) -> dict[str, Any]:
    check_dex(parameters.dex)
    return clearinghouse_state(state, look(state, parse_user(parameters.user)))


def _spot_clearinghouse_state(state: ChainState, parameters: UserParameters) -> dict[str, Any]:
    look(state, parse_user(parameters.user))
    return {"balances": []}  # the chain has no spot


def _active_asset_data(state: ChainState, parameters: ActiveAssetDataParameters) -> dict[str, Any]:
    market = find_market(state, parameters.coin)
    return active_asset_data(state, look(state, parse_user(parameters.user)), market)


def _user_fees(state: ChainState, parameters: UserParameters) -> dict[str, Any]:
    look(state, parse_user(parameters.user))
    return {
        "dailyUserVlm": [],
        "feeSchedule": {
            "cross": TAKER_RATE,
            "add": MAKER_RATE,
            "tiers": {"vip": [], "mm": []},
            "referralDiscount": "0.0",
        },
        "userCrossRate": TAKER_RATE,
        "userAddRate": MAKER_RATE,
        "activeReferralDiscount": "0.0",
    }


def _user_rate_limit(state: ChainState, parameters: UserParameters) -> dict[str, Any]:
    """What was traded, and how much of the bucket of actions is used now. The chain itself limits
    nobody; a sidecar that takes no orders has no cap.
    """
    address = parse_user(parameters.user)
    user = look(state, address)
    used, cap = (0, None) if state.allowance is None else state.allowance(address)
    return {"cumVlm": to_text(user.volume), "nRequestsUsed": used, "nRequestsCap": cap}


def _user_role(state: ChainState, parameters: UserParameters) -> dict[str, Any]:
    address = look(state, parse_user(parameters.user)).address
    agent = state.accounts.agents.get(address)
    if agent is not None and not 0 < agent.valid_until <= state.time_ns:
        return {"role": "agent", "data": {"user": hex_text(agent.user)}}
    return {"role": "user" if address in state.users.by_address else "missing"}


def _extra_agents(state: ChainState, parameters: UserParameters) -> list[dict[str, Any]]:
    """Those with a name that may still sign."""
    address = look(state, parse_user(parameters.user)).address
    return [
        {
            "name": agent.name,
            "address": hex_text(agent.agent),
            "validUntil": agent.valid_until // NS_PER_MS,
        }
        for agent in state.accounts.agents_of.get(address, {}).values()
        if agent.name and not 0 < agent.valid_until <= state.time_ns
    ]


def _liquidatable(state: ChainState, parameters: DexParameters) -> list[str]:
    """Whose cross side or isolated position is below its maintenance margin, as of at most a second
    ago by the chain's clock. O(accounts), once a second.
    """
    check_dex(parameters.dex)
    look(state, bytes(20))
    return _liquidatable_at(state, state.time_ns // NS_PER_S)


@lru_cache(maxsize=1)
def _liquidatable_at(state: ChainState, _second: int) -> list[str]:
    return [
        hex_text(address)
        for address, user in state.users.by_address.items()
        if user.positions
        and all(state.markets[market].mark_px for market in user.positions)
        and is_liquidatable(state.accounts, state.markets, user)
    ]


HANDLERS = {
    "clearinghouseState": Handler(UserParameters, _clearinghouse_state),
    "spotClearinghouseState": Handler(UserParameters, _spot_clearinghouse_state),
    "activeAssetData": Handler(ActiveAssetDataParameters, _active_asset_data),
    "userFees": Handler(UserParameters, _user_fees),
    "userRateLimit": Handler(UserParameters, _user_rate_limit),
    "userRole": Handler(UserParameters, _user_role),
    "extraAgents": Handler(UserParameters, _extra_agents),
    "liquidatable": Handler(DexParameters, _liquidatable),
}
