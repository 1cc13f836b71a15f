"""Order statuses: what passes as a status, what as a refusal, and with which details."""

from pathlib import Path
from typing import Any

import pytest

from hyperliquid_node import (
    CLOID,
    DIFFS,
    FILLS,
    HASH,
    OTHER,
    STATUSES,
    USER,
    FakeNode,
    block_ns,
    block_time,
    diff,
    encode,
    new,
    order,
    remove,
    row,
    status,
    without,
)
from sidecar.node.hyperliquid.texts import parse_address, parse_hex, parse_side, parse_time
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    BookRemoved,
    MarketListed,
    OrdersRefused,
    OrderStatus,
    Trigger,
)

ADDRESS = bytes.fromhex(USER[2:])


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def only_status(block: Block) -> OrderStatus:
    (found,) = block.transitions
    assert isinstance(found, OrderStatus)
    return found


def refused(block: Block) -> list[OrdersRefused]:
    return [one for one in block.transitions if isinstance(one, OrdersRefused)]


def test_an_open_status_has_all_details(node: FakeNode) -> None:
    event = status(7, side="A", reduceOnly=True, cloid=CLOID) | {
        "hash": HASH,
        "builder": {"b": OTHER, "f": 15},
    }
    assert only_status(node.block(statuses=[event])) == OrderStatus(
        oid=7,
        user=ADDRESS,
        market=0,
        side=ASK,
        limit_px=8130700000000,
        sz=50000000,
        orig_sz=75000000,
        tif="Alo",
        reduce_only=True,
        trigger=None,
        cloid=bytes.fromhex(CLOID[2:]),
        status="open",
        time_ns=block_ns(1),
        placed_ns=1777000000123 * 1_000_000,
        order_type="Limit",
        hash=bytes.fromhex(HASH[2:]),
        builder=(bytes.fromhex(OTHER[2:]), 15),
    )


def test_null_hash_builder_tif_and_cloid(node: FakeNode) -> None:
    found = only_status(node.block(statuses=[status(7, tif=None)]))
    assert (found.hash, found.builder, found.tif, found.cloid) == (None, None, None, None)


def test_fields_that_were_absent_in_2024(node: FakeNode) -> None:
    event = without(status(7), "hash", "builder", "time")
    event["order"] = without(event["order"], "children", "cloid", "origSz", "isPositionTpsl", "tif")
    found = only_status(node.block(statuses=[event]))
    assert (found.hash, found.builder, found.cloid, found.tif) == (None, None, None, None)
    assert found.time_ns == block_ns(1)
    assert found.orig_sz == found.sz


def test_new_fields_are_ignored(node: FakeNode) -> None:
    event = status(7, priority={"p": 80000}) | {"later": [1, {"x": "y"}]}
    assert only_status(node.block(statuses=[event])).oid == 7


def test_a_status_time_before_its_block(node: FakeNode) -> None:
    event = status(7) | {"time": block_time(0)}
    assert only_status(node.block(statuses=[event])).time_ns == block_ns(0)


@pytest.mark.parametrize("name", ["filled", "canceled", "scheduledCancel", "reduceOnlyCanceled"])
def test_statuses_that_are_no_refusals_pass_decoded(node: FakeNode, name: str) -> None:
    assert only_status(node.block(statuses=[status(7, name)])).status == name


def test_unknown_status_string_passes(node: FakeNode) -> None:
    node.write(1, statuses=[status(7, "openInterestMelted"), status(8, "open")])
    with node.reader(markets={"BTC": 0}) as reader:
        block = reader.next_block()
        assert block is not None
        names = [one.status for one in block.transitions if isinstance(one, OrderStatus)]
        assert names == ["openInterestMelted", "open"]
        assert reader.statuses_unknown == 1


@pytest.mark.parametrize("name", ["badAloPxRejected", "rejected", "moonPhaseRejected"])
def test_refusals_stay_encoded_until_read(node: FakeNode, name: str) -> None:
    (one,) = refused(node.block(statuses=[status(7, name), status(8, name, side="A")]))
    assert one.count == 2
    assert [(s.oid, s.side, s.status, s.market) for s in one.statuses()] == [
        (7, BID, name, 0),
        (8, ASK, name, 0),
    ]


