"""Price-time priority, worked by hand. Whatever else may be sent: test_devnet_any_actions.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_case import ANN, BEN, CAT, DAN, MARK, Pit, order, text
from sidecar.devnet.execution.actions import Cancel, Withdraw
from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.clearing import FEES
from sidecar.devnet.execution.orders import ALO, GTC, IOC, MARKET, Resting
from sidecar.devnet.execution.refusals import Refusal
from sidecar.fixed import parse
from sidecar.node.transitions import ASK, BID, BookAdded, OrderStatus


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


@pytest.mark.parametrize(("tif", "why"), [(IOC, Refusal.IMMEDIATE), (MARKET, Refusal.NO_LIQUIDITY)])
def test_an_order_that_meets_only_its_sender_touches_nothing(tif: str, why: Refusal) -> None:
    pit = Pit()
    pit.place(ANN, ASK, "1", "3000")
    assert pit.place(ANN, BID, "1", "3000", tif) is why
    assert pit.said() == [f"2 {why.status} 1"]
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


def test_ones_own_and_one_without_margin_in_the_midst_of_a_sweep() -> None:
    """Cat wants 5: Ben's 2, not her own 3, not the 4 of Dan, who has 1 yen, Ann's 1; 2 rest."""
    pit = Pit()
    for user, sz, px in ((BEN, "2", "3000"), (CAT, "3", "3000"), (DAN, "4", "3000.1")):
        pit.place(user, ASK, sz, px)
    pit.place(ANN, ASK, "1", "3000.2")
    pit.do(Withdraw(DAN, parse("9999999")))
    pit.place(CAT, BID, "5", "3000.2")
    assert pit.said() == [
        "5 open 5",
        "fill 5/1 2@3000",
        "1 changed 0",
        "1 removed",
        "1 filled 0",
        "2 removed",
        "2 selfTradeCanceled 3",
        "3 removed",
        "3 marginCanceled 4",
        "fill 5/4 1@3000.2",
        "4 changed 0",
        "4 removed",
        "4 filled 0",
        "5 added 2",
    ]


def test_what_a_sweep_costs(pit: Pit) -> None:
    """Cat takes 5 and 3 at 3000 and 2 at 3000.5: 30,001 yen.

    Cat     30,001 * 4.5 bp = 13.50045
    Ann     (15,000 + 6,001) * 1.5 bp = 3.15015
    Ben     9,000 * 1.5 bp = 1.35
    FEES    18.0006
    """
    pit.place(CAT, BID, "10", "3001")
    paid = {ANN: "3.15015", BEN: "1.35", CAT: "13.50045", FEES: "-18.0006"}
    for user, fees in paid.items():
        account = pit.exchange.clearing.account(user)
        assert (0 if user == FEES else parse("10000000")) - account.balance == parse(fees)
    assert [pit.position(user) for user in (ANN, BEN, CAT)] == ["-7", "-3", "10"]
    assert pit.exchange.clearing.account(CAT).positions[0].cost == parse("30001")


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


@pytest.mark.parametrize("tif", [GTC, ALO])
def test_what_rests_keeps_how_it_was_placed(tif: str) -> None:
    pit = Pit()
    pit.do(order(ANN, BID, "1", MARK, tif, cloid=b"x" * 16))
    opened = pit.exchange.books[0].orders[1].opened
    assert (opened.tif, opened.cloid, opened.order_type) == (tif, b"x" * 16, "Limit")


orders = st.tuples(st.integers(0, 1), st.integers(1, 4), st.integers(1, 9), st.sampled_from("ab"))
steps = st.lists(st.tuples(orders, st.none() | st.integers(0, 40), st.integers(0, 8)), max_size=40)


@given(steps)
def test_the_book_is_a_sorted_list(
    story: list[tuple[tuple[int, int, int, str], int | None, int]],
) -> None:
    """Each step adds an order, then one that rests shrinks to a size, or goes (0)."""
    book, alive = Book(), list[Resting]()
    for oid, ((side, away, sz, name), which, left) in enumerate(story):
        px = away + 10 * side  # never crossed
        status = OrderStatus(oid, b"", 0, side, px, sz, sz, GTC, False, None, None, "open")
        alive.append(Resting(oid, name.encode(), side, px, sz, status))
        book.add(alive[-1])
        if which is not None:
            one = alive[which % len(alive)]
            book.resize(one, min(left, one.sz) or one.sz)
            if not left:
                book.remove(one)
                alive.remove(one)
        book.check_invariants()
    for side, sign in ((BID, -1), (ASK, 1)):
        queue = sorted((o for o in alive if o.side == side), key=lambda o: (o.px * sign, o.oid))
        assert list(book.queue(side)) == queue
        assert book.first(side) is (queue[0] if queue else None)
        assert book.best_px(side) == (queue[0].px if queue else None)
        assert book.totals[side] == sum(o.sz for o in queue)
        for px in {o.px for o in queue}:
            level = [o.sz for o in queue if o.px == px]
            assert book.level(side, px) == (sum(level), len(level))
    for user in (b"a", b"b"):
        assert list(book.of_user(user).values()) == [o for o in alive if o.user == user]
