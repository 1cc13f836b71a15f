"""Fills: two legs make a trade, wherever they are; one leg may be all there is."""

from pathlib import Path
from typing import Any

import pytest

from hyperliquid_node import CLOID, FILLS, HASH, NO_HASH, OTHER, USER, FakeNode, fill
from sidecar.node.transitions import ASK, BID, Fill, Leg, Liquidation, MarketListed

ADDRESS, OTHER_ADDRESS = bytes.fromhex(USER[2:]), bytes.fromhex(OTHER[2:])


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def trades(node: FakeNode, *events: Any) -> list[Fill]:
    transitions = node.block(fills=list(events)).transitions
    return [one for one in transitions if isinstance(one, Fill)]


def oids(trade: Fill) -> tuple[int | None, int | None]:
    buyer, seller = trade.buyer, trade.seller
    return (buyer.oid if buyer else None, seller.oid if seller else None)


def test_two_legs_make_a_trade(node: FakeNode) -> None:
    buyer = fill("B", cloid=CLOID)
    seller = fill("A", user=OTHER, dir="Close Long", closedPnl="1.5", fee="-0.000804", twapId=8)
    assert trades(node, buyer, seller) == [
        Fill(
            tid=900,
            market=0,
            px=8130700000000,
            sz=10000000,
            taker_side=BID,
            hash=bytes.fromhex(HASH[2:]),
            buyer=Leg(
                ADDRESS, 11, bytes.fromhex(CLOID[2:]), 20000000, 0, 1000000, None, "Open Long"
            ),
            seller=Leg(
                OTHER_ADDRESS, 12, None, 20000000, 150000000, -80400, None, "Close Long", twap_id=8
            ),
        )
    ]


def test_taker_is_the_leg_that_crossed(node: FakeNode) -> None:
    buyer, seller = fill("B", crossed=False, hash=NO_HASH), fill("A", crossed=True)
    (trade,) = trades(node, buyer, seller)
    assert trade.taker_side == ASK
    assert trade.hash == bytes.fromhex(HASH[2:])


def test_the_seller_may_come_first(node: FakeNode) -> None:
    (trade,) = trades(node, fill("A"), fill("B"))
    assert oids(trade) == (11, 12)


def test_legs_may_be_apart(node: FakeNode) -> None:
    first, second = trades(node, fill("B", 1), fill("A", 2), fill("B", 2), fill("A", 1))
    assert (first.tid, second.tid) == (1, 2)
    assert oids(first) == oids(second) == (11, 12)


def test_one_tid_in_two_markets_is_two_trades(node: FakeNode) -> None:
    found = trades(node, fill("B"), fill("A", coin="ETH"), fill("A"), fill("B", coin="ETH"))
    assert [(one.market, oids(one)) for one in found] == [(0, (11, 12)), (1, (11, 12))]


def test_one_tid_in_two_blocks_is_two_trades(node: FakeNode) -> None:
    for height in (1, 2):
        node.write(height, fills=[fill("B"), fill("A")])
    blocks = node.blocks(markets={"BTC": 0})
    assert [len(block.transitions) for block in blocks] == [1, 1]


def test_the_same_two_orders_trade_twice_in_a_block(node: FakeNode) -> None:
    found = trades(node, fill("B", sz="1"), fill("A", sz="1"), fill("B", sz="2"), fill("A", sz="2"))
    assert [(one.sz, oids(one)) for one in found] == [(10**8, (11, 12)), (2 * 10**8, (11, 12))]


@pytest.mark.parametrize("crossed", [True, False])
def test_one_sided_fill(node: FakeNode, crossed: bool) -> None:
    one = fill("A", coin="#12", dir="Split Outcome", crossed=crossed)
    (trade,) = trades(node, one)
    assert oids(trade) == (None, 12)
    assert trade.taker_side == (ASK if crossed else BID)


def test_one_sided_fill_of_a_buyer(node: FakeNode) -> None:
    (trade,) = trades(node, fill("B", coin="#12", crossed=False))
    assert oids(trade) == (11, None)
    assert trade.taker_side == ASK


def test_twap_slices_have_a_hash_of_zeros(node: FakeNode) -> None:
    buyer = fill("B", hash=NO_HASH, twapId=1790552)
    (trade,) = trades(node, buyer, fill("A", hash=NO_HASH))
    assert trade.hash == bytes(32)
    assert trade.buyer is not None
    assert trade.seller is not None
    assert (trade.buyer.twap_id, trade.seller.twap_id) == (1790552, None)


def test_liquidations_name_whose_and_how(node: FakeNode) -> None:
    why = {"liquidatedUser": OTHER, "markPx": "72.149", "method": "backstop"}
    (trade,) = trades(node, fill("B", liquidation=why), fill("A", liquidation={"method": "market"}))
    assert trade.buyer is not None
    assert trade.seller is not None
    assert trade.buyer.liquidation == Liquidation(OTHER_ADDRESS, 7214900000, "backstop")
    assert trade.seller.liquidation is None


def test_spot_amounts_lose_what_is_below_a_unit(node: FakeNode) -> None:
    (trade,) = trades(
        node, fill("B", startPosition="-1166.565307356999", fee="0.0000000099", feeToken="HYPE")
    )
    assert trade.buyer is not None
    assert trade.buyer.start_position == -116656530735
    assert (trade.buyer.fee, trade.buyer.fee_token) == (0, "HYPE")


def test_new_fields_are_ignored_and_optional_ones_may_be_absent(node: FakeNode) -> None:
    user, wire = fill("B", builder="0x1", builderFee="0.1", deployerFee="0.2", priorityGas=5)
    for name in ("startPosition", "dir", "closedPnl", "fee", "feeToken", "twapId", "time"):
        del wire[name]
    (trade,) = trades(node, [user, wire])
    assert trade.buyer == Leg(ADDRESS, 11, None, 0, 0, 0)


def test_a_market_may_first_appear_in_a_fill(node: FakeNode) -> None:
    listed, trade = node.block(fills=[fill("B", coin="@107")]).transitions
    assert listed == MarketListed(1, "@107")
    assert isinstance(trade, Fill)
    assert trade.market == 1


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (fill("B")[1], "Expected `array`, got `object`"),
        (fill("B")[:1], "Expected `array` of length 2"),
        (fill("B", px=None), "Expected `str`, got `null`"),
        (fill("C"), "'C' is not a side"),
        (fill("B", hash="0x"), "'0x' is not 0x and 64 hex digits"),
        (fill("B", fee="NaN"), "'NaN' is not a decimal number"),
    ],
)
def test_a_fill_that_can_not_be_read_is_corrupt(node: FakeNode, event: Any, message: str) -> None:
    error = node.corrupt(fills=[event])
    assert message in str(error)
    assert (error.path, error.offset, error.height) == (node.path(FILLS), 0, 1)
