"""Liquidation prices, closing in the book, the vault and auto-deleveraging, worked by hand.

Markets 0 and 1 allow 20x: maintenance is a 40th of the notional.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_devnet_clearing import AAA, ANN, BEN, CAT, DAN, EVE, Desk

from sidecar.devnet.execution.actions import Deposit, Place, UpdateLeverage
from sidecar.devnet.execution.clearing import FEES, VAULT
from sidecar.devnet.execution.liquidation import Liquidations
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.fixed import SCALE, parse, to_text
from sidecar.node.transitions import (
    ASK,
    BID,
    Fill,
    LedgerChanged,
    Leg,
    LeverageChanged,
    Liquidation,
    OrderStatus,
)


class Court(Desk):
    """A desk with the check at the end of the block."""

    def __init__(self) -> None:
        super().__init__()
        self.liquidations = Liquidations(self.exchange)

    def run(self) -> None:
        """The check; then everything holds that must, and nothing came or went."""
        total = self.exchange.total()
        self.out.clear()
        self.liquidations.run(marks_changed=True)
        assert self.liquidations.everybody_covered()
        assert self.exchange.total() == total
        self.exchange.check_invariants()

    def fills(self) -> list[Fill]:
        """Of the run, which may be asked for more."""
        return [one for one in self.out if isinstance(one, Fill)]

    def closings(self) -> list[tuple[Leg, str, str]]:
        """What the run closed: the leg of the one who was liquidated, size and price."""
        found = []
        for fill in self.fills():
            for leg in (fill.buyer, fill.seller):
                assert leg is not None
                assert leg.liquidation is not None
                if leg.user == leg.liquidation.user:
                    found.append((leg, short(fill.sz), short(fill.px)))
        return found

    def ledger(self) -> list[tuple[bytes, str, str]]:
        """What the run moved between balances without a trade."""
        entries = [one for one in self.out if isinstance(one, LedgerChanged)]
        return [(one.user, one.kind, to_text(one.amount)) for one in entries]

    def details(self) -> dict[str, Any]:
        """What the run says of the only case that was liquidated."""
        entries = [one for one in self.out if isinstance(one, LedgerChanged)]
        (details,) = [one.details for one in entries if one.kind == "liquidation"]
        return details


def short(units: int) -> str:
    return to_text(units).removesuffix(".0")


@pytest.fixture
def court() -> Iterator[Court]:
    court = Court()
    court.deposit(VAULT, "100000")
    court.deposit(BEN, "1000000")  # on the other side of everything
    yield court
    court.exchange.check_invariants()


def hold(court: Court, user: bytes, side: int, sz: str, px: str = "100", market: int = 0) -> None:
    """A position of the user's, against Ben."""
    buyer, seller = (user, BEN) if side == BID else (BEN, user)
    court.pair(buyer, seller, sz, px, market)


@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize(
    ("side", "survives", "goes"),
    [
        # Long: 1000 + 100 (m - 100) = 2.5 m at m = 9000 / 97.5 = 92.307692...
        (BID, "92.3077", "92.3076"),
        # Short: 1000 - 100 (m - 100) = 2.5 m at m = 11000 / 102.5 = 107.317073...
        (ASK, "107.317", "107.3171"),
    ],
)
def test_the_liquidation_price(
    court: Court, side: int, survives: str, goes: str, cross: bool
) -> None:
    """100 at 100 with 1000 of margin, all that a cross account has; prices a step apart."""
    court.deposit(ANN, "1000" if cross else "5000")
    court.leverage(ANN, 10, cross=cross)
    hold(court, ANN, side, "100")
    court.mark(0, survives)
    court.run()
    assert court.fills() == []
    court.mark(0, goes)
    court.run()
    assert [sz for _, sz, _ in court.closings()] == ["100"]
    assert court.balance(ANN) == ("0.0" if cross else "4000.0")


