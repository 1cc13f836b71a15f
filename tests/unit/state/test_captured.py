"""The captured mainnet blocks, in process: books after every block, and the known facts."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sidecar.fixed import SCALE
from sidecar.node.hyperliquid import HyperliquidReader, HyperliquidSnapshot
from sidecar.node.transitions import ASK, BID
from sidecar.state.book import Quote
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes


def ingest(captured: Path, data: Path) -> Iterator[tuple[ChainState, Changes | None]]:
    (path,) = captured.glob("snapshot_*.json.gz")
    snapshot = HyperliquidSnapshot(path)
    state = ChainState()
    state.restore(snapshot.height, 0, snapshot.rows())
    yield state, None
    with HyperliquidReader(data, after=snapshot.height, markets=snapshot.markets) as reader:
        while (block := reader.next_block()) is not None:
            yield state, state.apply(block)


def exact(quote: Quote | None) -> tuple[Decimal, Decimal, int]:
    assert quote is not None
    return Decimal(quote[0]) / SCALE, Decimal(quote[1]) / SCALE, quote[2]


def expected(row: dict[str, Any], side: str) -> tuple[Decimal, Decimal, int]:
    return Decimal(row[side]["px"]), Decimal(row[side]["sz"]), row[side]["n"]


@pytest.fixture(scope="module")
def seen(captured: Path, captured_data: Path) -> dict[str, Any]:
    """One pass over the blocks; what the tests ask about."""
    lines = (captured / "expected_bbo_per_block.jsonl").read_text().splitlines()
    rows = {row["block_number"]: row for row in map(json.loads, lines)}
    seen: dict[str, Any] = {"compared": 0, "kinds": Counter(), "statuses": Counter(), "fills": 0}
    seen |= {"quiet": [], "bbo_by_ms": {}}
    for state, changes in ingest(captured, captured_data):
        book, row = state.by_symbol["BTC"].book, rows[state.height]
        assert exact(book.best(BID)) == expected(row, "bid")
        assert exact(book.best(ASK)) == expected(row, "ask")
        assert len(book.orders) == row["resting_orders"]
        seen["compared"] += 1
        seen["bbo_by_ms"][state.time_ns // 1_000_000] = (book.best(BID), book.best(ASK))
        if changes is not None:
            count(changes, seen)
    book.check_invariants()
    seen["levels"] = len(book.bids) + len(book.asks)
    seen["final"] = (exact(book.best(BID)), exact(book.best(ASK)), len(book.orders))
    seen["orders"] = book.orders
    return seen


def count(changes: Changes, seen: dict[str, Any]) -> None:
    if not changes.markets:
        seen["quiet"].append(changes.height)
    for changed in changes.markets.values():
        seen["kinds"].update(diff.kind.name for diff in changed.diffs)
        refused = [status for one in changed.refused for status in one.statuses()]
        seen["statuses"].update(status.status for status in changed.statuses + refused)
        seen["fills"] += len(changed.fills)


def test_the_book_is_right_after_the_snapshot_and_after_each_of_the_51_blocks(
    seen: dict[str, Any],
) -> None:
    assert seen["compared"] == 52


def test_diffs_statuses_and_trades_are_all_there(seen: dict[str, Any]) -> None:
    assert seen["kinds"] == {"NEW": 653, "REMOVE": 668, "UPDATE": 11}
    assert seen["fills"] == 11
    assert seen["statuses"] == {
        "badAloPxRejected": 39_634,
        "canceled": 667,
        "open": 662,
        "perpMarginRejected": 455,
        "iocCancelRejected": 163,
        "filled": 9,
        "reduceOnlyCanceled": 1,
        "minTradeNtlRejected": 1,
    }
    assert seen["quiet"] == [985148193, 985148228]


def test_the_final_book_is_the_known_one(seen: dict[str, Any]) -> None:
    bid = (Decimal("81307.0"), Decimal("2.80623"), 9)
    ask = (Decimal("81308.0"), Decimal("8.81056"), 58)
    assert seen["final"] == (bid, ask, 51_336)
    assert seen["levels"] == 21_378


def test_an_order_that_rests_with_less_than_its_status_says(seen: dict[str, Any]) -> None:
    order = seen["orders"][412036472617]
    assert order.sz == 87_714_000
    assert order.status.sz == 92_969_000


def test_an_independent_implementation_saw_the_same_quotes(
    captured: Path, seen: dict[str, Any]
) -> None:
    lines = (captured / "independent_end_of_block_quotes.jsonl").read_text().splitlines()
    for quote in map(json.loads, lines):
        fields = quote["fields"]
        theirs = [
            (fields[f"{side}_px_raw"] * SCALE // 10, fields[f"{side}_sz_raw"], fields[f"{side}_n"])
            for side in ("bid", "ask")
        ]
        assert list(seen["bbo_by_ms"][fields["source_ts_ms"]]) == theirs
    assert len(lines) == 50
