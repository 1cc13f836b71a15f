"""What is said of a market beside its book."""

from sidecar.limits import RECENT_TRADES
from sidecar.node.transitions import ASK, BID, MarketListed
from sidecar.state.book import Order
from sidecar.state.faults import Fault
from sidecar.state.market import Market

USER = b"u" * 20


def market_of(*orders: tuple[int, int]) -> Market:
    """With orders of these sides and prices."""
    market = Market(MarketListed(7, "TOYOTA", 2, 20))
    for oid, (side, px) in enumerate(orders):
        market.book.append(Order(oid, USER, side, px, 5, 0))
    return market


def test_a_new_market_has_had_nothing() -> None:
    market = market_of()
    assert (market.id, market.symbol, market.listing.max_leverage) == (7, "TOYOTA", 20)
    assert (market.oracle_px, market.mark_px, market.fault) == (0, 0, None)
    assert (market.trades_height, market.levels_height, market.orders_height) == (0, 0, 0)
    assert (len(market.trades), market.trades.maxlen) == (0, RECENT_TRADES)
    assert market.candles.running("1m") is None
    assert market.context.day(10**18) == (0, 0, None)


def test_the_middle_is_rounded_down() -> None:
    assert market_of((BID, 100), (BID, 99), (ASK, 103), (ASK, 104)).mid_px() == 101
    assert market_of((BID, 100), (ASK, 104)).mid_px() == 102


def test_there_is_no_middle_without_both_sides_or_of_a_wrong_book() -> None:
    assert market_of((BID, 100)).mid_px() is None
    assert market_of((ASK, 100)).mid_px() is None
    market = market_of((BID, 100), (ASK, 104))
    market.fault = Fault(5, "the node checks its book")
    assert market.mid_px() is None