def test_at_the_liquidation_price_itself_nobody_goes(court: Court) -> None:
    """100 at 100 with 1225 of margin: at 90, it is worth 225, which is 9000 / 40."""
    court.deposit(ANN, "1225")
    hold(court, ANN, BID, "100")
    court.mark(0, "90")
    court.run()
    assert court.fills() == []
    court.clearing.account(ANN).balance -= 1
    court.run()
    assert len(court.fills()) == 1


def test_only_those_who_did_something_are_looked_at_between_marks(court: Court) -> None:
    court.deposit(ANN, "1000")
    hold(court, ANN, BID, "100")
    court.mark(0, "92")
    court.clearing.touched.clear()
    court.liquidations.run(marks_changed=False)
    assert not court.liquidations.everybody_covered()
    court.clearing.touched.add(ANN)
    court.liquidations.run(marks_changed=False)
    assert court.liquidations.everybody_covered()


def test_orders_go_first_and_the_book_pays_what_it_has(court: Court) -> None:
    court.deposit(ANN, "1000")
    hold(court, ANN, BID, "100")
    court.deposit(CAT, "100000")
    court.rest(CAT, BID, "50", "92")
    court.rest(CAT, BID, "60", "91")
    court.rest(ANN, BID, "20", "91")
    court.rest(ANN, BID, "20", "90", market=1)
    court.mark(0, "92.3")
    court.run()
    statuses = [one for one in court.out if isinstance(one, OrderStatus) and one.user == ANN]
    assert [one.status for one in statuses] == [
        "liquidatedCanceled",
        "liquidatedCanceled",
        "open",
        "filled",
    ]
    closing = statuses[2]
    # Worth 230. At p the close brings 100 p (1 - 0.00045) - 9230 + 230 >= 0: p >= 90.04052
    assert (closing.limit_px, closing.sz) == (parse("90.041"), parse("100"))
    assert (closing.tif, closing.side, closing.reduce_only) == ("LiquidationMarket", ASK, True)
    why = Liquidation(ANN, parse("92.3"), "market")
    legs = court.closings()
    assert [(sz, px) for _, sz, px in legs] == [("50", "92"), ("50", "91")]
    assert [(leg.liquidation, leg.direction) for leg, _, _ in legs] == [(why, "Close Long")] * 2
    # 1000 - 50 * 8 - 50 * 9, less fees of 4600 and 4550: 2.07 and 2.0475.
    assert court.balance(ANN) == "145.8825"
    assert court.ledger() == [(ANN, "liquidation", "0.0")]  # what is left is hers


def test_closing_stops_as_soon_as_the_rest_is_covered(court: Court) -> None:
    """The larger one first: 100 of market 1 at 97 are 9700; then 200 - 4.365 cover 5000 / 40."""
    court.deposit(ANN, "500")
    hold(court, ANN, BID, "50", market=0)
    hold(court, ANN, BID, "100", market=1)
    court.deposit(CAT, "100000")
    court.rest(CAT, BID, "50", "100", market=0)
    court.rest(CAT, BID, "100", "97", market=1)
    court.mark(1, "97")  # worth 500 - 300 = 200, maintenance 125 + 242.5
    court.run()
    assert [fill.market for fill in court.fills()] == [1]
    assert court.clearing.position(ANN, 0) == parse("50")
    assert court.clearing.position(ANN, 1) == 0
    assert court.balance(ANN) == "195.635"  # 500 - 300 - 9700 * 0.00045


