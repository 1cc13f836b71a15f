"""Funding payments and ledger entries as clients read them.

Amounts of funding are signed from the account's view. A deposit, withdrawal or transfer has
Hyperliquid's shape, where the type says which way the money goes; kinds that Hyperliquid does not
have keep their sign. No transaction makes a payment, and the node does not name the one that made
a ledger entry: their hash is 0.
"""

from typing import Any

import msgspec

from sidecar.api.messages import NS_PER_MS, hex_text
from sidecar.errors import NotInSource
from sidecar.fixed import to_text
from sidecar.node.transitions import LedgerChanged
from sidecar.state.chain import ChainState
from sidecar.state.history import LedgerEntry, Payment

NO_HASH = "0x" + "00" * 32
_DEPTH_MAX = 8  # of a ledger entry's details
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
    if (liquidation := _read_liquidation(changed)) is not None:
        delta = _liquidation_delta(state, liquidation)
    else:
        usdc = to_text(abs(changed.amount) if kind in _UNTOLD else changed.amount)
        delta = {"type": kind, "usdc": usdc} | _UNTOLD.get(kind, {})
        delta |= dict(_detail(state, *detail) for detail in details.items())
    return UpdateView(entry.time_ns // NS_PER_MS, NO_HASH, delta)


def liquidation_event(entry: LedgerEntry) -> dict[str, Any]:
    """A liquidation as `userEvents` tells it: Hyperliquid's five fields. The node numbers no
    liquidations and names no liquidator: `lid` is the block's height, the liquidator is 0.
    """
    changed = entry.changed
    liquidation = _read_liquidation(changed) or _Liquidation()
    return {
        "lid": entry.height,
        "liquidator": _NO_USER,
        "liquidated_user": hex_text(changed.user),
        "liquidated_ntl_pos": to_text(liquidation.notional),
        "liquidated_account_value": to_text(liquidation.account_value),
    }


class _Liquidation(msgspec.Struct, frozen=True):
    """The details of a liquidation: everything as it was before."""

    is_cross: bool = True
    account_value: int = 0
    notional: int = 0
    positions: tuple[tuple[int, int], ...] = ()


def _read_liquidation(changed: LedgerChanged) -> _Liquidation | None:
    """None for another kind, and for one whose details are of another shape."""
    if changed.kind != "liquidation":
        return None
    try:
        return msgspec.convert(changed.details, _Liquidation)
    except msgspec.ValidationError:
        return None


def _liquidation_delta(state: ChainState, liquidation: _Liquidation) -> dict[str, Any]:
    markets = state.markets
    return {
        "type": "liquidation",
        "liquidatedNtlPos": to_text(liquidation.notional),
        "accountValue": to_text(liquidation.account_value),
        "leverageType": "Cross" if liquidation.is_cross else "Isolated",
        "liquidatedPositions": [
            {"coin": markets[market].symbol, "szi": to_text(sz)}
            for market, sz in liquidation.positions
            if market in markets
        ],
    }


def _detail(state: ChainState, name: str, value: Any) -> tuple[str, Any]:
    """A detail under the name and in the form that clients know."""
    if name == "market" and isinstance(value, int) and value in state.markets:
        return "coin", state.markets[value].symbol
    first, *others = name.split("_")
    return first + "".join(map(str.title, others)), _plain(value)


def _plain(value: Any, depth: int = 0) -> Any:
    """What JSON can say of a value; None in place of the rest, and of what is too deep."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return hex_text(value)
    if depth == _DEPTH_MAX:
        return None
    if isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one, depth + 1) for name, one in value.items()}
    return None
