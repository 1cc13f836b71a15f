"""L4 snapshots: every shape that nodes write, and what is wrong with one that can't be used."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from hyperliquid_node import OTHER, USER, encode, order, without
from sidecar.errors import SnapshotInvalid, SourceMissing
from sidecar.node.hyperliquid import HyperliquidSnapshot
from sidecar.node.snapshot import MarketRow, RestingRow, Row
from sidecar.node.transitions import ASK, BID, MarketListed, OrderStatus, Trigger

ADDRESS = bytes.fromhex(USER[2:])
BOOKS: list[Any] = [
    [
        "BTC",
        [
            [[USER, order(5)], [OTHER, order(3)]],
            [[USER, order(9, side="A", limitPx="81308")]],
        ],
    ],
    ["@1", [[], []]],
]


def write(directory: Path, content: Any, name: str = "l4.json") -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else encode(content))
    return path


def resting(rows: list[Row]) -> list[RestingRow]:
    return [row for row in rows if isinstance(row, RestingRow)]


def load(directory: Path, content: Any, height: int | None = None) -> list[RestingRow]:
    return resting(list(HyperliquidSnapshot(write(directory, content), height).rows()))


def test_with_height_and_users(tmp_path: Path) -> None:
    snapshot = HyperliquidSnapshot(write(tmp_path, [100, BOOKS]))
    assert snapshot.height == 100
    assert snapshot.markets == {"BTC": 0, "@1": 1}
    rows = list(snapshot.rows())
    assert rows[0] == MarketRow(MarketListed(0, "BTC"), 0, 0, None, None)
    assert rows[-1] == MarketRow(MarketListed(1, "@1"), 0, 0, None, None)
    placed_ns = 1777000000123 * 1_000_000
    assert rows[1] == RestingRow(
        0,
        5,
        ADDRESS,
        BID,
        8130700000000,
        50000000,
        placed_ns,
        OrderStatus(
            oid=5,
            user=ADDRESS,
            market=0,
            side=BID,
            limit_px=8130700000000,
            sz=50000000,
            orig_sz=75000000,
            tif="Alo",
            reduce_only=False,
            trigger=None,
            cloid=None,
            status="open",
            time_ns=placed_ns,
            placed_ns=placed_ns,
        ),
    )


def test_the_order_of_the_array_is_that_of_the_queue(tmp_path: Path) -> None:
    rows = load(tmp_path, [100, BOOKS])
    assert [(row.side, row.oid) for row in rows] == [(BID, 5), (BID, 3), (ASK, 9)]


def test_without_height_it_has_to_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, BOOKS)
    with pytest.raises(SnapshotInvalid, match="does not hold its height; take one with") as raised:
        HyperliquidSnapshot(path)
    assert raised.value.path == path
    assert HyperliquidSnapshot(path, 77).height == 77
    assert len(load(tmp_path, BOOKS, 77)) == 3


def test_a_given_height_has_to_be_the_one_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, [100, BOOKS])
    assert HyperliquidSnapshot(path, 100).height == 100
    with pytest.raises(SnapshotInvalid, match="is of height 100, not 77"):
        HyperliquidSnapshot(path, 77)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_without_height_any_number_of_coins(tmp_path: Path, count: int) -> None:
    coins = [[f"@{number}", [[], []]] for number in range(count)]
    assert len(HyperliquidSnapshot(write(tmp_path, coins), 5).markets) == count
    assert len(HyperliquidSnapshot(write(tmp_path, [6, coins])).markets) == count


def test_without_users(tmp_path: Path) -> None:
    books = [["BTC", [[order(5)], [order(6, side="A", user=USER)]]]]
    assert [row.user for row in load(tmp_path, [1, books])] == [bytes(20), ADDRESS]


def test_gzip_whatever_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(encode([100, BOOKS])), "l4.dump")
    assert len(list(HyperliquidSnapshot(path).rows())) == 5


def test_indented_json(tmp_path: Path) -> None:
    text = encode([100, BOOKS]).replace(b"[", b" \n [ ").replace(b",", b",\n\t ")
    assert len(load(tmp_path, text)) == 3


def test_empty_books_are_markets_without_orders(tmp_path: Path) -> None:
    snapshot = HyperliquidSnapshot(write(tmp_path, [1, [["@1", [[], []]]]]))
    assert list(snapshot.rows()) == [MarketRow(MarketListed(0, "@1"))]


def test_waiting_trigger_orders_are_skipped_and_counted(tmp_path: Path) -> None:
    waiting = order(8, isTrigger=True, triggerPx="9.0", triggerCondition="Price above 9", tif=None)
    books = [["BTC", [[[USER, order(5)], [USER, waiting]], [[USER, waiting | {"side": "A"}]]]]]
    snapshot = HyperliquidSnapshot(write(tmp_path, [1, books]))
    assert [row.oid for row in resting(list(snapshot.rows()))] == [5]
    assert snapshot.trigger_orders_skipped == 2


def test_triggered_orders_rest_behind_newer_oids(tmp_path: Path) -> None:
    triggered = order(
        2, triggerCondition="Triggered", orderType="Stop Limit", tif="Gtc", timestamp=1777000009999
    )
    first, second = load(tmp_path, [1, [["BTC", [[[USER, order(5)], [USER, triggered]], []]]]])
    assert (first.oid, second.oid) == (5, 2)
    assert second.added_ns == 1777000009999 * 1_000_000
    assert second.status is not None
    assert second.status.trigger == Trigger(0, "Triggered", waiting=False)


def test_very_old_orders(tmp_path: Path) -> None:
    ancient = order(5, tif=None, origSz="0.0", limitPx="0.6", timestamp=1676000000000)
    (row,) = load(tmp_path, [1, [["BTC", [[[USER, ancient]], []]]]])
    assert row.status is not None
    assert (row.px, row.status.tif, row.status.orig_sz) == (60000000, None, 0)


@pytest.mark.parametrize("text", ["90057", "90057.0"])
def test_prices_are_printed_with_and_without_decimals(tmp_path: Path, text: str) -> None:
    (row,) = load(tmp_path, [1, [["BTC", [[[USER, order(5, limitPx=text)]], []]]]])
    assert row.px == 9005700000000


def test_missing_and_new_fields(tmp_path: Path) -> None:
    bare = without(order(5, later=1), "children", "origSz", "cloid", "tif", "isPositionTpsl")
    (row,) = load(tmp_path, [1, [["BTC", [[[USER, bare]], []]]]])
    assert row.oid == 5


def test_rows_can_be_read_twice(tmp_path: Path) -> None:
    snapshot = HyperliquidSnapshot(write(tmp_path, [100, BOOKS]))
    assert list(snapshot.rows()) == list(snapshot.rows())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an L4 snapshot: Input data was truncated"),
        (b"[100, [[", "is not an L4 snapshot"),
        (b"{}", "Expected `array`, got `object`"),
        (b'["100", []]', "Expected `int`, got `str`"),
        (b"[100, 5]", "Expected `array`, got `int`"),
        ([100, [*BOOKS, ["BTC", [[], []]]]], "has a coin twice"),
        (gzip.compress(encode([100, BOOKS]))[:-12], "can't be decompressed"),
        (b"\x1f\x8b\x00garbage", "can't be decompressed"),
    ],
)
def test_a_file_that_is_no_snapshot(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(SnapshotInvalid) as raised:
        HyperliquidSnapshot(path)
    assert message in str(raised.value)
    assert raised.value.path == path


@pytest.mark.parametrize(
    ("book", "message"),
    [
        ([[]], "Expected `array` of length 2"),
        ([[[USER, order(5, sz="many")]], []], "'many' is not a decimal number"),
        ([[[USER, order(5, side="A")]], []], "order 5 of side A is among those of the other one"),
        ([[["0x1", order(5)]], []], "'0x1' is not 0x and 40 hex digits"),
        ([[[USER, without(order(5), "oid")]], []], "missing required field `oid`"),
    ],
)
def test_a_broken_book_is_named(tmp_path: Path, book: Any, message: str) -> None:
    path = write(tmp_path, [1, [["ETH", [[], []]], ["BTC", book]]])
    snapshot = HyperliquidSnapshot(path)
    with pytest.raises(SnapshotInvalid, match="has a broken book of BTC") as raised:
        list(snapshot.rows())
    assert message in str(raised.value)
    assert raised.value.path == path


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="No such file or directory"):
        HyperliquidSnapshot(tmp_path / "l4.json")
