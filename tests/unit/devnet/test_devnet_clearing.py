"""Margin of accounts, leverage, isolated margin and transfers, worked by hand."""

from typing import TypeVar

import pytest

from sidecar.devnet.execution.actions import (
    DONE,
    Action,
    Deposit,
    Filled,
    Outcome,
    Place,
    Rested,
    Send,
    UpdateIsolatedMargin,
    UpdateLeverage,
    Withdraw,
)
from sidecar.devnet.execution.clearing import (
    FEES,
    MAKER_FEE,
    NO_FEE,
    TAKER_FEE,
    direction_of,
    fee_of,
)
from sidecar.devnet.execution.exchange import SUPPLY_MAX, Exchange
from sidecar.devnet.execution.markets import Market
from sidecar.devnet.execution.orders import GTC, IOC
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.fixed import SCALE, parse, to_text
from sidecar.node.transitions import ASK, BID, Fill, LedgerChanged, LeverageChanged

ANN, BEN, CAT, DAN, EVE = (name * 20 for name in (b"a", b"b", b"c", b"d", b"e"))
AAA = Market(0, "AAA", 100 * SCALE, 2, ((0, 20),))
BBB = Market(1, "BBB", 100 * SCALE, 2, ((0, 20),))
TIERED = Market(2, "TIERED", 100 * SCALE, 2, ((0, 50), (1_000 * SCALE, 20), (5_000 * SCALE, 10)))
STRICT = Market(3, "STRICT", 100 * SCALE, 2, ((0, 10),), only_isolated=True)

T = TypeVar("T")


class Desk:
    """An exchange in the middle of a block, oracles and marks at 100, and short words for it."""

    def __init__(self) -> None:
        self.exchange = Exchange("test", (AAA, BBB, TIERED, STRICT))
        self.clearing = self.exchange.clearing
        self.out = self.exchange.begin_block(1, 1_000)
        for market in self.exchange.markets:
            self.mark(market, "100")

    def mark(self, market: int, px: str) -> None:
        self.exchange.set_prices(market, parse(px), parse(px))

    def do(self, action: Action) -> Outcome:
        outcome = self.exchange.execute(action)
        assert not isinstance(outcome, list)
        return outcome

    def deposit(self, user: bytes, amount: str) -> None:
        assert self.do(Deposit(user, parse(amount))) is DONE

    def leverage(self, user: bytes, value: int, market: int = 0, *, cross: bool = True) -> None:
        assert self.do(UpdateLeverage(user, market, value, cross)) is DONE

    def pair(self, buyer: bytes, seller: bytes, sz: str, px: str, market: int = 0) -> None:
        """A trade without fees and without a book; nobody asks for margin."""
        self.clearing.leg(buyer, 1, None, market, parse(sz), parse(px), NO_FEE)
        self.clearing.leg(seller, 2, None, market, -parse(sz), parse(px), NO_FEE)

    def rest(self, user: bytes, side: int, sz: str, px: str, market: int = 0) -> None:
        outcome = self.do(Place(user, market, side, parse(px), parse(sz), GTC))
        assert isinstance(outcome, Rested)

    def take(self, user: bytes, side: int, sz: str, px: str, market: int = 0) -> None:
        outcome = self.do(Place(user, market, side, parse(px), parse(sz), IOC))
        assert isinstance(outcome, Filled)

    def balance(self, user: bytes) -> str:
        return to_text(self.clearing.account(user).balance)

    def margin(self, user: bytes, market: int = 0) -> str:
        return to_text(self.clearing.account(user).positions[market].margin)

    def said(self, kind: type[T]) -> list[T]:
        """Every transition of a kind since this was asked last for any kind."""
        found: list[T] = [one for one in self.out if isinstance(one, kind)]
        self.out.clear()
        return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("start", "end", "label"),
    [
        (0, 5, "Open Long"),
        (5, 6, "Open Long"),
        (0, -5, "Open Short"),
        (-5, -6, "Open Short"),
        (5, 4, "Close Long"),
        (5, 0, "Close Long"),
        (-5, -4, "Close Short"),
        (-5, 0, "Close Short"),
        (5, -1, "Long > Short"),
        (-5, 1, "Short > Long"),
    ],
)
def test_directions(start: int, end: int, label: str) -> None:
    assert direction_of(start, end) == label


