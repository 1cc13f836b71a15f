"""Impact prices, premium and rate against the chain's own formulas, and by hand."""

import pytest

from account_case import crash_chain
from blocks import ALICE, PX, ask, bid, state_of
from sidecar.devnet.execution.funding import IMPACT_NOTIONAL as CHAINS
from sidecar.devnet.execution.funding import impact_px as chains_impact_px
from sidecar.fixed import SCALE
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import ASK, BID, BookAdded, MarketListed, PricesUpdated
from sidecar.state.chain import ChainState
from sidecar.state.impact import IMPACT_NOTIONAL, hourly_rate, impact_px, premium


def test_impact_prices_are_the_chains() -> None:
    assert IMPACT_NOTIONAL == CHAINS
    chain, state, compared = crash_chain(), ChainState(), 0
    for _ in range(80):
        state.apply(decode_block(encode_block(chain.step())))
        for market in state.markets.values():
            book = chain.exchange.matching.books[market.id]
            for side in (BID, ASK):
                theirs = chains_impact_px(book.queue(side), CHAINS)
                assert (impact_px(market, side) or 0) == theirs
                compared += theirs > 0
    assert compared > 500


def test_one_level_is_its_price_and_a_thin_book_has_none() -> None:
    state = state_of(bid(1, 90, 100_000), ask(2, 110, 100), PricesUpdated(((1, 100 * PX, PX),)))
    market = state.markets[1]
    assert impact_px(market, BID) == 90 * PX
    assert impact_px(market, ASK) is None
    assert premium(market) is None


def test_premium_is_of_the_oracle() -> None:
    state = state_of(
        bid(1, 102, 100_000), ask(2, 110, 100_000), PricesUpdated(((1, 100 * PX, PX),))
    )
    assert premium(state.markets[1]) == 2 * SCALE // 100


def test_dollars_where_the_rules_are_not_known() -> None:
    state = state_of(
        MarketListed(8, "BTC"), MarketListed(9, "DOGE"), bid(1, 100, 70, 8), bid(2, 100, 70, 9)
    )
    assert impact_px(state.markets[8], BID) is None
    assert impact_px(state.markets[9], BID) == 100 * PX


@pytest.mark.parametrize(
    ("of_premium", "rate"),
    [
        (0, 1_250),
        (10_000, 1_250),
        (100_000, 6_250),
        (-100_000, -6_250),
        (SCALE, 4_000_000),
        (60_004, 1_250),
        (60_012, 1_252),
    ],
)
def test_the_rate_of_an_hour(of_premium: int, rate: int) -> None:
    assert hourly_rate(of_premium) == rate
    assert isinstance(hourly_rate(of_premium), int)


@pytest.mark.parametrize(("symbol", "sz"), [("BTC", 200), ("ETH", 200), ("DOGE", 60)])
def test_a_book_that_holds_just_the_impact_notional_has_an_impact_price(
    symbol: str, sz: int
) -> None:
    for less in (0, 1):
        added = BookAdded(8, 1, ALICE, BID, 100 * PX, sz * PX - less)
        state = state_of(MarketListed(8, symbol), added)
        assert impact_px(state.markets[8], BID) == (None if less else 100 * PX)


def premium_of(bid_px: int, ask_px: int, oracle_px: int) -> int | None:
    sz = 10**6 * PX
    sides = (BookAdded(1, 1, ALICE, BID, bid_px, sz), BookAdded(1, 2, ALICE, ASK, ask_px, sz))
    return premium(state_of(*sides, PricesUpdated(((1, oracle_px, PX),))).markets[1])


def test_a_premium_is_of_what_is_beyond_the_oracle_price() -> None:
    assert premium_of(88 * PX, 90 * PX, 100 * PX) == -10 * SCALE // 100
    assert premium_of(PX, 2 * PX, PX) == 0
    assert premium_of(PX, 2 * PX, 2 * PX) == 0


def test_a_premium_is_rounded_to_the_even() -> None:
    assert premium_of(2 * PX + 1, 3 * PX, 2 * PX) == 0
    assert premium_of(2 * PX + 3, 3 * PX, 2 * PX) == 2


def test_there_is_no_premium_without_an_oracle_price_or_a_side() -> None:
    assert premium_of(PX, 2 * PX, 0) is None
    prices = PricesUpdated(((1, 100 * PX, PX),))
    for side in (bid(1, 90, 100_000), ask(2, 110, 100_000)):
        assert premium(state_of(side, prices).markets[1]) is None