def test_closing_stops_at_the_bankruptcy_price_and_the_vault_takes_the_rest(court: Court) -> None:
    court.deposit(ANN, "1000")
    hold(court, ANN, BID, "100")
    court.deposit(CAT, "100000")
    court.rest(CAT, BID, "30", "90.5")
    court.rest(CAT, BID, "70", "90.04")  # the bankruptcy price is 90.041, as above
    court.mark(0, "91")  # worth 100, maintenance 227.5
    court.run()
    assert [(leg.direction, leg.liquidation, sz, px) for leg, sz, px in court.closings()] == [
        ("Close Long", Liquidation(ANN, parse("91"), "market"), "30", "90.5"),
        ("Liquidated Cross Long", Liquidation(ANN, parse("91"), "backstop"), "70", "91"),
    ]
    # 30 * -9.5 = -285, a fee of 2715 * 0.00045 = 1.22175, 70 * -9 = -630: 83.77825 are left.
    assert court.ledger() == [
        (ANN, "liquidation", "-83.77825"),
        (VAULT, "insurance", "83.77825"),
    ]
    assert court.details() == {  # as it was before anything was closed
        "is_cross": True,
        "account_value": parse("100"),
        "notional": parse("9100"),
        "positions": [[0, parse("100")]],
    }
    assert court.balance(ANN) == "0.0"
    assert court.balance(VAULT) == "100083.77825"
    vault = court.clearing.account(VAULT).positions[0]
    assert (vault.sz, vault.cost) == (parse("70"), parse("6370"))
    taken = court.fills()[1].buyer
    assert taken is not None
    assert (taken.user, taken.fee, taken.closed_pnl, taken.direction) == (VAULT, 0, 0, "Open Long")


def test_the_bankruptcy_price_of_a_short(court: Court) -> None:
    """Worth 100 at 109: 100 p (1 + 0.00045) <= 10900 + 100, so p <= 109.95052."""
    court.deposit(ANN, "1000")
    hold(court, ANN, ASK, "100")
    court.deposit(CAT, "100000")
    court.rest(CAT, ASK, "40", "109.95")
    court.rest(CAT, ASK, "60", "109.96")
    court.mark(0, "109")
    court.run()
    legs = court.closings()
    assert [(sz, px) for _, sz, px in legs] == [("40", "109.95"), ("60", "109")]
    assert legs[1][0].direction == "Liquidated Cross Short"
    # 40 * -9.95 = -398, a fee of 4398 * 0.00045 = 1.9791, 60 * -9 = -540.
    assert court.ledger() == [
        (ANN, "liquidation", "-60.0209"),
        (VAULT, "insurance", "60.0209"),
    ]


@pytest.mark.parametrize(
    ("side", "mark", "label"),
    [(BID, "91", "Liquidated Isolated Long"), (ASK, "109", "Liquidated Isolated Short")],
)
def test_an_isolated_liquidation_leaves_the_rest_alone(
    court: Court, side: int, mark: str, label: str
) -> None:
    court.deposit(ANN, "5000")
    court.leverage(ANN, 10, cross=False)
    hold(court, ANN, side, "100")  # 1000 of margin, of which 100 are left
    hold(court, ANN, BID, "10", market=1)
    court.rest(ANN, 1 - side, "20", "100", market=0)
    court.rest(ANN, BID, "20", "90", market=1)
    court.mark(0, mark)
    court.run()
    ((leg, sz, px),) = court.closings()
    assert (leg.direction, sz, px) == (label, "100", mark)
    assert leg.liquidation == Liquidation(ANN, parse(mark), "backstop")
    assert court.balance(ANN) == "4000.0"
    assert court.clearing.position(ANN, 1) == parse("10")
    cancelled = [one for one in court.out if isinstance(one, OrderStatus)]
    assert [(one.market, one.status) for one in cancelled] == [(0, "liquidatedCanceled")]
    told = [one for one in court.out if isinstance(one, LeverageChanged)]
    assert told == [LeverageChanged(ANN, 0, 10, False, 0)]
    assert court.ledger() == [(ANN, "liquidation", "-100.0"), (VAULT, "insurance", "100.0")]
    assert court.details() == {
        "is_cross": False,
        "account_value": parse("100"),
        "notional": 100 * parse(mark),
        "positions": [[0, parse("100" if side == BID else "-100")]],
    }


