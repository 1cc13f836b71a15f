"""Mainnet's own files (not part of the project): counts and books as they are known to be."""

import json
from collections import Counter
from pathlib import Path

import pytest

from hyperliquid_node import drain
from sidecar.node.hyperliquid import HyperliquidReader, HyperliquidSnapshot
from sidecar.node.snapshot import RestingRow, TriggerRow
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    OrdersRefused,
    OrderStatus,
)


@pytest.fixture(scope="module")
def orders(captured: Path) -> list[RestingRow]:
    snapshot = HyperliquidSnapshot(captured / "snapshot_985148181.json.gz")
    assert (snapshot.height, snapshot.markets) == (985148181, {"BTC": 0})
    _, *rows = snapshot.rows()
    resting = [row for row in rows if isinstance(row, RestingRow)]
    others = [row for row in rows if not isinstance(row, RestingRow)]
    # No waiting orders were asked for; those within resting ones wait for their fill.
    assert {type(row) for row in others} <= {TriggerRow}
    assert {row.parent for row in others if isinstance(row, TriggerRow)} <= {
        row.oid for row in resting
    }
    return resting


@pytest.fixture(scope="module")
def blocks(captured_data: Path) -> list[Block]:
    with HyperliquidReader(captured_data, after=985148181, markets={"BTC": 0}) as reader:
        return drain(reader)


def test_the_snapshot(orders: list[RestingRow]) -> None:
    assert len(orders) == 51_351
    assert Counter(row.side for row in orders) == {BID: 34_593, ASK: 16_758}
    prices = {side: [row.px for row in orders if row.side == side] for side in (BID, ASK)}
    assert prices[BID] == sorted(prices[BID], reverse=True)
    assert prices[ASK] == sorted(prices[ASK])
    triggered = [row for row in orders if row.status is not None and row.status.trigger]
    assert len(triggered) == 64


def test_the_blocks_are_consecutive(blocks: list[Block]) -> None:
    assert [block.height for block in blocks] == list(range(985148182, 985148233))
    assert all(block.time_ns < block.written_ns for block in blocks)
    empty = [block.height for block in blocks if not block.transitions]
    assert empty == [985148193, 985148228]


def test_the_counts_of_the_diffs_and_trades(blocks: list[Block]) -> None:
    kinds = Counter(type(one) for block in blocks for one in block.transitions)
    assert (kinds[BookAdded], kinds[BookRemoved], kinds[BookChanged]) == (653, 668, 11)
    fills = [one for block in blocks for one in block.transitions if isinstance(one, Fill)]
    assert len(fills) == 11
    assert all(one.buyer is not None and one.seller is not None for one in fills)


def test_the_counts_of_the_statuses(blocks: list[Block]) -> None:
    counts: Counter[str] = Counter()
    for block in blocks:
        for one in block.transitions:
            if isinstance(one, OrderStatus):
                counts[one.status] += 1
            elif isinstance(one, OrdersRefused):
                counts.update(refused.status for refused in one.statuses())
    assert counts == {
        "badAloPxRejected": 39_634,
        "canceled": 667,
        "open": 662,
        "perpMarginRejected": 455,
        "iocCancelRejected": 163,
        "filled": 9,
        "reduceOnlyCanceled": 1,
        "minTradeNtlRejected": 1,
    }


def test_the_order_that_rests_with_less_than_its_status_says(blocks: list[Block]) -> None:
    told, added = (
        next(
            one
            for block in blocks
            for one in block.transitions
            if isinstance(one, kind) and one.oid == 412036472617
        )
        for kind in (OrderStatus, BookAdded)
    )
    assert (told.sz, added.sz) == (92969000, 87714000)


def test_the_books_after_each_block(
    captured: Path, blocks: list[Block], orders: list[RestingRow]
) -> None:
    expected = (captured / "expected_bbo_per_block.jsonl").read_text().splitlines()
    counts = [json.loads(line)["resting_orders"] for line in expected]
    resting = {row.oid: row.sz for row in orders}
    found = [len(resting)]
    for block in blocks:
        for one in block.transitions:
            if isinstance(one, BookAdded):
                resting[one.oid] = one.sz
            elif isinstance(one, BookChanged):
                assert one.sz < resting[one.oid]
                resting[one.oid] = one.sz
            elif isinstance(one, BookRemoved):
                del resting[one.oid]
        found.append(len(resting))
    assert found == counts
    assert found[-1] == 51_336
