"""The chain follows from its config alone, and says the truth about itself."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.devnet.chain import CHECK_BLOCKS, GENESIS_NS, Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.devnet.saved import restore, save
from sidecar.errors import ConfigInvalid
from sidecar.limits import RECENT_TRADES
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import MarketRow, TradeRow
from sidecar.node.transitions import (
    AccountCheck,
    AgentApproved,
    BookCheck,
    Fill,
    LedgerChanged,
    MarketListed,
    OrderStatus,
    PricesUpdated,
)

CONFIG = DevnetConfig("unused", seed=3)


def encoded(config: DevnetConfig, blocks: int) -> list[bytes]:
    chain = Chain(config)
    return [encode_block(chain.step()) for _ in range(blocks)]


def test_the_same_seed_makes_the_same_bytes() -> None:
    blocks = encoded(CONFIG, 150)
    assert blocks == encoded(DevnetConfig("elsewhere", seed=3, snapshot_blocks=7), 150)
    assert blocks != encoded(DevnetConfig("unused", seed=4), 150)


def test_written_ns_goes_nowhere_else() -> None:
    one, other = Chain(CONFIG), Chain(CONFIG)
    for height in range(1, 30):
        block = msgspec.structs.replace(one.step(written_ns=height), written_ns=0)
        assert block == other.step()


def test_a_block_survives_its_encoding() -> None:
    chain = Chain(CONFIG)
    for height in range(1, 60):
        block = chain.step(written_ns=height)
        assert decode_block(encode_block(block)) == block


def test_genesis_lists_the_markets_and_prices_them() -> None:
    block = Chain(CONFIG).step()
    assert (block.height, block.time_ns) == (1, GENESIS_NS + 100_000_000)
    *first, prices = block.transitions
    symbols = [listing.symbol for listing in first if isinstance(listing, MarketListed)]
    assert symbols == ["TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO"]
    kinds = [type(one) for one in first[5:]]
    assert kinds == [LedgerChanged] * 47 + [AgentApproved] * 6  # the vault and 46 traders
    assert isinstance(prices, PricesUpdated)
    assert all(oracle_px == mark_px > 0 for _, oracle_px, mark_px in prices.prices)


def test_some_markets_only() -> None:
    chain = Chain(DevnetConfig("unused", markets=("NTT", "SONY")))
    for _ in range(20):
        block = chain.step()
        assert {t.market for t in block.transitions if isinstance(t, OrderStatus)} <= {1, 3}


CALM = DevnetConfig("unused", seed=3)
STORMY = DevnetConfig(
    "unused",
    seed=5,
    prices_blocks=1,
    funding_ms=5_000,
    actions_per_block=60,
    moves=(
        Move("TOYOTA", 100, -30, 20),
        Move("SONY", 180, 50, 3),
        Move("NTT", 240, -60, 2),
        Move("MUFG", 300, 300, 10),
    ),
)


@pytest.mark.parametrize(("config", "blocks"), [(CALM, 300), (STORMY, 400)])
def test_everything_holds_after_every_block(config: DevnetConfig, blocks: int) -> None:
    """No crossed book, positions of a market sum to zero, nobody below maintenance, and money comes
    and goes by deposits and withdrawals only.
    """
    chain, paid_in = Chain(config), 0
    for _ in range(blocks):
        for one in chain.step().transitions:
            if isinstance(one, LedgerChanged) and one.kind in ("deposit", "withdraw"):
                paid_in += one.amount
        chain.check_invariants()
        assert chain.exchange.total() == paid_in


def test_a_storm_has_every_kind_of_liquidation() -> None:
    chain, methods = Chain(STORMY), Counter[str]()
    for _ in range(400):
        for one in chain.step().transitions:
            if isinstance(one, Fill) and one.buyer is not None and one.buyer.liquidation:
                methods[one.buyer.liquidation.method] += 1
    assert set(methods) == {"market", "backstop", "adl"}


@settings(max_examples=4, deadline=None)
@given(height=st.integers(1, 250))
def test_a_restored_chain_goes_on_as_the_saved_one(height: int) -> None:
    chain, other = Chain(STORMY), Chain(STORMY)
    for _ in range(height):
        chain.step()
    state = save(chain)
    restore(other, state)
    assert save(other) == state
    for _ in range(60):
        assert encode_block(other.step()) == encode_block(chain.step())


def test_start_positions_continue_one_another() -> None:
    chain = Chain(CONFIG)
    positions: dict[tuple[bytes, int], int] = {}
    for _ in range(200):
        for fill in chain.step().transitions:
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
        transitions = chain.step().transitions
        assert any(isinstance(t, PricesUpdated) for t in transitions) == (
            height % CONFIG.prices_blocks == 1
        )
        checks = [t.market for t in transitions if isinstance(t, BookCheck)]
        assert checks == (list(range(5)) if height % CHECK_BLOCKS == 0 else [])
        if checks:  # they speak of the whole block
            kinds = [type(one) for one in transitions[-13:]]
            assert kinds == [BookCheck] * 5 + [AccountCheck] * 8


def test_the_mark_price_lies_between_oracle_and_book() -> None:
    chain = Chain(CONFIG)
    for _ in range(51):
        chain.step()
    rows = [row for row in snapshot_rows(chain) if isinstance(row, MarketRow)]
    for row in rows:
        assert row.oracle_px > 0
        assert abs(row.mark_px - row.oracle_px) < row.oracle_px // 100


def test_an_untouched_market_says_so() -> None:
    chain = Chain(CONFIG)
    chain.step()
    rows = [row for row in snapshot_rows(chain) if isinstance(row, MarketRow)]
    assert [(row.trades_height, row.orders_height) for row in rows] == [(0, 0)] * 5


def test_a_snapshot_holds_the_newest_trades() -> None:
    chain = Chain(CONFIG)
    fills = []
    for _ in range(400):
        fills += [t for t in chain.step().transitions if isinstance(t, Fill) and t.market == 2]
    rows = [row.fill for row in snapshot_rows(chain) if isinstance(row, TradeRow)]
    assert [fill for fill in rows if fill.market == 2] == fills[-RECENT_TRADES:]
    header = snapshot_header(chain)
    assert (header.chain, header.height, header.time_ns) == ("devnet-3", 400, chain.time_ns)


def test_the_clock_can_be_set_forward_only() -> None:
    chain = Chain(CONFIG)
    chain.step()
    chain.set_time(GENESIS_NS + 5 * 10**9)
    assert chain.step().time_ns == GENESIS_NS + 5 * 10**9
    chain.set_time(GENESIS_NS)
    assert chain.step().time_ns == GENESIS_NS + 5 * 10**9 + 10**8


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"block_ms": 0}, "block_ms"),
        ({"snapshot_blocks": 0}, "snapshot_blocks"),
        ({"segment_blocks": 0}, "segment_blocks"),
        ({"actions_per_block": -1}, "actions_per_block"),
        ({"actions_per_block": 100_001}, "actions_per_block"),
        ({"info_port": 99_999}, "info_port"),
        ({"blocks": -1}, "blocks"),
        ({"markets": ()}, "markets"),
        ({"markets": ("NTT", "NTT")}, "markets"),
        ({"markets": ("DOGE",)}, "'DOGE'"),
        ({"prices_blocks": 0}, "prices_blocks"),
        ({"makers": 0}, "makers"),
        ({"takers": 201}, "takers"),
        ({"gamblers": -1}, "gamblers"),
        ({"funding_ms": 0}, "funding_ms"),
        ({"moves": (Move("NTT", 0, 1, 1),)}, "moves"),
        ({"moves": (Move("NTT", 1, -100, 1),)}, "moves"),
        ({"moves": (Move("NTT", 1, 5, 0),)}, "moves"),
        ({"moves": (Move("NTT", 5, 5, 5), Move("NTT", 9, 5, 1))}, "same time"),
        ({"markets": ("SONY",), "moves": (Move("NTT", 1, 5, 1),)}, "'NTT'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        DevnetConfig("unused", **settings)  # type: ignore[arg-type]