@pytest.mark.parametrize(
    ("notional", "rate", "fee"),
    [
        ("30000", TAKER_FEE, "13.5"),  # 4.5 bp
        ("30000", MAKER_FEE, "4.5"),  # 1.5 bp
        ("15.997", TAKER_FEE, "0.00719865"),
        ("0.00002222", TAKER_FEE, "0"),  # 2222 * 0.00045 = 0.9999 units, down
        ("0.00002223", TAKER_FEE, "0.00000001"),
    ],
)
def test_fees(notional: str, rate: int, fee: str) -> None:
    assert fee_of(parse(notional), rate) == parse(fee)


def test_a_trade_through_the_book(desk: Desk) -> None:
    desk.deposit(ANN, "10000")
    desk.deposit(BEN, "10000")
    desk.rest(BEN, ASK, "50", "100")
    desk.take(ANN, BID, "30", "100")
    (fill,) = desk.said(Fill)
    assert fill.buyer is not None
    assert fill.seller is not None
    # 3000 yen: 1.35 of the taker, 0.45 of the maker.
    assert (fill.buyer.user, fill.buyer.fee, fill.buyer.direction) == (
        ANN,
        parse("1.35"),
        "Open Long",
    )
    assert (fill.seller.user, fill.seller.fee, fill.seller.direction) == (
        BEN,
        parse("0.45"),
        "Open Short",
    )
    assert fill.buyer.fee_token == fill.seller.fee_token == "JPY"
    desk.rest(BEN, BID, "50", "102")
    desk.take(ANN, ASK, "40", "102")
    (fill,) = desk.said(Fill)
    assert fill.seller is not None
    assert fill.seller.closed_pnl == parse("60")  # 30 * 2, then 10 short at 102
    assert (fill.seller.start_position, fill.seller.direction) == (parse("30"), "Long > Short")
    # Fees of 4080 yen: 1.836 and 0.612.
    assert desk.balance(ANN) == to_text(parse("10056.814"))  # 10000 - 1.35 + 60 - 1.836
    assert desk.balance(BEN) == to_text(parse("9938.938"))  # 10000 - 0.45 - 60 - 0.612
    assert desk.balance(FEES) == "4.248"
    assert desk.exchange.total() == parse("20000")


def test_standing_counts_cross_positions_only(desk: Desk) -> None:
    desk.deposit(ANN, "10000")
    desk.leverage(ANN, 10, market=0)
    desk.leverage(ANN, 5, market=2, cross=False)
    desk.pair(ANN, BEN, "100", "100", market=0)
    desk.pair(BEN, ANN, "50", "200", market=1)
    desk.pair(ANN, BEN, "10", "300", market=2)  # takes 3000 / 5 = 600 from the balance
    desk.mark(0, "103")  # worth 10,300: +300; initial 1,030; maintenance 10,300 / 40 = 257.5
    desk.mark(1, "210")  # worth 10,500: -500; initial at 20x 525; maintenance 262.5
    desk.mark(2, "290")  # -100
    account = desk.clearing.account(ANN)
    standing = desk.clearing.standing(account)
    assert standing.value == parse("9200")  # 9400 + 300 - 500
    assert (standing.initial, standing.maintenance) == (parse("1555"), parse("520"))
    assert standing.notional == parse("20800")
    assert desk.clearing.account_value(account) == parse("9700")  # 9200 + 600 - 100
    assert desk.clearing.withdrawable(account) == parse("7120")  # a tenth of the notional stays
    desk.leverage(ANN, 5, market=0)
    desk.leverage(ANN, 5, market=1)
    assert desk.clearing.withdrawable(account) == parse("5040")  # 9200 - 2060 - 2100


def test_nothing_is_withdrawable_from_an_account_that_owes(desk: Desk) -> None:
    desk.pair(ANN, BEN, "10", "100")
    desk.mark(0, "90")
    assert desk.clearing.withdrawable(desk.clearing.account(ANN)) == 0


