"""The population makes a market worth watching: deep books, trades, and every kind of refusal."""

from collections import Counter
from random import Random

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.actions import Place
from sidecar.devnet.execution.book import Book
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.markets import MARKETS, validate_px, validate_sz
from sidecar.devnet.execution.orders import ALO
from sidecar.devnet.execution.prices import Oracle
from sidecar.devnet.traders.crowd import Traders
from sidecar.devnet.traders.makers import QUOTES, Maker, address
from sidecar.devnet.traders.takers import Taker
from sidecar.node.transitions import (
    ASK,
    BID,
    AccountCheck,
    AgentApproved,
    Fill,
    FundingSettled,
    LedgerChanged,
    LeverageChanged,
    OrderStatus,
    Transition,
)


def test_books_are_deep_but_for_the_moment_after_a_jump() -> None:
    chain, thin = Chain(DevnetConfig("unused")), 0
    for height in range(1, 601):
        chain.step()
        books = chain.exchange.books.values()
        assert all(len(book.orders) < 700 for book in books)
        if height >= 8:
            prices = [len(list(book.prices(side))) for book in books for side in (BID, ASK)]
            thin += min(prices) <= 20
    assert thin < 12


def test_life_is_varied() -> None:
    chain = Chain(DevnetConfig("unused"))
    statuses, traded = Counter[str](), Counter[int]()
    labels: set[str] = set()
    for _ in range(300):
        block = chain.step()
        statuses.update(t.status for t in block.transitions if isinstance(t, OrderStatus))
        fills = [t for t in block.transitions if isinstance(t, Fill)]
        traded.update({fill.market for fill in fills})
        labels.update(leg.direction for fill in fills for leg in (fill.buyer, fill.seller) if leg)
    assert set(statuses) >= {
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


def test_a_minute_shows_everything() -> None:
    """What every channel and account view is about happens within 600 blocks of the demo."""
    seen: set[type[Transition]] = set()
    statuses: set[str] = set()
    methods: set[str] = set()
    chain = Chain(DevnetConfig("unused", funding_ms=30_000))
    for _ in range(600):
        for one in chain.step().transitions:
            seen.add(type(one))
            if isinstance(one, OrderStatus):
                statuses.add(one.status)
            elif isinstance(one, Fill) and one.buyer is not None and one.buyer.liquidation:
                methods.add(one.buyer.liquidation.method)
    assert seen > {FundingSettled, LedgerChanged, LeverageChanged, AgentApproved, AccountCheck}
    assert statuses > {"triggered", "siblingFilledCanceled", "scheduledCancel"}
    assert methods


def test_the_burst_profile_makes_thousands_of_transitions() -> None:
    chain = Chain(DevnetConfig("unused", burst=True))
    sizes = [len(chain.step().transitions) for _ in range(8)]
    assert all(size > 1_000 for size in sizes[1:])
    assert sum(sizes) / len(sizes) > 3_000


def test_about_as_many_actions_as_asked_for() -> None:
    config = DevnetConfig("unused")
    exchange, oracle = Exchange(config.chain, MARKETS), Oracle(1, MARKETS)
    for market in MARKETS:
        exchange.set_prices(market.id, market.start_px, market.start_px)
    traders = Traders(config, exchange)
    counts = [sum(1 for _ in traders.trade(40, oracle)) for _ in range(200)]
    assert 19 <= min(counts) <= max(counts) <= 60
    assert 35 < sum(counts) / len(counts) < 45
    assert list(traders.trade(0, oracle)) == []
    assert list(traders.open(99, oracle)) == []


def test_as_many_traders_as_asked_for() -> None:
    config = DevnetConfig("unused", makers=2, takers=3, gamblers=0)
    chain = Chain(config)
    for _ in range(30):
        chain.step()
    traded = {
        account.user for account in chain.exchange.clearing.accounts.values() if account.positions
    }
    known = {address("maker", number) for number in range(2)}
    known |= {address("taker", number) for number in range(3)}
    assert traded == known


def test_purses_are_evened_out() -> None:
    """Losers are given what they lost, winners take their surplus home; so a chain goes on."""
    chain = Chain(DevnetConfig("unused", actions_per_block=0))
    chain.step()
    clearing = chain.exchange.clearing
    poor, rich = address("taker", 0), address("taker", 1)
    start = clearing.account(poor).balance
    clearing.account(poor).balance = start // 3
    clearing.account(rich).balance = 3 * start
    for _ in range(60):
        chain.step()
    assert clearing.account(poor).balance == clearing.account(rich).balance == start


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


def test_addresses_are_20_bytes_and_distinct() -> None:
    addresses = [address(kind, number) for kind in ("maker", "taker") for number in range(30)]
    assert {len(one) for one in addresses} == {20}
    assert len(set(addresses)) == 60