def test_an_isolated_position_closed_in_the_book_gives_back_what_is_left(court: Court) -> None:
    court.deposit(ANN, "5000")
    court.leverage(ANN, 10, cross=False)
    hold(court, ANN, BID, "100")
    court.deposit(CAT, "100000")
    court.rest(CAT, BID, "100", "90.1")
    court.mark(0, "91")
    court.run()
    # 1000 of margin, 100 * -9.9, a fee of 9010 * 0.00045 = 4.0545: 5.9455 are left.
    assert court.balance(ANN) == "4005.9455"
    assert court.ledger() == [(ANN, "liquidation", "0.0")]


def test_the_cross_side_goes_and_an_isolated_position_stays(court: Court) -> None:
    court.deposit(ANN, "2000")
    court.leverage(ANN, 10, cross=False)
    hold(court, ANN, BID, "100", market=0)  # 1000 of margin
    hold(court, ANN, BID, "100", market=1)  # the other 1000
    court.mark(1, "91")
    court.run()
    assert [fill.market for fill in court.fills()] == [1]
    assert court.clearing.position(ANN, 0) == parse("100")
    assert (court.balance(ANN), court.margin(ANN, 0)) == ("0.0", "1000.0")


def deleveraged(court: Court) -> list[tuple[bytes, str, str]]:
    """Who gave a position up, how much of it, at which price."""
    found = []
    for fill in court.fills():
        for leg in (fill.buyer, fill.seller):
            assert leg is not None
            assert leg.liquidation is not None
            assert (leg.liquidation.method, leg.fee) == ("adl", 0)
            assert leg.direction == "Auto-Deleveraging"
            if leg.user != leg.liquidation.user:
                found.append((leg.user, short(fill.sz), short(fill.px)))
    return found


def test_who_is_deleveraged_first() -> None:
    """Ann is 60 long at 100 on average and has 300: at 90 she owes 300, so she goes at 95.

            short       entry/mark  notional  account value    rank
    BEN     20 at 100   1.1111      1800      1000 + 200       1.667
    CAT     50 at 105   1.1667      4500      1000 + 750       3.000
    DAN     20 at  95   1.0556      1800       100 + 100       9.500
    """
    court = Court()
    for user, amount in ((ANN, "300"), (BEN, "1000"), (CAT, "1000"), (DAN, "100"), (EVE, "10000")):
        court.deposit(user, amount)
    court.pair(ANN, BEN, "20", "100")
    court.pair(ANN, CAT, "20", "105")
    court.pair(ANN, DAN, "20", "95")
    court.pair(EVE, CAT, "30", "105")
    court.mark(0, "90")
    court.run()
    assert deleveraged(court) == [(DAN, "20", "95"), (CAT, "40", "95")]
    assert court.ledger() == [(ANN, "liquidation", "0.0")]  # 300 + 60 * -5: nobody owes
    balances = [court.balance(user) for user in (ANN, BEN, CAT, DAN)]
    assert balances == ["0.0", "1000.0", "1400.0", "100.0"]  # Cat gains 40 * 10
    assert [court.clearing.position(user, 0) for user in (ANN, BEN, CAT, DAN)] == [
        0,
        parse("-20"),
        parse("-10"),
        0,
    ]


def test_longs_are_deleveraged_by_mark_over_entry() -> None:
    """Ann is 50 short at 100 and has 400: at 110 she owes 100, so she goes at 108.

            long        mark/entry  notional  account value    rank
    BEN     30 at 100   1.1         3300      1000 + 300       2.792
    CAT     30 at 100   1.1         3300       800 + 300       3.300
    """
    court = Court()
    for user, amount in ((ANN, "400"), (BEN, "1000"), (CAT, "800"), (EVE, "10000")):
        court.deposit(user, amount)
    court.pair(BEN, ANN, "25", "100")
    court.pair(CAT, ANN, "25", "100")
    court.pair(BEN, EVE, "5", "100")
    court.pair(CAT, EVE, "5", "100")
    court.mark(0, "110")
    court.run()
    assert deleveraged(court) == [(CAT, "30", "108"), (BEN, "20", "108")]
    assert [court.balance(user) for user in (ANN, BEN, CAT)] == ["0.0", "1160.0", "1040.0"]