@pytest.mark.parametrize(
    ("start", "px", "most"),
    [
        # 10x, mark 100, balance 100, fee 4.5 bp. For n bought: 100 >= 10 n + 0.045 n
        ("0", "100", "9.95"),
        # bought at 101: the loss of 1 counts: 100 >= 10 n + n + 0.04545 n
        ("0", "101", "9.05"),
        # bought at 99: the gain too: 100 >= 10 n - n + 0.04455 n
        ("0", "99", "11.05"),
        # 5 are held: 100 >= 10 (5 + n) + 0.045 n
        ("5", "100", "4.97"),
        # 5 are short, n = 5 + m: 100 >= 10 m + 0.045 (5 + m), so m <= 9.9328
        ("-5", "100", "14.93"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_cross_trade(desk: Desk, start: str, px: str, most: str, sign: int) -> None:
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10)
    if parse(start):
        desk.clearing.leg(ANN, 1, None, 0, sign * parse(start), parse("100"), NO_FEE)
    px_units = parse("100") + sign * (parse(px) - parse("100"))  # as bad for a seller
    for sz, fits in ((parse(most), True), (parse(most) + AAA.lot, False)):
        assert desk.clearing.can_trade(ANN, 0, sign * sz, px_units, TAKER_FEE) is fits


def test_without_a_fee_the_whole_balance_is_margin(desk: Desk) -> None:
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10)
    assert desk.clearing.can_trade(ANN, 0, parse("10"), parse("100"), NO_FEE)
    assert not desk.clearing.can_trade(ANN, 0, parse("10.01"), parse("100"), NO_FEE)


@pytest.mark.parametrize("cross", [True, False])
def test_reducing_takes_no_margin_but_turning_does(desk: Desk, cross: bool) -> None:
    desk.leverage(ANN, 10, cross=cross)
    desk.pair(ANN, BEN, "5", "100")
    can_trade = desk.clearing.can_trade
    assert can_trade(ANN, 0, -parse("1"), parse("100"), TAKER_FEE)
    assert can_trade(ANN, 0, -parse("5"), parse("100.01"), TAKER_FEE)
    assert not can_trade(ANN, 0, -parse("5"), parse("99.99"), TAKER_FEE)  # she has nothing
    assert not can_trade(ANN, 0, -parse("5.01"), parse("100"), TAKER_FEE)
    assert not can_trade(ANN, 0, parse("0.01"), parse("100"), TAKER_FEE)
    assert not can_trade(EVE, 0, parse("0.01"), parse("100"), TAKER_FEE)  # nobody knows her


@pytest.mark.parametrize(("px", "can"), [("98.05", True), ("98.04", False)])
@pytest.mark.parametrize("cross", [True, False])
def test_reducing_may_not_cost_more_than_the_account_has(
    desk: Desk, cross: bool, px: str, can: bool
) -> None:
    """10 yen, 5 long at 100, the mark at 100. Selling 5 at p leaves 10 - 5 * (100 - p) less a fee
    of 5 p * 0.00045: at 98.05 it is 10 - 9.75 - 0.2206 = 0.0294, at 98.04 10 - 9.8 - 0.2206 < 0.
    """
    desk.deposit(ANN, "10")
    desk.leverage(ANN, 10, cross=cross)
    desk.pair(ANN, BEN, "5", "100")
    assert desk.clearing.can_trade(ANN, 0, -parse("5"), parse(px), TAKER_FEE) == can


def test_other_positions_keep_their_margin(desk: Desk) -> None:
    """100 long of another market at 20x keep 500 of 600: 100 >= 10.045 n again."""
    desk.deposit(ANN, "600")
    desk.leverage(ANN, 10)
    desk.pair(ANN, BEN, "100", "100", market=1)
    assert desk.clearing.can_trade(ANN, 0, parse("9.95"), parse("100"), TAKER_FEE)
    assert not desk.clearing.can_trade(ANN, 0, parse("9.96"), parse("100"), TAKER_FEE)


def test_the_largest_isolated_trade(desk: Desk) -> None:
    """10x and 100 of balance: 100 >= 10 n + 0.045 n; with 5 of them open, 50 of it is left."""
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10, cross=False)
    can_trade = desk.clearing.can_trade
    assert can_trade(ANN, 0, parse("9.95"), parse("100"), TAKER_FEE)
    assert not can_trade(ANN, 0, parse("9.96"), parse("100"), TAKER_FEE)
    desk.pair(ANN, BEN, "5", "100")
    assert can_trade(ANN, 0, parse("4.97"), parse("100"), TAKER_FEE)  # 49.92365 <= 50
    assert not can_trade(ANN, 0, parse("4.98"), parse("100"), TAKER_FEE)  # 50.0241
    desk.mark(0, "120")  # the isolated profit is no margin for more
    assert not can_trade(ANN, 0, parse("4.98"), parse("100"), TAKER_FEE)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_isolated_trade_at_a_price_that_ruins_it_at_once_is_refused(
    desk: Desk, sign: int
) -> None:
    """1 bought at 150 with 15 of margin would be worth 15 - 50: somebody else would pay 35."""
    desk.deposit(ANN, "40")
    desk.leverage(ANN, 10, cross=False)
    px = parse("100") + sign * parse("50")
    assert not desk.clearing.can_trade(ANN, 0, sign * SCALE, px, TAKER_FEE)


