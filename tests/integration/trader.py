"""A trader at a sidecar: the official client, unmodified, and signed actions by hand."""

import json
import time
from collections.abc import Iterator
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from hyperliquid.exchange import Exchange
from hyperliquid.utils.signing import sign_l1_action

from processes import Server


def _clock_of_nonces() -> Iterator[int]:
    """Milliseconds since the epoch when asked; no two alike."""
    nonce = 0
    while True:
        nonce = max(nonce + 1, time.time_ns() // 1_000_000)
        yield nonce


_nonces = _clock_of_nonces()


def wallet_of(number: int) -> LocalAccount:
    """A key by number."""
    wallet: LocalAccount = Account.from_key(f"0x{number:064x}")
    return wallet


def signed(
    wallet: LocalAccount, action: Any, nonce: int | None = None, expires_after: int | None = None
) -> dict[str, Any]:
    """An action as the official client posts it; with a nonce of its own, unless told."""
    number = next(_nonces) if nonce is None else nonce
    signature = sign_l1_action(wallet, action, None, number, expires_after, False)
    beside = {"vaultAddress": None, "expiresAfter": expires_after}
    return {"action": action, "nonce": number, "signature": signature} | beside


def order(
    px: str = "2500.0", sz: str = "10.0", *, asset: int = 0, buy: bool = True, tif: str = "Gtc"
) -> dict[str, Any]:
    """A limit order by itself."""
    limit = {"limit": {"tif": tif}}
    orders = [{"a": asset, "b": buy, "p": px, "s": sz, "r": False, "t": limit}]
    return {"type": "order", "orders": orders, "grouping": "na"}


def post(server: Server, request: Any) -> Any:
    """The exchange endpoint's answer, of status 200."""
    status, answer = server.post("/exchange", json.dumps(request).encode())
    assert status == 200, answer
    return answer


def fund(server: Server, wallet: LocalAccount, amount: str = "10000000") -> None:
    """Money to begin with, once the node takes actions."""
    faucet = json.dumps(signed(wallet, {"type": "faucet", "amount": amount})).encode()
    deadline = time.monotonic() + 20
    while (reply := server.post("/exchange", faucet))[0] == 503 and time.monotonic() < deadline:
        time.sleep(0.02)
    status, answer = reply
    assert status == 200, answer
    assert answer == {"status": "ok", "response": {"type": "default"}}


def exchange(server: Server, wallet: LocalAccount, **options: Any) -> Exchange:
    """The official client, with everything it asks for of the server."""
    return Exchange(wallet, server.url, **options)