def test_refusals_are_grouped_by_market_behind_the_other_statuses(node: FakeNode) -> None:
    events = [
        status(1, "tickRejected"),
        status(2, "oracleRejected", coin="ETH"),
        status(3),
        status(4, "badAloPxRejected"),
    ]
    listed, opened, *groups = node.block(statuses=events).transitions
    assert listed == MarketListed(1, "ETH")
    assert isinstance(opened, OrderStatus)
    assert opened.oid == 3
    groups_of = [one for one in groups if isinstance(one, OrdersRefused)]
    assert [(g.market, [s.oid for s in g.statuses()]) for g in groups_of] == [
        (0, [1, 4]),
        (1, [2]),
    ]


@pytest.mark.parametrize("broken", [{"sz": "a lot"}, {"side": None}, {"limitPx": "0.123456789"}])
def test_a_broken_refusal_is_left_out_with_a_line_and_ends_nothing(
    node: FakeNode, capsys: pytest.CaptureFixture[str], broken: dict[str, Any]
) -> None:
    statuses = [status(7, "tickRejected", **broken), status(8, "tickRejected")]
    (one,) = refused(node.block(statuses=statuses))
    assert one.count == 2
    assert [found.oid for found in one.statuses()] == [8]
    assert "refused orders left out" in capsys.readouterr().out


def test_a_broken_refusal_beside_an_unknown_status_ends_nothing(node: FakeNode) -> None:
    statuses = [status(7, "tickRejected", side=None), status(8, "moonPhase")]
    block = node.block(statuses=statuses)
    statuses_found = [one for one in block.transitions if isinstance(one, OrderStatus)]
    assert [found.oid for found in statuses_found] == [8]


def test_an_untriggered_trigger_order(node: FakeNode) -> None:
    event = status(
        7,
        isTrigger=True,
        triggerPx="77409.0",
        triggerCondition="Price below 77409",
        orderType="Stop Market",
        tif=None,
    )
    found = only_status(node.block(statuses=[event]))
    assert found.trigger == Trigger(7740900000000, "Price below 77409", waiting=True)
    assert (found.order_type, found.tif) == ("Stop Market", None)


def test_position_tpsl_has_no_size(node: FakeNode) -> None:
    event = status(
        7,
        isTrigger=True,
        isPositionTpsl=True,
        sz="0.0",
        origSz="0.0",
        triggerPx="9.5",
        triggerCondition="Price above 9.5",
    )
    found = only_status(node.block(statuses=[event]))
    assert (found.sz, found.orig_sz) == (0, 0)
    assert found.trigger is not None
    assert found.trigger.is_position_tpsl


def test_a_triggered_order_rests_as_triggered(node: FakeNode) -> None:
    found = only_status(node.block(statuses=[status(7, triggerCondition="Triggered", tif="Gtc")]))
    assert found.trigger == Trigger(0, "Triggered", waiting=False)


def test_children_pass_unseen(node: FakeNode) -> None:
    child = order(7, isTrigger=True, reduceOnly=True, tif=None, children=[order(9)])
    assert only_status(node.block(statuses=[status(7, children=[child])])).trigger is None


def test_triggered_then_rejected(node: FakeNode) -> None:
    trigger: dict[str, Any] = {
        "isTrigger": True,
        "triggerCondition": "Price below 5",
        "triggerPx": "5.0",
    }
    events = [status(7, "triggered", **trigger), status(7, "minTradeNtlRejected", **trigger)]
    first, second = node.block(statuses=events).transitions
    assert isinstance(first, OrderStatus)
    assert first.status == "triggered"
    assert isinstance(second, OrdersRefused)
    assert [one.status for one in second.statuses()] == ["minTradeNtlRejected"]


def test_open_and_canceled_in_one_block(node: FakeNode) -> None:
    block = node.block(statuses=[status(7), status(7, "canceled")], diffs=[new(7), remove(7)])
    statuses = [one.status for one in block.transitions if isinstance(one, OrderStatus)]
    book = [type(one) for one in block.transitions if not isinstance(one, OrderStatus)]
    assert statuses == ["open", "canceled"]
    assert book == [BookAdded, BookRemoved]


def test_ioc_orders_have_statuses_and_no_diffs(node: FakeNode) -> None:
    events = [status(7, tif="Ioc"), status(7, "filled", tif="Ioc", sz="0.0")]
    block = node.block(statuses=events)
    assert [one.status for one in block.transitions if isinstance(one, OrderStatus)] == [
        "open",
        "filled",
    ]