def test_isolated_margin_is_rounded_up_in_and_down_out(desk: Desk) -> None:
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 3, cross=False)
    desk.pair(ANN, BEN, "0.01", "100")
    assert desk.margin(ANN) == "0.33333334"  # 1 / 3, up
    desk.pair(ANN, BEN, "0.02", "100")
    assert desk.margin(ANN) == "1.00000001"  # 2 / 3, up, more
    desk.pair(BEN, ANN, "0.01", "100")
    assert desk.margin(ANN) == "0.66666668"  # a third of it, 0.33333333 (down), comes back
    assert desk.balance(ANN) == "99.33333332"
    desk.pair(BEN, ANN, "0.02", "130")
    assert desk.balance(ANN) == "100.6"  # all of it, and 0.02 * 30
    assert desk.clearing.account(ANN).positions == {}


def test_an_isolated_position_that_turns_changes_its_margin(desk: Desk) -> None:
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10, cross=False)
    desk.pair(ANN, BEN, "5", "100")
    assert (desk.balance(ANN), desk.margin(ANN)) == ("50.0", "50.0")
    desk.pair(BEN, ANN, "8", "101")
    # 50 come back, 5 are gained, 3 * 101 / 10 go.
    assert (desk.balance(ANN), desk.margin(ANN)) == ("74.7", "30.3")


def test_every_change_of_an_isolated_margin_is_said_behind_its_fill(desk: Desk) -> None:
    desk.deposit(ANN, "10000")
    desk.deposit(BEN, "10000")
    desk.leverage(ANN, 10, cross=False)
    desk.rest(BEN, ASK, "100", "100")
    desk.rest(BEN, ASK, "100", "101")
    desk.out.clear()
    desk.take(ANN, BID, "150", "101")
    desk.rest(BEN, BID, "150", "100.5")
    desk.take(ANN, ASK, "50", "100.5")
    desk.take(ANN, ASK, "100", "100.5")
    heard = [one for one in desk.out if isinstance(one, (Fill, LeverageChanged))]
    assert [type(one) for one in heard] == [Fill, LeverageChanged] * 4
    # 100 * 100 / 10; 50 * 101 / 10 more; a third less, 501.66666666 rounded down; nothing.
    assert heard[1::2] == [
        LeverageChanged(ANN, 0, 10, False, parse(margin))
        for margin in ("1000", "1505", "1003.33333334", "0")
    ]


@pytest.mark.parametrize(
    ("market", "value", "cross"),
    [(0, 0, True), (0, -1, False), (0, 21, True), (0, 21, False), (3, 5, True), (3, 11, False)],
)
def test_leverages_that_are_refused(desk: Desk, market: int, value: int, cross: bool) -> None:
    desk.deposit(ANN, "100")
    with pytest.raises(ActionRefused):
        desk.do(UpdateLeverage(ANN, market, value, cross))
    assert desk.clearing.account(ANN).leverages == {}
    assert desk.said(LeverageChanged) == []


def test_where_nothing_is_said_leverage_is_20_or_the_highest_allowed(desk: Desk) -> None:
    account = desk.clearing.account(ANN)
    got = [desk.clearing.leverage(account, market) for market in range(4)]
    assert [(one.value, one.is_cross) for one in got] == [
        (20, True),
        (20, True),
        (20, True),
        (10, False),
    ]


