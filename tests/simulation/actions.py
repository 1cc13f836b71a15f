"""Signed actions to send, made once for all seeds: the official client's signatures, whose nonces
are right in every world, since each begins at the same moment.
"""

import json
from functools import cache
from typing import Any

from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

from sidecar.devnet.chain import GENESIS_NS

WALLETS = 3
_ORDERS = 12


def address(wallet: int) -> str:
    """Of the wallet of that number."""
    return str(_account(wallet).address).lower()


@cache
def bodies(wallet: int) -> list[bytes]:
    """What the wallet sends, in this order: money first, then orders, some of which it cancels."""
    actions: list[dict[str, Any]] = [{"type": "faucet", "amount": "1000000"}]
    for number in range(_ORDERS):
        cloid = f"0x{wallet * 1_000 + number:032x}"
        actions.append(_order(number, cloid))
        if number % 3 == 2:
            cancels = [{"asset": number % 2, "cloid": cloid}]
            actions.append({"type": "cancelByCloid", "cancels": cancels})
    return [_sign(wallet, number, action) for number, action in enumerate(actions)]


def _order(number: int, cloid: str) -> dict[str, Any]:
    """Some rest, some trade at once."""
    resting = number % 3 != 1
    buys = number % 4 < 2
    px = ("1000", "100000") if not resting else ("2000", "9000")
    order = {
        "a": number % 2,
        "b": buys,
        "p": px[0] if buys == resting else px[1],
        "s": "10",
        "r": False,
        "t": {"limit": {"tif": "Gtc" if resting else "Ioc"}},
        "c": cloid,
    }
    return {"type": "order", "orders": [order], "grouping": "na"}


def _sign(wallet: int, number: int, action: dict[str, Any]) -> bytes:
    nonce = GENESIS_NS // 1_000_000 + 1 + number
    signature = sign_l1_action(_account(wallet), action, None, nonce, None, False)
    return json.dumps({"action": action, "nonce": nonce, "signature": signature}).encode()


@cache
def _account(wallet: int) -> Any:
    return Account.from_key(f"0x{wallet + 1:064x}")