def test_what_is_owed_is_shared_by_notional_and_rounding_is_the_vaults() -> None:
    """Ann owes 100: 9000 / 14000 of it on market 0, 5000 / 14000 on market 1.

    90 + 64.285714... / 100 = 90.64285714..., up on the grid: 90.6429; 100 + 35.714285... / 50 =
    100.71428571..., up: 100.7143.
    """
    court = Court()
    court.deposit(ANN, "900")
    court.deposit(BEN, "100000")
    hold(court, ANN, BID, "100", market=0)
    hold(court, ANN, BID, "50", market=1)
    court.mark(0, "90")
    court.run()
    assert [(fill.market, fill.px) for fill in court.fills()] == [
        (0, parse("90.6429")),
        (1, parse("100.7143")),
    ]
    # 900 - 100 * 9.3571 + 50 * 0.7143 = 0.005
    assert court.ledger() == [(ANN, "liquidation", "-0.005"), (VAULT, "insurance", "0.005")]
    assert court.balance(ANN) == "0.0"


@pytest.mark.parametrize(("vault", "method"), [("355", "backstop"), ("354.99", "adl")])
def test_a_vault_without_margin_does_not_take_over(vault: str, method: str) -> None:
    """9100 at 20x take 455; Ann's 100 come with her position."""
    court = Court()
    court.deposit(VAULT, vault)
    court.deposit(ANN, "1000")
    court.deposit(BEN, "100000")
    hold(court, ANN, BID, "100")
    court.mark(0, "91")
    court.run()
    ((leg, _, px),) = court.closings()
    assert leg.liquidation is not None
    assert (leg.liquidation.method, px) == (method, "91" if method == "backstop" else "90")
    assert court.balance(ANN) == "0.0"


def test_the_vault_itself_is_deleveraged() -> None:
    """It takes 100 long at 91 and has 500 then. At 87.5 it is worth 150 of 218.75 needed: it goes
    at 87.5 - 1.5 = 86, where nothing of it is left.
    """
    court = Court()
    court.deposit(VAULT, "400")
    court.deposit(ANN, "1000")
    court.deposit(BEN, "100000")
    hold(court, ANN, BID, "100")
    court.mark(0, "91")
    court.run()
    assert court.clearing.position(VAULT, 0) == parse("100")
    court.mark(0, "87.5")
    court.run()
    assert deleveraged(court) == [(BEN, "100", "86")]
    assert court.balance(VAULT) == "0.0"
    assert court.balance(BEN) == "101400.0"  # 100 * 14
    assert court.ledger() == [(VAULT, "liquidation", "0.0")]


def test_the_vault_closes_in_the_book_first() -> None:
    court = Court()
    court.deposit(VAULT, "400")
    court.deposit(ANN, "1000")
    court.deposit(BEN, "100000")
    court.deposit(CAT, "100000")
    hold(court, ANN, BID, "100")
    court.mark(0, "91")
    court.run()
    court.rest(CAT, BID, "100", "87")
    court.mark(0, "87.5")
    court.run()
    ((leg, _, px),) = court.closings()
    assert (leg.user, px) == (VAULT, "87")
    assert court.balance(VAULT) == "96.085"  # 500 - 100 * 4 - 8700 * 0.00045


def test_a_debt_without_positions_is_the_vaults(court: Court) -> None:
    court.clearing.account(VAULT).balance = parse("3")
    hold(court, ANN, BID, "10", "100")
    hold(court, ANN, ASK, "10", "99.5")  # 5 lost, none there
    court.run()
    assert court.ledger() == [(ANN, "liquidation", "5.0"), (VAULT, "insurance", "-5.0")]
    assert court.details() == {
        "is_cross": True,
        "account_value": -parse("5"),
        "notional": 0,
        "positions": [],
    }
    assert (court.balance(ANN), court.balance(VAULT)) == ("0.0", "-2.0")  # it may owe