def test_the_type_is_not_switched_under_a_position(desk: Desk) -> None:
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10, cross=False)
    desk.leverage(ANN, 10, cross=True)
    desk.pair(ANN, BEN, "1", "100")
    with pytest.raises(ActionRefused, match="Cannot switch leverage type with open position"):
        desk.do(UpdateLeverage(ANN, 0, 10, is_cross=False))
    desk.pair(BEN, ANN, "1", "100")
    desk.leverage(ANN, 10, cross=False)


def test_leverage_of_a_cross_position(desk: Desk) -> None:
    """500 of notional: 50 of margin at 10x, 100 at 5x, which is all there is, 125 at 4x."""
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10)
    desk.pair(ANN, BEN, "5", "100")
    desk.leverage(ANN, 5)
    with pytest.raises(ActionRefused, match="Insufficient margin to decrease leverage"):
        desk.do(UpdateLeverage(ANN, 0, 4, is_cross=True))
    assert desk.clearing.standing(desk.clearing.account(ANN)).initial == parse("100")
    desk.mark(0, "90")  # 50 left and 90 of it needed: raising is always possible
    desk.leverage(ANN, 20)
    assert desk.clearing.standing(desk.clearing.account(ANN)).initial == parse("22.5")
    assert [(one.leverage, one.isolated_margin) for one in desk.said(LeverageChanged)] == [
        (10, 0),
        (5, 0),
        (20, 0),
    ]


def test_a_lower_leverage_of_an_isolated_position_takes_margin(desk: Desk) -> None:
    desk.deposit(ANN, "100")
    desk.leverage(ANN, 10, cross=False)
    desk.pair(ANN, BEN, "5", "100")
    desk.mark(0, "102")  # notional 510, profit 10
    desk.out.clear()
    desk.leverage(ANN, 8, cross=False)  # 63.75 - 50 - 10 = 3.75 more
    assert (desk.balance(ANN), desk.margin(ANN)) == ("46.25", "53.75")
    desk.leverage(ANN, 5, cross=False)  # 102 - 53.75 - 10 = 38.25 more
    assert (desk.balance(ANN), desk.margin(ANN)) == ("8.0", "92.0")
    with pytest.raises(ActionRefused, match="Insufficient margin"):  # 127.5 - 92 - 10 = 25.5
        desk.do(UpdateLeverage(ANN, 0, 4, is_cross=False))
    desk.leverage(ANN, 20, cross=False)  # gives nothing back
    assert (desk.balance(ANN), desk.margin(ANN)) == ("8.0", "92.0")
    assert desk.said(LeverageChanged) == [
        LeverageChanged(ANN, 0, value, False, parse(margin))
        for value, margin in ((8, "53.75"), (5, "92"), (20, "92"))
    ]


def test_a_large_position_has_the_leverage_of_its_tier(desk: Desk) -> None:
    desk.deposit(ANN, "10000")
    desk.leverage(ANN, 50, market=2)
    desk.leverage(ANN, 10, market=2)
    desk.pair(ANN, BEN, "20", "100", market=2)  # 2000, in the tier of 20x
    with pytest.raises(ActionRefused, match="margin tier limit"):
        desk.do(UpdateLeverage(ANN, 2, 21, is_cross=True))
    desk.leverage(ANN, 20, market=2)
    desk.mark(2, "49.99")  # 999.80, in the tier of 50x
    desk.leverage(ANN, 50, market=2)


def test_isolated_margin_is_added_up_to_what_is_withdrawable(desk: Desk) -> None:
    """100 long at 20x keep a tenth, 1000: of 1500 - 25 of isolated margin, 475 may go."""
    desk.deposit(ANN, "1500")
    desk.leverage(ANN, 20, cross=False)
    desk.pair(ANN, BEN, "5", "100")
    desk.pair(ANN, BEN, "100", "100", market=1)
    desk.out.clear()
    with pytest.raises(ActionRefused, match="Insufficient balance"):
        desk.do(UpdateIsolatedMargin(ANN, 0, parse("475.00000001")))
    desk.do(UpdateIsolatedMargin(ANN, 0, parse("475")))
    assert (desk.balance(ANN), desk.margin(ANN)) == ("1000.0", "500.0")
    assert desk.said(LeverageChanged) == [LeverageChanged(ANN, 0, 20, False, parse("500"))]


