"""Funding: impact prices, premiums, rates and payments, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_devnet_clearing import AAA, ANN, BEN, CAT, DAN, EVE, Desk

from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.clearing import VAULT
from sidecar.devnet.execution.funding import (
    IMPACT_NOTIONAL,
    SAMPLES,
    Funding,
    funding_rate,
    impact_px,
)
from sidecar.devnet.execution.orders import Resting
from sidecar.fixed import SCALE, parse
from sidecar.node.transitions import ASK, BID, FundingSettled, LedgerChanged, LeverageChanged
from sidecar.node.transitions import OrderStatus as Status

SECOND = 10**9
INTERVAL = SAMPLES * SECOND  # a sample every second
HUNDRED = dict.fromkeys(range(4), parse("100"))
INTEREST_RATE = 1_250  # of a premium of 0: an eighth of 0.01%


class Clock:
    """A desk whose time moves on, and its funding."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.tape = desk.exchange.tape
        matching = desk.exchange.matching
        self.funding = Funding(self.tape, desk.clearing, matching, INTERVAL)
        self.tape.time_ns = INTERVAL

    def pass_s(self, seconds: int, oracles: dict[int, int] = HUNDRED) -> None:
        before = self.tape.time_ns
        self.tape.time_ns += seconds * SECOND
        self.funding.step(before, oracles)

    def settle(self, oracles: dict[int, int] = HUNDRED) -> FundingSettled:
        """Goes to the end of the interval; returns what is said of market 0."""
        self.desk.out.clear()
        self.pass_s((INTERVAL - self.tape.time_ns % INTERVAL) // SECOND, oracles)
        return next(one for one in self.desk.out if isinstance(one, FundingSettled))


@pytest.fixture
def clock() -> Clock:
    return Clock(Desk())


def quote(desk: Desk, bid: str, ask: str, sz: str = "11000") -> None:
    """The whole book of market 0: over a million yen on either side."""
    if EVE not in desk.clearing.accounts:
        desk.deposit(EVE, "10000000")
    desk.exchange.cancel_all(EVE, "canceled")
    desk.rest(EVE, BID, sz, bid)
    desk.rest(EVE, ASK, sz, ask)


def queue(*levels: tuple[str, str]) -> list[Resting]:
    book = Book()
    for oid, (px, sz) in enumerate(levels):
        px_units, sz_units = parse(px), parse(sz)
        status = Status(
            oid, ANN, 0, ASK, px_units, sz_units, sz_units, None, False, None, None, "open"
        )
        book.add(Resting(oid, ANN, ASK, px_units, sz_units, status))
    return list(book.queue(ASK))


def test_an_impact_price_over_several_levels() -> None:
    # A million: 2000 at 100 and 3000 at 100 are 500,000; the rest is 500,000 / 101 = 4950.495049.
    # 1,000,000 / 9950.495049 = 100.4975124378..., down.
    px = impact_px(queue(("100", "2000"), ("101", "10000"), ("100", "3000")), IMPACT_NOTIONAL)
    assert px == parse("100.49751243")


def test_an_impact_price_within_one_order_is_its_price() -> None:
    assert impact_px(queue(("101", "10000")), IMPACT_NOTIONAL) == parse("101")


def test_a_book_that_is_just_deep_enough() -> None:
    assert impact_px(queue(("100", "10000")), IMPACT_NOTIONAL) == parse("100")
    assert impact_px(queue(("100", "9999.99")), IMPACT_NOTIONAL) == 0
    assert impact_px([], IMPACT_NOTIONAL) == 0


@pytest.mark.parametrize(
    ("bid", "ask", "oracle", "premium"),
    [
        ("101", "102", "100", "0.01"),
        ("98", "99", "100", "-0.01"),
        ("99", "101", "100", "0"),
        ("100", "101", "100", "0"),
        ("101", "102", "90", "0.12222222"),  # 11 / 90, down
        ("101", "102", "105", "-0.02857143"),  # -3 / 105 = -0.028571428..., down
    ],
)
def test_a_premium(clock: Clock, bid: str, ask: str, oracle: str, premium: str) -> None:
    quote(clock.desk, bid, ask)
    clock.pass_s(1, dict.fromkeys(range(4), parse(oracle)))
    assert clock.funding.premiums[0].samples == 1
    assert clock.funding.premiums[0].total == parse(premium)


def test_a_book_that_is_too_thin_on_one_side_has_no_premium(clock: Clock) -> None:
    clock.pass_s(1)
    quote(clock.desk, "101", "102", sz="9900")  # 999,900 of bids, 1,009,800 of asks
    clock.pass_s(1)
    assert (clock.funding.premiums[0].total, clock.funding.premiums[0].samples) == (0, 2)
    settled = clock.settle()
    assert (settled.premium, settled.rate) == (0, INTEREST_RATE)


def test_premiums_are_sampled_on_time_and_averaged(clock: Clock) -> None:
    desk = clock.desk
    quote(desk, "101", "102")
    clock.pass_s(1)
    clock.pass_s(1)  # twice 1%
    quote(desk, "99", "101")
    clock.pass_s(1)  # 0
    before = clock.tape.time_ns
    clock.tape.time_ns += SECOND // 2
    clock.funding.step(before, HUNDRED)  # within the same second: no sample
    clock.tape.time_ns -= SECOND // 2
    quote(desk, "97", "98")
    assert clock.funding.premiums[0].samples == 3
    settled = clock.settle()  # a fourth of -2%, at the end of the interval
    # (1 + 1 + 0 - 2) / 4 = 0
    assert (settled.premium, settled.rate, settled.oracle_px) == (0, INTEREST_RATE, parse("100"))
    assert clock.funding.premiums[0].samples == 0
    assert clock.settle().premium == parse("-0.02")  # nothing is left of the interval before


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        # The premium and clamp(10,000 - premium, -50,000, 50,000), an eighth of it, down:
        (0, 1_250),
        (10_000, 1_250),
        (60_000, 1_250),  # what interest can make up for at most
        (60_007, 1_250),
        (60_008, 1_251),
        (-40_000, 1_250),
        (-40_001, 1_249),
        (-50_000, 0),
        (-50_001, -1),
        (1_000_000, 118_750),
        (-1_000_000, -118_750),
        (32_050_000, 4_000_000),  # 4%
        (32_050_008, 4_000_000),
        (-32_050_000, -4_000_000),
        (-32_050_008, -4_000_000),
        (10**9, 4_000_000),
    ],
)
def test_a_rate(premium: int, rate: int) -> None:
    assert funding_rate(premium) == rate


