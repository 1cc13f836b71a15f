"""Price-time priority, worked by hand. Whatever else may be sent: test_devnet_any_actions.py."""

import pytest

from sidecar.devnet.execution.actions import Action, Cancel, Deposit, Outcome, Place
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.markets import MARKETS
from sidecar.devnet.execution.orders import ALO, GTC, IOC, MARKET
from sidecar.devnet.execution.refusals import Refusal, Refused
from sidecar.fixed import parse
from sidecar.node.transitions import (
    ASK,
    BID,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    OrderStatus,
    Transition,
)

ANN, BEN, CAT, DAN = (name * 20 for name in (b"a", b"b", b"c", b"d"))
TOYOTA = MARKETS[0]


class Pit:
    """An exchange with one market and an open block, and short words for its transitions."""

    def __init__(self) -> None:
        self.exchange = Exchange("test", (TOYOTA,))
        self.out = self.exchange.begin_block(1, 1_000)
        self.mark("3000")
        for user in (ANN, BEN, CAT, DAN):
            self.exchange.execute(Deposit(user, parse("10000000")))

    def mark(self, px: str) -> None:
        """New oracle and mark; what they wake is executed."""
        del self.out[:]
        self.exchange.set_prices(0, parse(px), parse(px))
        self.exchange.wake_triggers()
        self.exchange.check_invariants()

    def place(self, user: bytes, side: int, sz: str, px: str, tif: str = GTC) -> Refusal | None:
        return self.do(Place(user, 0, side, parse(px), parse(sz), tif))

    def do(self, action: Action) -> Refusal | None:
        """Why it was refused, None where it was not."""
        outcome = self.outcome(action)
        return outcome.refusal if isinstance(outcome, Refused) else None

    def outcome(self, action: Action) -> Outcome:
        outcomes = self.outcomes(action)
        assert not isinstance(outcomes, list)
        return outcomes

    def outcomes(self, action: Action) -> Outcome | list[Outcome]:
        del self.out[:]
        outcomes = self.exchange.execute(action)
        self.exchange.check_invariants()
        return outcomes

    def position(self, user: bytes) -> str:
        return text(self.exchange.clearing.position(user, 0))

    def said(self) -> list[str]:
        return [words(transition) for transition in self.out]

    def fills(self) -> list[Fill]:
        return [transition for transition in self.out if isinstance(transition, Fill)]

    def resting(self, side: int) -> list[tuple[int, int]]:
        return [(order.oid, order.sz) for order in self.exchange.books[0].queue(side)]


def words(transition: Transition) -> str:
    match transition:
        case OrderStatus():
            return f"{transition.oid} {transition.status} {text(transition.sz)}"
        case BookAdded():
            return f"{transition.oid} added {text(transition.sz)}"
        case BookChanged():
            return f"{transition.oid} changed {text(transition.sz)}"
        case BookRemoved():
            return f"{transition.oid} removed"
        case Fill():
            assert transition.buyer is not None
            assert transition.seller is not None
            oids = (transition.buyer.oid, transition.seller.oid)
            return f"fill {oids[0]}/{oids[1]} {text(transition.sz)}@{text(transition.px)}"
        case _:
            raise AssertionError(transition)


def text(units: int) -> str:
    return f"{units / 10**8:g}"


@pytest.fixture
def pit() -> Pit:
    """Asks: 1 (Ann, 5 at 3000), 2 (Ben, 3 at 3000), 3 (Ann, 4 at 3000.5). Bid: 4 (Ann, 2 at
    2999).
    """
    pit = Pit()
    pit.place(ANN, ASK, "5", "3000")
    pit.place(BEN, ASK, "3", "3000")
    pit.place(ANN, ASK, "4", "3000.5")
    pit.place(ANN, BID, "2", "2999")
    return pit


def test_an_order_that_rests(pit: Pit) -> None:
    assert pit.said() == ["4 open 2", "4 added 2"]
    opened, added = pit.out
    assert isinstance(opened, OrderStatus)
    assert opened.hash is not None
    assert len(opened.hash) == 32
    px, sz = parse("2999"), parse("2")
    assert opened == OrderStatus(
        4, ANN, 0, BID, px, sz, sz, "Gtc", False, None, None, "open", 1_000, 1_000, "Limit",
        opened.hash,
    )  # fmt: skip
    assert added == BookAdded(0, 4, ANN, BID, px, sz)


def test_across_levels_the_older_first(pit: Pit) -> None:
    pit.place(CAT, BID, "10", "3001")
    assert pit.said() == [
        "5 open 10",
        "fill 5/1 5@3000",
        "1 changed 0",
        "1 removed",
        "1 filled 0",
        "fill 5/2 3@3000",
        "2 changed 0",
        "2 removed",
        "2 filled 0",
        "fill 5/3 2@3000.5",
        "3 changed 2",
        "5 filled 0",
    ]
    first, second, third = pit.fills()
    assert len({first.tid, second.tid, third.tid}) == 3
    assert first.hash == second.hash == third.hash
    assert {fill.taker_side for fill in pit.fills()} == {BID}
    buyer, seller = third.buyer, third.seller
    assert buyer is not None
    assert seller is not None
    assert (buyer.user, buyer.start_position, buyer.direction) == (CAT, parse("8"), "Open Long")
    assert (seller.user, seller.start_position, seller.direction) == (
        ANN,
        -parse("5"),
        "Open Short",
    )
    assert buyer.fee == parse("2.70045")  # 2 * 3000.5 * 4.5 bp
    assert seller.fee == parse("0.90015")  # 1.5 bp
    assert pit.resting(ASK) == [(3, parse("2"))]