@pytest.mark.parametrize(
    ("leverage", "mark", "most"),
    [
        # 5 at 100, and 200 of margin in all.
        (20, "100", "150"),  # a tenth of 500 stays, not 25
        (5, "100", "100"),  # the initial margin of 100 stays
        (20, "110", "195"),  # 200 + 50 of profit, less 55
        (20, "90", "105"),  # 200 - 50, less 45
    ],
)
def test_isolated_margin_is_removed_down_to_a_tenth_or_the_initial_one(
    desk: Desk, leverage: int, mark: str, most: str
) -> None:
    desk.deposit(ANN, "1000")
    desk.leverage(ANN, leverage, cross=False)
    desk.pair(ANN, BEN, "5", "100")
    desk.do(UpdateIsolatedMargin(ANN, 0, parse("200") - parse("500") // leverage))
    desk.mark(0, mark)
    with pytest.raises(ActionRefused, match="Insufficient isolated margin"):
        desk.do(UpdateIsolatedMargin(ANN, 0, -parse(most) - 1))
    desk.do(UpdateIsolatedMargin(ANN, 0, -parse(most)))
    assert parse(desk.margin(ANN)) == parse("200") - parse(most)
    assert parse(desk.balance(ANN)) == parse("800") + parse(most)


def test_isolated_margin_needs_an_isolated_position(desk: Desk) -> None:
    desk.deposit(ANN, "1000")
    desk.pair(ANN, BEN, "5", "100", market=0)
    desk.leverage(ANN, 5, market=1, cross=False)
    for market in (0, 1):
        with pytest.raises(ActionRefused, match="No isolated position"):
            desk.do(UpdateIsolatedMargin(ANN, market, parse("1")))


@pytest.mark.parametrize(("leverage", "most"), [(20, "800"), (5, "600")])
def test_what_may_leave_an_account(desk: Desk, leverage: int, most: str) -> None:
    """1000 and 20 long at 100: a tenth, 200, stays (100 is the margin at 20x); at 5x 400 does."""
    for user in (ANN, BEN):
        desk.deposit(user, "1000")
        desk.leverage(user, leverage)
    desk.pair(ANN, CAT, "20", "100")
    desk.pair(BEN, CAT, "20", "100")
    desk.out.clear()
    for amount in (parse(most) + 1, 0, -1):
        with pytest.raises(ActionRefused):
            desk.do(Withdraw(ANN, amount))
        with pytest.raises(ActionRefused):
            desk.do(Send(BEN, DAN, amount))
    assert DAN not in desk.clearing.accounts
    desk.do(Withdraw(ANN, parse(most)))
    assert desk.said(LedgerChanged) == [LedgerChanged(ANN, "withdraw", -parse(most))]
    desk.do(Send(BEN, DAN, parse(most)))
    details = {"user": BEN, "destination": DAN}
    assert desk.said(LedgerChanged) == [
        LedgerChanged(BEN, "internalTransfer", -parse(most), details),
        LedgerChanged(DAN, "internalTransfer", parse(most), details),
    ]
    assert parse(desk.balance(DAN)) == parse(most)
    assert desk.exchange.total() == parse("2000") - parse(most)


def test_nobody_sends_to_themselves(desk: Desk) -> None:
    desk.deposit(ANN, "10")
    with pytest.raises(ActionRefused, match="oneself"):
        desk.do(Send(ANN, ANN, 1))


def test_what_all_accounts_can_own(desk: Desk) -> None:
    """So that whoever wins it all still fits 64 bits."""
    for amount in (0, -1, SUPPLY_MAX + 1):
        with pytest.raises(ActionRefused):
            desk.do(Deposit(ANN, amount))
    desk.do(Deposit(ANN, SUPPLY_MAX - 1))
    assert desk.said(LedgerChanged) == [LedgerChanged(ANN, "deposit", SUPPLY_MAX - 1)]
    desk.do(Deposit(BEN, 1))
    with pytest.raises(ActionRefused, match="no more money"):
        desk.do(Deposit(CAT, 1))
    desk.do(Withdraw(ANN, 5))
    desk.do(Deposit(CAT, 5))
