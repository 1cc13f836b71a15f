"""Ledger entries as a Hyperliquid node's misc events hold them."""

from collections.abc import Mapping
from typing import Any

from sidecar.devnet.hyperliquid.rows import ZERO, address_text, hex_text
from sidecar.fixed import to_text
from sidecar.node.transitions import LedgerChanged

# Which way the money goes is in the type already; other kinds keep their sign.
_UNSIGNED = frozenset(("deposit", "withdraw", "internalTransfer"))
_LEDGER_REST: dict[str, dict[str, Any]] = {  # what real ones have too, and this chain does not
    "withdraw": {"nonce": 0, "fee": ZERO},
    "internalTransfer": {"fee": ZERO},
}


def ledger_update(changed: LedgerChanged, symbols: Mapping[int, str]) -> dict[str, Any] | None:
    """A ledger entry as what a LedgerUpdate holds.

    None for the receiver's of a transfer between users: the sender's says it for both.
    """
    kind, user, details = changed.kind, changed.user, changed.details
    users = [user]
    if kind == "liquidation":
        return {"users": [address_text(user)], "delta": _liquidation(details, symbols)}
    if kind == "internalTransfer":
        if user == details["destination"]:
            return None
        users.append(details["destination"])
        details = {"user": user} | details
    amount = abs(changed.amount) if kind in _UNSIGNED else changed.amount
    delta = {"type": kind, "usdc": to_text(amount)}
    delta |= dict(_detail(name, value, symbols) for name, value in details.items())
    delta |= _LEDGER_REST.get(kind, {})
    return {"users": [address_text(one) for one in users], "delta": delta}


def _liquidation(details: Mapping[str, Any], symbols: Mapping[int, str]) -> dict[str, Any]:
    """What was liquidated, as it was before."""
    return {
        "type": "liquidation",
        "liquidatedNtlPos": to_text(details["notional"]),
        "accountValue": to_text(details["account_value"]),
        "leverageType": "Cross" if details["is_cross"] else "Isolated",
        "liquidatedPositions": [
            {"coin": symbols[market], "szi": to_text(sz)} for market, sz in details["positions"]
        ],
    }


def _detail(name: str, value: Any, symbols: Mapping[int, str]) -> tuple[str, Any]:
    if name == "market":
        return "coin", symbols[value]
    first, *others = name.split("_")
    name = first + "".join(map(str.title, others))
    return name, hex_text(value) if isinstance(value, bytes) else value
