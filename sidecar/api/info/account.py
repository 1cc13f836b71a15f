"""Info requests about accounts: what users have, may and hold."""

from functools import lru_cache
from typing import Any

import msgspec

from sidecar.api.account_views import active_asset_data, clearinghouse_state, look
from sidecar.api.info.handler import DexParameters, Handler
from sidecar.api.messages import NS_PER_MS, hex_text, parse_user
from sidecar.api.topics import DexUserParameters, check_dex, find_market
from sidecar.fixed import SCALE, to_text
from sidecar.state.chain import ChainState
from sidecar.state.health import NS_PER_S
from sidecar.state.margin import FEE_SCALE, MAKER_FEE, TAKER_FEE, is_liquidatable

# The native chain's fees, the same for everybody: parts of the notional.
TAKER_RATE = to_text(TAKER_FEE * SCALE // FEE_SCALE)
MAKER_RATE = to_text(MAKER_FEE * SCALE // FEE_SCALE)


class ActiveAssetDataParameters(msgspec.Struct, frozen=True):
    """A user and a market."""

    user: str
    coin: str


def _clearinghouse_state(state: ChainState, parameters: DexUserParameters) -> dict[str, Any]:
    check_dex(parameters.dex)
    return clearinghouse_state(state, look(state, parse_user(parameters.user)))


def _spot_clearinghouse_state(state: ChainState, parameters: DexUserParameters) -> dict[str, Any]:
    look(state, parse_user(parameters.user))
    return {"balances": []}  # the chain has no spot


def _active_asset_data(state: ChainState, parameters: ActiveAssetDataParameters) -> dict[str, Any]:
    market = find_market(state, parameters.coin)
    return active_asset_data(state, look(state, parse_user(parameters.user)), market)


def _user_fees(state: ChainState, parameters: DexUserParameters) -> dict[str, Any]:
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


def _user_rate_limit(state: ChainState, parameters: DexUserParameters) -> dict[str, Any]:
    """What was traded, and how much of the bucket of actions is used now. The chain itself limits
    nobody; a sidecar that takes no orders has no cap.
    """
    address = parse_user(parameters.user)
    user = look(state, address)
    used, cap = (0, None) if state.allowance is None else state.allowance(address)
    return {"cumVlm": to_text(user.volume), "nRequestsUsed": used, "nRequestsCap": cap}


def _user_role(state: ChainState, parameters: DexUserParameters) -> dict[str, Any]:
    address = look(state, parse_user(parameters.user)).address
    agent = state.accounts.agents.get(address)
    if agent is not None and not 0 < agent.valid_until <= state.time_ns:
        return {"role": "agent", "data": {"user": hex_text(agent.user)}}
    return {"role": "user" if address in state.users.by_address else "missing"}


def _extra_agents(state: ChainState, parameters: DexUserParameters) -> list[dict[str, Any]]:
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
    "clearinghouseState": Handler(DexUserParameters, _clearinghouse_state),
    "spotClearinghouseState": Handler(DexUserParameters, _spot_clearinghouse_state),
    "activeAssetData": Handler(ActiveAssetDataParameters, _active_asset_data),
    "userFees": Handler(DexUserParameters, _user_fees),
    "userRateLimit": Handler(DexUserParameters, _user_rate_limit),
    "userRole": Handler(DexUserParameters, _user_role),
    "extraAgents": Handler(DexUserParameters, _extra_agents),
    "liquidatable": Handler(DexParameters, _liquidatable),
}
