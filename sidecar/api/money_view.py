"""Funding payments and ledger entries as clients read them.

Amounts of funding are signed from the account's view. A deposit, withdrawal or transfer has
Hyperliquid's shape, where the type says which way the money goes; kinds that Hyperliquid does not
have keep their sign. No transaction makes a payment, and the node does not name the one that made
a ledger entry: their hash is 0.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from sidecar.api.messages import NS_PER_MS, hex_text
from sidecar.errors import NotInSource
from sidecar.fixed import to_text
from sidecar.state.chain import ChainState
from sidecar.state.history import LedgerEntry, Payment

NO_HASH = "0x" + "00" * 32
_NO_USER = "0x" + "00" * 20

# Fields of Hyperliquid's shapes that no node log tells.
_UNTOLD: dict[str, dict[str, Any]] = {
    "deposit": {},
    "withdraw": {"nonce": 0, "fee": "0.0"},
    "internalTransfer": {"fee": "0.0"},
}


class FundingView(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """A payment, in messages."""

    time: int
    coin: str
    usdc: str
    szi: str
    funding_rate: str


class FundingDelta(
    msgspec.Struct, rename="camel", tag="funding", tag_field="type", gc=False, frozen=True
):
    """A payment, in answers."""

    coin: str
    usdc: str
    szi: str
    funding_rate: str
    n_samples: None = None


class UpdateView(msgspec.Struct, frozen=True):
    """A movement of money and what made it."""

    time: int
    hash: str
    delta: FundingDelta | dict[str, Any]


def check_money_told(state: ChainState, what: str) -> None:
    """Raises `NotInSource` where the node does not write fundings and ledger entries."""
    if not state.users.money_told:
        raise NotInSource(
            f"this node's files carry orders, books and fills only, so {what} is not available "
            "here; ask an API of the chain itself for it"
        )


def funding_view(state: ChainState, paid: Payment) -> FundingView:
    """A payment as a message holds it."""
    return FundingView(
        paid.time_ns // NS_PER_MS,
        state.markets[paid.market].symbol,
        to_text(paid.amount),
        to_text(paid.position),
        to_text(paid.rate),
    )


def funding_update(state: ChainState, paid: Payment) -> UpdateView:
    """A payment as an answer holds it."""
    coin = state.markets[paid.market].symbol
    amount, position, rate = map(to_text, (paid.amount, paid.position, paid.rate))
    delta = FundingDelta(coin, amount, position, rate)
    return UpdateView(paid.time_ns // NS_PER_MS, NO_HASH, delta)


def ledger_update(state: ChainState, entry: LedgerEntry) -> UpdateView:
    """A ledger entry."""
    changed = entry.changed
    kind, details = changed.kind, changed.details
    if kind == "liquidation":
        delta = _liquidation_delta(state, details)
    else:
        usdc = to_text(abs(changed.amount) if kind in _UNTOLD else changed.amount)
        delta = {"type": kind, "usdc": usdc} | _UNTOLD.get(kind, {})
        delta |= dict(_detail(state, *detail) for detail in details.items())
    return UpdateView(entry.time_ns // NS_PER_MS, NO_HASH, delta)


def liquidation_event(entry: LedgerEntry) -> dict[str, Any]:
    """A liquidation as `userEvents` tells it: Hyperliquid's five fields. The node numbers no
    liquidations and names no liquidator: `lid` is the block's height, the liquidator is 0.
    """
    details = entry.changed.details
    return {
        "lid": entry.height,
        "liquidator": _NO_USER,
        "liquidated_user": hex_text(entry.changed.user),
        "liquidated_ntl_pos": to_text(details.get("notional", 0)),
        "liquidated_account_value": to_text(details.get("account_value", 0)),
    }


def _liquidation_delta(state: ChainState, details: Mapping[str, Any]) -> dict[str, Any]:
    positions = details.get("positions", ())
    return {
        "type": "liquidation",
        "liquidatedNtlPos": to_text(details.get("notional", 0)),
        "accountValue": to_text(details.get("account_value", 0)),
        "leverageType": "Cross" if details.get("is_cross", True) else "Isolated",
        "liquidatedPositions": [
            {"coin": state.markets[market].symbol, "szi": to_text(sz)} for market, sz in positions
        ],
    }


def _detail(state: ChainState, name: str, value: Any) -> tuple[str, Any]:
    """A detail under the name and in the form that clients know."""
    if name == "market" and value in state.markets:
        return "coin", state.markets[value].symbol
    first, *others = name.split("_")
    camel = first + "".join(map(str.title, others))
    return camel, hex_text(value) if isinstance(value, bytes) else value