def test_new_size_and_price_may_differ_from_the_status(node: FakeNode) -> None:
    block = node.block(
        statuses=[status(7, sz="0.92969", limitPx="81300.0")],
        diffs=[new(7, "0.87714", px="81299.0")],
    )
    told, added = block.transitions
    assert isinstance(told, OrderStatus)
    assert isinstance(added, BookAdded)
    assert (told.sz, told.limit_px) == (92969000, 8130000000000)
    assert (added.sz, added.px) == (87714000, 8129900000000)


def test_a_modified_order_is_another_order(node: FakeNode) -> None:
    block = node.block(
        statuses=[status(7, "canceled", cloid=CLOID), status(8, cloid=CLOID)],
        diffs=[remove(7), new(8)],
    )
    assert [type(one) for one in block.transitions[2:]] == [BookRemoved, BookAdded]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (status(7, sz="1e5"), "'1e5' is not a decimal number"),
        (status(7, side="X"), "'X' is not a side"),
        (status(7, cloid="0x12"), "'0x12' is not 0x and 32 hex digits"),
        (status(7) | {"user": "0x" + "zz" * 20}, "non-hexadecimal"),
        (status(7) | {"time": "yesterday"}, "'yesterday' is not a time"),
        (status("7"), "Expected `int`, got `str`"),  # type: ignore[arg-type]
        (without(status(7), "order"), "missing required field `order`"),
        (without(status(7), "status"), "missing required field `status`"),
        ("open", "Expected `object`, got `str`"),
    ],
)
def test_a_status_that_can_not_be_read_is_corrupt(node: FakeNode, event: Any, message: str) -> None:
    node.append(STATUSES, b"\n")
    error = node.corrupt(statuses=[event])
    assert message in str(error)
    assert (error.path, error.offset, error.height) == (node.path(STATUSES), 1, 1)


@pytest.mark.parametrize("coin", ["kPEPE", "xyz:SP500", "@107", "PURR/USDC", "#1891", "+1891"])
def test_coins_of_all_kinds_are_markets(node: FakeNode, coin: str) -> None:
    listed, _ = node.block(statuses=[status(7, coin=coin)]).transitions
    assert listed == MarketListed(1, coin)


def test_markets_are_listed_once_in_order_of_first_appearance(node: FakeNode) -> None:
    for stream, events in (
        (STATUSES, [status(1, coin="ETH"), status(2, "tickRejected", coin="SOL")]),
        (DIFFS, [diff(3, {"new": {"sz": "1"}}, coin="@1"), new(4, coin="ETH")]),
        (FILLS, []),
    ):
        node.append(stream, row(1, events) + row(2, events))
    first, second = node.blocks(markets={"BTC": 7})
    listings = [one for one in first.transitions if isinstance(one, MarketListed)]
    assert listings == [MarketListed(8, "ETH"), MarketListed(9, "SOL"), MarketListed(10, "@1")]
    assert first.transitions[:3] == listings
    assert not any(isinstance(one, MarketListed) for one in second.transitions)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00", 0),
        ("2024-07-26T08:26:25.899", 1721982385_899000000),
        ("2026-05-05T17:39:13.394723455", 1778002753_394723455),
        ("2026-05-05T17:39:13.394723455Z", 1778002753_394723455),
    ],
)
def test_times_have_9_3_or_no_decimals(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-05-05", "2026-13-05T00:00:00", "2026-05-05T17:39:13.", "2026-05-05 17:39:13"),
        *("1969-12-31T23:59:59", "2263-01-01T00:00:00"),
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_hex_is_checked() -> None:
    assert parse_address(USER) is parse_address(USER)
    assert parse_side("Bid") == parse_side("B") == BID
    for text in ("", "0x", USER[2:], USER + "00", "0x" + " 1" * 20, "0x" + "0a " * 13 + "0"):
        with pytest.raises(ValueError, match="hex"):
            parse_hex(text, 20)


def test_lines_are_compact_json() -> None:
    assert row(1).startswith(b'{"local_time":"2026-04-24T03:00:00.420000000","block_time":"')
    assert encode({"a": [1]}) == b'{"a":[1]}'
