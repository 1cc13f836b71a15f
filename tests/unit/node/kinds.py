"""One transition of every kind, every field of it set."""

from sidecar.node.transitions import (
    AccountCheck,
    AgentApproved,
    BookAdded,
    BookChanged,
    BookCheck,
    BookRemoved,
    Fill,
    FundingSettled,
    LedgerChanged,
    Leg,
    LeverageChanged,
    Liquidation,
    Logged,
    MarketListed,
    OrderStatus,
    PricesUpdated,
    Trigger,
)

USER = bytes(range(20))
CLOID = bytes(range(16))
HASH = bytes(range(32))
LEG = Leg(USER, 5, CLOID, -3, 4, -1, Liquidation(USER, 7, "market"), "Open Long", "USDC", 9)
STATUS = OrderStatus(
    5, USER, 1, 0, 10, 9, 8, "Gtc", True, Trigger(3, "Price above 3"), CLOID, "open",
    1, 2, "Stop Limit", HASH, (USER, 15),
)  # fmt: skip
EVERY_KIND: list[Logged] = [
    MarketListed(1, "TOYOTA", 2, 10, True, ((0, 10), (10**16, 5))),
    STATUS,
    BookAdded(1, 5, USER, 1, 10, 9, 4),
    BookChanged(1, 5, 3, 4),
    BookRemoved(1, 5),
    Fill(77, 1, 10, 9, 0, HASH, LEG, None),
    PricesUpdated(((1, 2, 3), (2, 3, 4))),
    FundingSettled(1, -5, 6, 7, ((USER, -3, 4),)),
    LedgerChanged(USER, "deposit", 5, {"from": "faucet"}),
    LeverageChanged(USER, 1, 5, False, 3),
    AgentApproved(USER, USER, "bot", 4),
    BookCheck(1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2**63),
    AccountCheck(USER, -5, ((1, -3),)),
]
