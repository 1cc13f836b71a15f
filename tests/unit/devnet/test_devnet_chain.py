"""The chain follows from its config alone, and says the truth about itself."""

import msgspec
import pytest

from sidecar.devnet.chain import CHECK_BLOCKS, GENESIS_NS, PRICES_BLOCKS, Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.errors import ConfigInvalid
from sidecar.limits import RECENT_TRADES
from sidecar.node.log import decode_block, encode_block
from sidecar.node.snapshot import MarketRow, TradeRow
from sidecar.node.transitions import BookCheck, Fill, MarketListed, OrderStatus, PricesUpdated

CONFIG = DevnetConfig("unused", seed=3)


def encoded(config: DevnetConfig, blocks: int) -> list[bytes]:
    chain = Chain(config)
    return [encode_block(chain.step(height)) for height in range(1, blocks + 1)]


def test_the_same_seed_makes_the_same_bytes() -> None:
    blocks = encoded(CONFIG, 150)
    assert blocks == encoded(DevnetConfig("elsewhere", seed=3, snapshot_blocks=7), 150)
    assert blocks != encoded(DevnetConfig("unused", seed=4), 150)


def test_written_ns_goes_nowhere_else() -> None:
    one, other = Chain(CONFIG), Chain(CONFIG)
    for height in range(1, 30):
        block = msgspec.structs.replace(one.step(height), written_ns=0)
        assert block == other.step(0)


def test_a_block_survives_its_encoding() -> None:
    chain = Chain(CONFIG)
    for height in range(1, 60):
        block = chain.step(height)
        assert decode_block(encode_block(block)) == block


def test_genesis_lists_the_markets_and_prices_them() -> None:
    block = Chain(CONFIG).step(1)
    assert (block.height, block.time_ns) == (1, GENESIS_NS + 100_000_000)
    *listings, prices = block.transitions
    symbols = [listing.symbol for listing in listings if isinstance(listing, MarketListed)]
    assert symbols == ["TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO"]
    assert isinstance(prices, PricesUpdated)
    assert all(oracle_px == mark_px > 0 for _, oracle_px, mark_px in prices.prices)


def test_some_markets_only() -> None:
    chain = Chain(DevnetConfig("unused", markets=("NTT", "SONY")))
    for _ in range(20):
        block = chain.step(0)
        assert {t.market for t in block.transitions if isinstance(t, OrderStatus)} <= {1, 3}


def test_positions_sum_to_zero_and_books_are_sound() -> None:
    chain = Chain(CONFIG)
    for _ in range(300):
        chain.step(0)
        for market, book in chain.exchange.books.items():
            book.check_invariants()
            assert sum(chain.exchange.clearing.positions(market).values()) == 0
    assert all(chain.exchange.clearing.positions(market) for market in chain.exchange.books)


def test_start_positions_continue_one_another() -> None:
    chain = Chain(CONFIG)
    positions: dict[tuple[bytes, int], int] = {}
    for _ in range(200):
        for fill in chain.step(0).transitions:
            if not isinstance(fill, Fill):
                continue
            for leg, sign in ((fill.buyer, 1), (fill.seller, -1)):
                assert leg is not None
                key = (leg.user, fill.market)
                assert leg.start_position == positions.get(key, 0)
                positions[key] = leg.start_position + sign * fill.sz


def test_prices_and_checks_come_on_time() -> None:
    chain = Chain(CONFIG)
    for height in range(1, 61):
        transitions = chain.step(0).transitions
        assert any(isinstance(t, PricesUpdated) for t in transitions) == (
            height % PRICES_BLOCKS == 1
        )
        checks = [t.market for t in transitions if isinstance(t, BookCheck)]
        assert checks == (list(range(5)) if height % CHECK_BLOCKS == 0 else [])
        if checks:  # they speak of the whole block
            assert isinstance(transitions[-5], BookCheck)


def test_the_mark_price_lies_between_oracle_and_book() -> None:
    chain = Chain(CONFIG)
    for _ in range(51):
        chain.step(0)
    rows = [row for row in chain.snapshot_rows() if isinstance(row, MarketRow)]
    for row in rows:
        assert row.oracle_px > 0
        assert abs(row.mark_px - row.oracle_px) < row.oracle_px // 100


def test_an_untouched_market_says_so() -> None:
    chain = Chain(CONFIG)
    chain.step(0)
    rows = [row for row in chain.snapshot_rows() if isinstance(row, MarketRow)]
    assert [(row.trades_height, row.orders_height) for row in rows] == [(0, 0)] * 5


def test_a_snapshot_holds_the_newest_trades() -> None:
    chain = Chain(CONFIG)
    fills = []
    for _ in range(400):
        fills += [t for t in chain.step(0).transitions if isinstance(t, Fill) and t.market == 2]
    rows = [row.fill for row in chain.snapshot_rows() if isinstance(row, TradeRow)]
    assert [fill for fill in rows if fill.market == 2] == fills[-RECENT_TRADES:]
    header = chain.snapshot_header()
    assert (header.chain, header.height, header.time_ns) == ("devnet-3", 400, chain.time_ns)


def test_the_clock_can_be_set_forward_only() -> None:
    chain = Chain(CONFIG)
    chain.step(0)
    chain.set_time(GENESIS_NS + 5 * 10**9)
    assert chain.step(0).time_ns == GENESIS_NS + 5 * 10**9
    chain.set_time(GENESIS_NS)
    assert chain.step(0).time_ns == GENESIS_NS + 5 * 10**9 + 10**8


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"block_ms": 0}, "block_ms"),
        ({"snapshot_blocks": 0}, "snapshot_blocks"),
        ({"segment_blocks": 0}, "segment_blocks"),
        ({"actions_per_block": -1}, "actions_per_block"),
        ({"blocks": -1}, "blocks"),
        ({"markets": ()}, "markets"),
        ({"markets": ("NTT", "NTT")}, "markets"),
        ({"markets": ("DOGE",)}, "'DOGE'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        DevnetConfig("unused", **settings)  # type: ignore[arg-type]
