"""Short ways to say blocks in tests."""

from collections.abc import Coroutine
from typing import Any

from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    Fill,
    Leg,
    MarketListed,
    OrderStatus,
    Transition,
)
from sidecar.state.chain import ChainState

ALICE, BOB = b"\xaa" * 20, b"\xbb" * 20
PX = 10**8  # one unit of price and of size
TOYOTA = MarketListed(1, "TOYOTA", 2, 10)
SONY = MarketListed(2, "SONY", 3, 20, only_isolated=True)


def block(height: int, *transitions: Transition) -> Block:
    return Block(height, height * 1_000_000, 0, list(transitions))


def bid(oid: int, px: int, sz: int = 1, market: int = 1) -> BookAdded:
    return BookAdded(market, oid, ALICE, BID, px * PX, sz * PX)


def ask(oid: int, px: int, sz: int = 1, market: int = 1) -> BookAdded:
    return BookAdded(market, oid, BOB, ASK, px * PX, sz * PX)


def opened(oid: int, side: int = BID, px: int = 100, sz: int = 1) -> OrderStatus:
    return OrderStatus(
        oid, ALICE, 1, side, px * PX, sz * PX, sz * PX, "Gtc", False, None, None, "open",
        1_767_878_802_703_377_851, 1_767_878_802_703_000_000,
    )  # fmt: skip


def fill(tid: int, px: int = 100, market: int = 1) -> Fill:
    buyer, seller = Leg(ALICE, 1, None, 0, 0, 0), Leg(BOB, 2, None, 0, 0, 0)
    return Fill(tid, market, px * PX, PX, BID, b"\x0f" * 32, buyer, seller)


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Runs something that has no reason to wait."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AssertionError("it waited")


def state_of(*transitions: Transition) -> ChainState:
    """TOYOTA and SONY listed at height 1, then one block."""
    state = ChainState()
    state.apply(block(1, TOYOTA, SONY))
    state.apply(block(2, *transitions))
    return state
