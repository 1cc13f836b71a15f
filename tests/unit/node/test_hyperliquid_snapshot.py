"""L4 snapshots: every shape that nodes write, and what is wrong with one that can't be used."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hyperliquid_node import OTHER, USER, encode, order, without
from sidecar.errors import SnapshotInvalid, SourceMissing
from sidecar.node.hyperliquid import HyperliquidSnapshot, snapshot_index
from sidecar.node.snapshot import MarketRow, RestingRow, Row, TriggerRow
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


WAITING = order(8, isTrigger=True, triggerPx="9.0", triggerCondition="Price above 9", tif=None)
CHILD = order(6, isTrigger=True, triggerPx="7.0", triggerCondition="Price below 7", side="A")


def waiting(rows: list[Row]) -> list[tuple[int, int]]:
    """The oids of the waiting orders and of their parents."""
    return [(row.status.oid, row.parent) for row in rows if isinstance(row, TriggerRow)]


def test_waiting_trigger_orders_come_behind_all_markets_oldest_first(tmp_path: Path) -> None:
    asks = [[OTHER, WAITING | {"side": "A", "oid": 7, "timestamp": 1777000000122}]]
    books = [["BTC", [[[USER, order(5)], [USER, WAITING]], asks]], ["@1", [[], []]]]
    rows = list(HyperliquidSnapshot(write(tmp_path, [1, books])).rows())
    assert [row.oid for row in resting(rows)] == [5]
    assert waiting(rows[-2:]) == [(7, 0), (8, 0)]
    last = rows[-1]
    assert isinstance(last, TriggerRow)
    assert last.status.trigger == Trigger(900000000, "Price above 9", waiting=True)
    assert (last.status.user, last.status.market, last.status.status) == (ADDRESS, 0, "open")
    assert last.status.placed_ns == last.status.time_ns == 1777000000123 * 1_000_000


def test_children_wait_for_the_fill_of_their_parent(tmp_path: Path) -> None:
    parent = order(5, children=[CHILD])
    trigger = WAITING | {"children": [CHILD | {"oid": 9}]}
    for bids in ([[USER, parent], [USER, trigger]], [parent | {"user": USER}, trigger]):
        rows = list(HyperliquidSnapshot(write(tmp_path, [1, [["BTC", [bids, []]]]])).rows())
        assert [row.oid for row in resting(rows)] == [5]
        assert waiting(rows) == [(6, 5), (8, 0), (9, 8)]
        child = rows[2]
        assert isinstance(child, TriggerRow)
        assert (child.status.side, child.status.user) == (ASK, ADDRESS)


def test_known_markets_keep_their_ids_and_new_ones_come_behind(tmp_path: Path) -> None:
    path = write(tmp_path, [1, [["NEW", [[], []]], *BOOKS, ["NEWER", [[], []]]]])
    snapshot = HyperliquidSnapshot(path, markets={"@1": 0, "GONE": 4, "BTC": 2})
    assert snapshot.symbols == ["NEW", "BTC", "@1", "NEWER"]
    assert snapshot.markets == {"@1": 0, "GONE": 4, "BTC": 2, "NEW": 5, "NEWER": 6}
    rows = list(snapshot.rows())
    listed = [row.listing for row in rows if isinstance(row, MarketRow)]
    assert [(one.market, one.symbol) for one in listed] == [
        (5, "NEW"), (2, "BTC"), (0, "@1"), (6, "NEWER"),
    ]  # fmt: skip
    assert {row.market for row in resting(rows)} == {2}


def test_one_coin_is_read_without_the_others(tmp_path: Path) -> None:
    books = [["BAD", [[["no order"]], []]], *BOOKS]
    snapshot = HyperliquidSnapshot(write(tmp_path, [100, books]))
    assert [row.oid for row in snapshot.orders("BTC") if isinstance(row, RestingRow)] == [5, 3, 9]
    assert list(snapshot.orders("@1")) == []
    assert list(snapshot.orders("not there")) == []
    with pytest.raises(SnapshotInvalid, match="has a broken book of BAD"):
        list(snapshot.orders("BAD"))


def test_the_file_may_be_deleted_while_it_is_read(tmp_path: Path) -> None:
    snapshot = HyperliquidSnapshot(write(tmp_path, [100, BOOKS]))
    snapshot.path.unlink()
    assert len(list(snapshot.rows())) == 5


def test_a_file_that_is_cut_while_it_is_read_is_invalid(tmp_path: Path) -> None:
    snapshot = HyperliquidSnapshot(write(tmp_path, [100, BOOKS]))
    snapshot.path.write_bytes(b"[100")
    with pytest.raises(SnapshotInvalid, match="has a broken book of BTC"):
        list(snapshot.rows())


@pytest.mark.parametrize("window", [1, 7, 64])
def test_coins_are_found_across_the_windows_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(snapshot_index, "L4_INDEX_BYTES", window)
    names = ["BTC", 'odd "]]],["X",[[', "@1", "xyz:SP500", "PURR/USDC", ""]
    books = [[name, BOOKS[0][1] if number % 2 else [[], []]] for number, name in enumerate(names)]
    for text in (encode([7, books]), json.dumps([7, books], indent=1).encode(), encode(books)):
        snapshot = HyperliquidSnapshot(write(tmp_path, text), 7)
        assert snapshot.symbols == names
        assert [len(list(snapshot.orders(name))) for name in names] == [0, 3, 0, 3, 0, 3]


def test_no_prefix_of_a_snapshot_is_one(tmp_path: Path) -> None:
    """A file that is being written can't be taken for a whole one."""
    books = [["BTC", [[[USER, order(5, children=[CHILD])]], []]], ["@1", [[], []]]]
    for text in (encode([100, books]), encode(books)):
        for size in range(len(text)):
            with pytest.raises(SnapshotInvalid):
                HyperliquidSnapshot(write(tmp_path, text[:size]), 100)


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
        (b"", "is not an L4 snapshot: it does not start as one"),
        (b"[100, [[", "is not an L4 snapshot, or not written to its end"),
        (b"[100, []", "is not an L4 snapshot, or not written to its end"),
        (b"{}", "is not an L4 snapshot: it does not start as one"),
        (b'["100", []]', "is not an L4 snapshot: it does not start with a coin"),
        (b"[100, 5]", "is not an L4 snapshot: it does not start with a coin"),
        (encode([100, BOOKS]) + b"[]", "is not an L4 snapshot, or not written to its end"),
        (b'[100, [["\\x", [[], []]]]]', "has a coin without a name"),
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
        ([[[USER, order(5, timestamp=1 << 62)]], []], "Expected `int` <= 9223372036854"),
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
