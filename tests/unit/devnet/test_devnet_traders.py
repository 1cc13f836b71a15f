"""The population makes a market worth watching: deep books, trades, and every kind of refusal."""

from collections import Counter
from random import Random

from sidecar.devnet.book import Book
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.makers import QUOTES, Maker, address
from sidecar.devnet.markets import MARKETS, validate_px, validate_sz
from sidecar.devnet.orders import ALO, Place
from sidecar.devnet.prices import FairPrices
from sidecar.devnet.takers import Taker
from sidecar.devnet.traders import Traders
from sidecar.node.transitions import ASK, BID, Fill, OrderStatus

PX = {market.id: market.start_px for market in MARKETS}


def test_books_are_deep_after_a_few_blocks_and_stay_so() -> None:
    chain = Chain(DevnetConfig("unused"))
    for height in range(1, 401):
        chain.step(0)
        if height >= 8 and height % 4 == 0:
            for book in chain.exchange.books.values():
                assert all(len(list(book.prices(side))) > 20 for side in (BID, ASK))
                assert len(book.orders) < 600


def test_life_is_varied() -> None:
    chain = Chain(DevnetConfig("unused"))
    statuses, traded = Counter[str](), Counter[int]()
    labels: set[str] = set()
    for _ in range(300):
        block = chain.step(0)
        statuses.update(t.status for t in block.transitions if isinstance(t, OrderStatus))
        fills = [t for t in block.transitions if isinstance(t, Fill)]
        traded.update({fill.market for fill in fills})
        labels.update(leg.direction for fill in fills for leg in (fill.buyer, fill.seller) if leg)
    assert set(statuses) == {
        "open",
        "filled",
        "canceled",
        "selfTradeCanceled",
        "badAloPxRejected",
        "iocCancelRejected",
        "tickRejected",
    }
    assert min(traded.values()) > 150  # of 300 blocks, in every market
    assert labels == {
        "Open Long",
        "Open Short",
        "Close Long",
        "Close Short",
        "Long > Short",
        "Short > Long",
    }


def test_the_burst_profile_makes_thousands_of_transitions() -> None:
    chain = Chain(DevnetConfig("unused", burst=True))
    sizes = [len(chain.step(0).transitions) for _ in range(8)]
    assert all(size > 1_000 for size in sizes[1:])
    assert sum(sizes) / len(sizes) > 3_000


def test_about_as_many_actions_as_asked_for() -> None:
    books = {market.id: Book() for market in MARKETS}
    traders = Traders(1, {market.id: market for market in MARKETS}, books)
    counts = [sum(1 for _ in traders.trade(40, PX)) for _ in range(200)]
    assert 19 <= min(counts) <= max(counts) <= 60
    assert 35 < sum(counts) / len(counts) < 45
    assert list(traders.trade(0, PX)) == []
    assert list(traders.open(99, PX)) == []


def test_a_maker_opens_with_a_whole_ladder() -> None:
    market = MARKETS[0]
    quotes = list(Maker(0, Random(1)).turn(market, Book(), market.start_px))
    assert len(quotes) == 2 * QUOTES
    for quote in quotes:
        assert isinstance(quote, Place)
        assert quote.tif == ALO
        assert quote.user == address("maker", 0)
        assert validate_px(market, quote.px) is None
        assert validate_sz(market, quote.sz) is None
        assert (quote.px < market.start_px) == (quote.side == BID)
    assert (
        len({(quote.side, quote.px) for quote in quotes if isinstance(quote, Place)}) == 2 * QUOTES
    )


def test_takers_wait_for_a_book() -> None:
    market = MARKETS[0]
    assert list(Taker(0, Random(1)).turn(market, Book(), market.start_px)) == []


def test_prices_walk_the_same_way_for_the_same_seed_and_stay_plausible() -> None:
    walks = [FairPrices(seed, MARKETS) for seed in (5, 5, 6)]
    for _ in range(20_000):
        for walk in walks:
            walk.step()
    assert walks[0].px == walks[1].px != walks[2].px
    for market in MARKETS:
        px = walks[0].px[market.id]
        assert px != market.start_px
        assert abs(px - market.start_px) < market.start_px // 3


def test_addresses_are_20_bytes_and_distinct() -> None:
    addresses = [address(kind, number) for kind in ("maker", "taker") for number in range(30)]
    assert {len(one) for one in addresses} == {20}
    assert len(set(addresses)) == 60