def test_a_vault_that_owes_beside_an_isolated_position_ends_the_passes(court: Court) -> None:
    """Its cross side has no position that could be closed; the isolated one has its own margin."""
    court.clearing.account(VAULT).balance = parse("103")
    hold(court, VAULT, BID, "10", "100", market=3)  # 100 of margin at 10x
    hold(court, ANN, BID, "10", "100")
    hold(court, ANN, ASK, "10", "99.5")  # 5 lost, none there, 3 in the vault
    court.run()
    assert (court.balance(VAULT), court.margin(VAULT, 3)) == ("-2.0", "100.0")


def test_a_liquidation_that_drives_another_below() -> None:
    """Ann owes 500 and goes at 95 against Ben's 100 short at 91: he loses 400 of his 500 and is
    left below 10,000 / 40 on market 1, which the vault takes.
    """
    court = Court()
    court.deposit(VAULT, "1000")
    court.deposit(ANN, "500")
    court.deposit(BEN, "500")
    court.deposit(CAT, "100000")
    court.pair(ANN, CAT, "100", "100")
    court.pair(CAT, BEN, "100", "91")
    court.pair(BEN, CAT, "100", "100", market=1)
    court.mark(0, "90")
    court.run()
    assert [(leg.user, leg.direction, sz, px) for leg, sz, px in court.closings()] == [
        (ANN, "Auto-Deleveraging", "100", "95"),
        (BEN, "Liquidated Cross Long", "100", "100"),
    ]
    assert court.ledger() == [
        (ANN, "liquidation", "0.0"),
        (BEN, "liquidation", "-100.0"),
        (VAULT, "insurance", "100.0"),
    ]
    assert court.clearing.position(VAULT, 1) == parse("100")


def test_reduce_only_orders_of_the_deleveraged_go_with_their_position() -> None:
    court = Court()
    court.deposit(ANN, "300")
    court.deposit(BEN, "1000")
    court.pair(ANN, BEN, "60", "100")
    place = Place(BEN, 0, BID, parse("80"), parse("60"), reduce_only=True)
    court.do(place)
    court.mark(0, "90")
    court.run()
    (gone,) = [one for one in court.out if isinstance(one, OrderStatus) and one.user == BEN]
    assert gone.status == "reduceOnlyCanceled"


USERS = (ANN, BEN, CAT, DAN)
orders = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from((0, 1, 2, 3)),
        st.sampled_from((BID, ASK)),
        st.integers(1_000, 30_000),  # lots
        st.integers(-10, 10),  # yen from 100
    ),
    min_size=5,
    max_size=40,
)
leverages = st.tuples(st.sampled_from(USERS), st.integers(0, 3), st.integers(1, 20), st.booleans())
marks = st.lists(st.integers(200_000, 4_000_000), min_size=4, max_size=4)  # 20 to 400


def traded(vault: int, choices: list[tuple[bytes, int, int, bool]]) -> Court:
    court = Court()
    if vault:
        court.do(Deposit(VAULT, vault))
    for user in USERS:
        court.deposit(user, "10000")
    for user, market, value, cross in choices:
        try:
            court.do(UpdateLeverage(user, market, value, cross))
        except ActionRefused:
            continue
    return court


@settings(max_examples=120)
@given(
    st.sampled_from((0, parse("1000"), parse("1000000"))),
    st.lists(leverages, max_size=8),
    orders,
    st.lists(marks, min_size=1, max_size=3),
)
def test_whatever_happens_everybody_is_covered(
    vault: int,
    choices: list[tuple[bytes, int, int, bool]],
    placed: list[tuple[bytes, int, int, int, int]],
    paths: list[list[int]],
) -> None:
    court = traded(vault, choices)
    for user, market, side, lots, yen in placed:
        px = (100 + yen) * SCALE
        court.do(Place(user, market, side, px, lots * AAA.lot))
    court.run()
    for prices in paths:
        for market, px in enumerate(prices):
            court.exchange.set_prices(market, px * AAA.grid, px * AAA.grid)
        court.run()
        for user, account in court.clearing.accounts.items():
            if user not in (VAULT, FEES):
                assert account.balance >= 0 or account.positions