def test_a_partial_fill_keeps_its_place(pit: Pit) -> None:
    pit.place(CAT, BID, "1", "3000")
    assert pit.said() == ["5 open 1", "fill 5/1 1@3000", "1 changed 4", "5 filled 0"]
    pit.place(CAT, BID, "4.5", "3000", IOC)
    assert pit.said()[1:6] == [
        "fill 6/1 4@3000", "1 changed 0", "1 removed", "1 filled 0", "fill 6/2 0.5@3000",
    ]  # fmt: skip


def test_what_is_left_of_a_gtc_order_rests(pit: Pit) -> None:
    pit.place(CAT, BID, "9", "3000")
    assert pit.said()[0] == "5 open 9"
    assert pit.said()[-1] == "5 added 1"
    assert pit.resting(BID) == [(5, parse("1")), (4, parse("2"))]


def test_a_sell_takes_the_highest_bid(pit: Pit) -> None:
    pit.place(BEN, BID, "1", "2999.5")
    pit.place(CAT, ASK, "2", "2999")
    assert pit.said() == [
        "6 open 2",
        "fill 5/6 1@2999.5",
        "5 changed 0",
        "5 removed",
        "5 filled 0",
        "fill 4/6 1@2999",
        "4 changed 1",
        "6 filled 0",
    ]
    assert {fill.taker_side for fill in pit.fills()} == {ASK}


def test_post_only_that_crosses_is_refused(pit: Pit) -> None:
    assert pit.place(CAT, BID, "1", "3000", ALO) is Refusal.POST_ONLY
    assert pit.said() == ["5 badAloPxRejected 1"]
    assert pit.place(ANN, BID, "1", "3000", ALO) is Refusal.POST_ONLY  # one's own count too
    assert pit.place(CAT, BID, "1", "2999.9", ALO) is None
    assert pit.said() == ["7 open 1", "7 added 1"]


def test_what_is_left_of_an_ioc_order_is_cancelled(pit: Pit) -> None:
    assert pit.place(CAT, BID, "9", "3000", IOC) is None
    assert pit.said()[-1] == "5 canceled 1"
    assert pit.resting(BID) == [(4, parse("2"))]


def test_an_ioc_order_that_meets_nobody_is_refused(pit: Pit) -> None:
    assert pit.place(CAT, BID, "9", "2999.9", IOC) is Refusal.IMMEDIATE
    assert pit.said() == ["5 iocCancelRejected 9"]


def test_an_ioc_order_that_meets_only_its_sender_touches_nothing() -> None:
    pit = Pit()
    pit.place(ANN, ASK, "1", "3000")
    assert pit.place(ANN, BID, "1", "3000", IOC) is Refusal.IMMEDIATE
    assert pit.resting(ASK) == [(1, parse("1"))]


def test_market_orders(pit: Pit) -> None:
    assert pit.place(CAT, BID, "6", "3150", MARKET) is None
    opened = pit.out[0]
    assert isinstance(opened, OrderStatus)
    assert (opened.order_type, opened.tif) == ("Market", "FrontendMarket")
    assert pit.said()[-1] == "5 filled 0"
    assert pit.place(CAT, BID, "100", "3150", MARKET) is None
    assert pit.said()[-1] == "6 canceled 94"
    assert pit.place(CAT, BID, "1", "3150", MARKET) is Refusal.NO_LIQUIDITY
    assert pit.said() == ["7 marketOrderNoLiquidityRejected 1"]


def test_ones_own_resting_order_gives_way(pit: Pit) -> None:
    pit.place(ANN, BID, "4", "3000.5")
    assert pit.said() == [
        "5 open 4",
        "1 removed",
        "1 selfTradeCanceled 5",
        "fill 5/2 3@3000",
        "2 changed 0",
        "2 removed",
        "2 filled 0",
        "3 removed",
        "3 selfTradeCanceled 4",
        "5 added 1",
    ]


def test_cancels(pit: Pit) -> None:
    pit.place(CAT, BID, "1", "3000")
    assert pit.do(Cancel(ANN, 0, 1)) is None
    assert pit.said() == ["1 removed", "1 canceled 4"]
    status = pit.out[1]
    assert isinstance(status, OrderStatus)
    assert (status.orig_sz, status.hash) == (parse("5"), None)
    for cancel in (Cancel(ANN, 0, 1), Cancel(ANN, 0, 99), Cancel(ANN, 0, 2)):
        assert pit.do(cancel) is Refusal.NO_ORDER  # gone, never there, somebody else's
        assert pit.said() == []


@pytest.mark.parametrize(
    ("px", "sz", "status"),
    [
        ("3000.01", "1", "tickRejected"),
        ("0", "1", "rejected"),
        ("3000", "0", "rejected"),
        ("3000", "0.001", "rejected"),
    ],
)
def test_prices_and_sizes_off_the_grid_are_refused(pit: Pit, px: str, sz: str, status: str) -> None:
    refusal = pit.place(CAT, BID, sz, px)
    assert refusal is not None
    assert refusal.status == status
    assert pit.said() == [f"5 {status} {text(parse(sz))}"]


def test_statuses_keep_when_the_order_was_placed(pit: Pit) -> None:
    pit.exchange.begin_block(2, 2_000)
    out = pit.exchange.begin_block(3, 3_000)
    pit.exchange.execute(Cancel(ANN, 0, 1))
    status = out[-1]
    assert isinstance(status, OrderStatus)
    assert (status.placed_ns, status.time_ns) == (1_000, 3_000)