def test_longs_pay_shorts_and_the_other_way_round(clock: Clock) -> None:
    """+1% is a rate of 0.11875%, and so is -1% the other way: two intervals of 10 long."""
    desk = clock.desk
    desk.pair(ANN, BEN, "10", "100")
    quote(desk, "101", "102")
    clock.pass_s(1)
    up = clock.settle()
    # 10 * 100 * 0.0011875
    assert up.payments == ((ANN, parse("10"), -118_750_000), (BEN, parse("-10"), 118_750_000))
    assert (desk.balance(ANN), desk.balance(BEN)) == ("-1.1875", "1.1875")
    quote(desk, "107", "108.9")
    down = clock.settle({**HUNDRED, 0: parse("110")})
    assert (up.rate, down.rate, down.premium) == (118_750, -118_750, -1_000_000)
    # 10 * 110 * 0.0011875 = 1.30625
    assert down.payments == ((ANN, parse("10"), 130_625_000), (BEN, parse("-10"), -130_625_000))
    assert (desk.balance(ANN), desk.balance(BEN)) == ("0.11875", "-0.11875")
    assert desk.said(LedgerChanged) == []  # nothing was rounded


def test_the_payer_pays_up_and_the_receiver_gets_less(clock: Clock) -> None:
    """0.0000125 of 0.01 * 100.0001 are 1250.00125 units: the vault has the difference."""
    desk = clock.desk
    desk.pair(ANN, BEN, "0.01", "100")
    desk.pair(ANN, CAT, "0.02", "100")
    settled = clock.settle({**HUNDRED, 0: parse("100.0001")})
    assert [amount for _, _, amount in settled.payments] == [-3_751, 1_250, 2_500]
    assert desk.said(LedgerChanged) == [LedgerChanged(VAULT, "fundingRounding", 1, {"market": 0})]
    assert desk.clearing.account(VAULT).balance == 1
    assert desk.exchange.total() == 0


def test_nothing_is_paid_before_the_interval_ends(clock: Clock) -> None:
    clock.desk.pair(ANN, BEN, "10", "100")
    for _ in range(3):
        clock.pass_s(SAMPLES // 4)
    assert clock.desk.said(FundingSettled) == []
    clock.pass_s(SAMPLES // 4)
    assert [one.market for one in clock.desk.said(FundingSettled)] == [0, 1, 2, 3]


def test_an_isolated_position_pays_out_of_its_own_margin(clock: Clock) -> None:
    desk = clock.desk
    for user in (ANN, BEN):
        desk.deposit(user, "1000")
        desk.leverage(user, 10, cross=False)
    desk.pair(ANN, BEN, "10", "100")  # 100 of margin each
    desk.clearing.touched.clear()
    settled = clock.settle()
    # 10 * 100 * 0.0000125 = 0.0125
    assert (desk.margin(ANN), desk.margin(BEN)) == ("99.9875", "100.0125")
    assert (desk.balance(ANN), desk.balance(BEN)) == ("900.0", "900.0")
    said = desk.out[: desk.out.index(settled) + 3]
    assert said == [
        settled,
        LeverageChanged(ANN, 0, 10, False, parse("99.9875")),
        LeverageChanged(BEN, 0, 10, False, parse("100.0125")),
    ]
    assert desk.clearing.touched == {ANN, BEN}  # their margin is to be looked at


sizes = st.lists(st.integers(-(10**6), 10**6).filter(bool), min_size=1, max_size=4)


@given(sizes, st.integers(1, 10**8), st.sampled_from((0, 10**6, -(10**6), 10**7, 123_457)))
def test_funding_makes_no_money(lots: list[int], oracle: int, premium: int) -> None:
    desk = Desk()
    clock = Clock(desk)
    for user, size in zip((ANN, BEN, CAT, DAN), lots, strict=False):
        desk.clearing.leg(user, 1, None, 0, size * AAA.lot, SCALE, 0)
        desk.clearing.leg(EVE, 1, None, 0, -size * AAA.lot, SCALE, 0)
    premiums = clock.funding.premiums[0]
    premiums.total, premiums.samples = premium * 3, 3
    clock.funding._settle(0, oracle * AAA.grid)
    assert desk.exchange.total() == 0
    assert 0 <= desk.clearing.account(VAULT).balance <= len(lots) + 1
