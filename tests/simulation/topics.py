"""What clients subscribe to."""

from random import Random
from typing import Any

from sidecar.devnet.traders.makers import address as trader_address
from tests.simulation.actions import address


def choose(rng: Random, wallet: int) -> dict[str, Any]:
    """A subscription, of anything that there is, for the wallet of that number among others."""
    kind = rng.choice(_KINDS)
    if kind in _OF_COINS:
        chosen: dict[str, Any] = {"type": kind, "coin": rng.choice(("TOYOTA", "SONY"))}
        if kind == "l2Book" and rng.random() < 0.5:
            chosen |= {"nSigFigs": rng.choice((3, 4, 5)), "nLevels": rng.choice((1, 5, 50))}
        if kind == "candle":
            chosen["interval"] = "1m"
        return chosen
    if kind in ("allMids", "blocks", "status"):
        return {"type": kind}
    user = rng.choice((address(wallet), *_TRADERS))
    chosen = {"type": kind, "user": user}
    if kind == "activeAssetData":
        chosen["coin"] = "SONY"
    return chosen


_OF_COINS = ("trades", "bookDelta", "l4Book", "l2Book", "bbo", "candle", "activeAssetCtx")
_KINDS = (
    *_OF_COINS,
    *("allMids", "blocks", "status", "orderUpdates", "userEvents", "userFills", "userFundings"),
    *("userNonFundingLedgerUpdates", "openOrders", "clearinghouseState", "activeAssetData"),
    "webData2",
)
_TRADERS = tuple("0x" + trader_address(role, 0).hex() for role in ("maker", "taker"))
