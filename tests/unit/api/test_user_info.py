"""Info requests about a user: the exact answers, the paging, and what is said to bad ones."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from blocks import ALICE, BOB, PX, TOYOTA, bid, block, opened
from sidecar.api.info import answer_info
from sidecar.errors import NotInSource, RequestInvalid
from sidecar.limits import FILLS_ANSWERED, ORDERS_ANSWERED, RANGE_ANSWERED
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import MarketRow, RestingRow, TriggerRow
from sidecar.node.transitions import (
    BID,
    BookAdded,
    BookChanged,
    LedgerChanged,
    Transition,
    Trigger,
)
from sidecar.state.chain import ChainState
from test_channels import Feed
from test_info import ask_info
from test_user_channels import NO_HASH, A, B, bought, paid, status

CLOID = b"\x07" * 16
DEEP: Any = 1
for _ in range(500):
    DEEP = [DEEP]
NOBODY = "0x" + "77" * 20


def test_open_orders_are_newest_first_with_what_is_left() -> None:
    stop = status(8, "open", trigger=Trigger(90 * PX, "Price below 90"), reduce_only=True)
    named = status(9, "open", cloid=CLOID)
    feed = Feed(opened(7, sz=5), bid(7, 100, 5), stop, named, bid(9, 101), BookChanged(1, 7, PX))
    common = {
        "coin": "TOYOTA",
        "side": "B",
        "limitPx": "100.0",
        "sz": "1.0",
        "timestamp": 1_767_878_802_703,
        "origSz": "1.0",
    }
    assert ask_info(feed.state, type="openOrders", user=A, dex="") == [
        common | {"oid": 9, "limitPx": "101.0", "cloid": "0x" + "07" * 16},
        common | {"oid": 8, "reduceOnly": True},
        common | {"oid": 7, "origSz": "5.0"},
    ]
    frontend = ask_info(feed.state, type="frontendOpenOrders", user=A)
    assert [order["oid"] for order in frontend] == [9, 8, 7]
    assert [order["isTrigger"] for order in frontend] == [False, True, False]
    assert frontend[0]["cloid"] == "0x" + "07" * 16
    assert ask_info(feed.state, type="openOrders", user=B) == []
    assert ask_info(feed.state, type="openOrders", user=NOBODY) == []


def test_children_that_a_snapshot_told_of_are_with_their_parent() -> None:
    state = ChainState()
    child = status(8, "open", trigger=Trigger(90 * PX, "Price below 90"), order_type="Stop Market")
    parent = RestingRow(1, 7, ALICE, BID, 100 * PX, PX, 1, opened(7))
    state.restore(5, 0, [MarketRow(TOYOTA), parent, TriggerRow(child, 7)])
    (order,) = ask_info(state, type="frontendOpenOrders", user=A)
    assert (order["oid"], [one["oid"] for one in order["children"]]) == (7, [8])
    assert order["children"][0]["orderType"] == "Stop Market"
    assert len(ask_info(state, type="openOrders", user=A)) == 1


def test_an_order_that_is_said_to_be_its_own_child_can_be_shown() -> None:
    """To whoever asked for it the process ended. Found by fuzzing."""
    state = ChainState()
    parent = RestingRow(1, 7, ALICE, BID, 100 * PX, PX, 1, opened(7))
    child = status(7, "open", trigger=Trigger(90 * PX, "Price below 90"))
    state.restore(5, 0, [MarketRow(TOYOTA), parent, TriggerRow(child, 7)])
    (order,) = ask_info(state, type="frontendOpenOrders", user=A)
    assert [(one["oid"], one["children"]) for one in order["children"]] == [(7, [])]


def test_an_order_that_the_node_writes_no_status_for() -> None:
    feed = Feed(BookAdded(1, 7, ALICE, BID, 100 * PX, PX))
    (order,) = ask_info(feed.state, type="frontendOpenOrders", user=A)
    assert (order["origSz"], order["tif"], order["timestamp"]) == ("1.0", "Alo", 2)
    answer = ask_info(feed.state, type="orderStatus", user=A, oid=7)["order"]
    assert (answer["status"], answer["statusTimestamp"]) == ("open", 2)


def test_order_status_by_either_id() -> None:
    feed = Feed(status(7, "open", cloid=CLOID, sz=5 * PX, orig_sz=5 * PX), bid(7, 100, 5))
    feed.push(BookChanged(1, 7, 2 * PX))
    ask = {"type": "orderStatus", "user": A}
    answer = ask_info(feed.state, **ask, oid=7)
    assert answer == {
        "status": "order",
        "order": {
            "order": {
                "coin": "TOYOTA",
                "side": "B",
                "limitPx": "100.0",
                "sz": "2.0",
                "oid": 7,
                "timestamp": 1_767_878_802_703,
                "triggerCondition": "N/A",
                "isTrigger": False,
                "triggerPx": "0.0",
                "children": [],
                "isPositionTpsl": False,
                "reduceOnly": False,
                "orderType": "Limit",
                "origSz": "5.0",
                "tif": "Gtc",
                "cloid": "0x" + "07" * 16,
            },
            "status": "open",
            "statusTimestamp": 1_767_878_802_703,
        },
    }
    assert ask_info(feed.state, **ask, oid="0x" + "07" * 16) == answer
    feed.push(status(8, "tickRejected", cloid=b"\xab" * 16))
    by_cloid = ask_info(feed.state, **ask, oid="0x" + "AB" * 16)
    assert (by_cloid["order"]["status"], by_cloid["order"]["order"]["oid"]) == ("tickRejected", 8)
    unknown = {"status": "unknownOid"}
    assert ask_info(feed.state, **ask, oid=99) == unknown
    assert ask_info(feed.state, **ask, oid="0x" + "11" * 16) == unknown
    assert ask_info(feed.state, type="orderStatus", user=B, oid=7) == unknown


def test_historical_orders_are_the_newest_statuses() -> None:
    feed = Feed(*(status(oid, "tickRejected") for oid in range(ORDERS_ANSWERED)))
    feed.push(opened(5000), status(5000, "filled", sz=0, time_ns=7_000_000))
    answer = ask_info(feed.state, type="historicalOrders", user=A)
    assert len(answer) == ORDERS_ANSWERED
    assert (answer[0]["status"], answer[0]["statusTimestamp"]) == ("filled", 7)
    assert (answer[0]["order"]["oid"], answer[0]["order"]["sz"]) == (5000, "0.0")
    assert [one["order"]["oid"] for one in answer[1:]] == [5000, *range(1999, 1, -1)]
    assert ask_info(feed.state, type="historicalOrders", user=NOBODY) == []


def test_user_fills_are_newest_first() -> None:
    feed = Feed(*(bought(tid, 100, 1, oid=tid) for tid in range(FILLS_ANSWERED + 3)))
    answer = ask_info(feed.state, type="userFills", user=A)
    assert [one["tid"] for one in answer] == list(range(FILLS_ANSWERED + 2, 2, -1))
    assert [one["side"] for one in ask_info(feed.state, type="userFills", user=B)[:1]] == ["A"]
    feed.push(bought(1, 100, 1, oid=9000), bought(2, 102, 1, oid=9000))
    newest, older, *_ = ask_info(feed.state, type="userFills", user=A, aggregateByTime=True)
    assert (newest["px"], newest["sz"], newest["tid"], newest["oid"]) == ("101.0", "2.0", 1, 9000)
    assert older["tid"] == FILLS_ANSWERED + 2


def feed_of(per_block: int, blocks: int) -> Feed:
    """Trades of one crossing order a block, payments and deposits, from time 3 ms on."""
    feed = Feed()
    for number in range(blocks):
        trades: list[Transition] = [
            bought(100 * number + n, 100, 1, oid=number) for n in range(per_block)
        ]
        money: list[Transition] = [paid(PX), LedgerChanged(ALICE, "deposit", PX)]
        feed.state.apply(block(feed.state.height + 1, *trades, *money))
    return feed


def test_fills_by_time_are_oldest_first_within_both_ends() -> None:
    feed = feed_of(2, 10)
    ask: dict[str, Any] = {"type": "userFillsByTime", "user": A}
    times = [one["time"] for one in ask_info(feed.state, **ask, startTime=5, endTime=7)]
    assert times == [5, 5, 6, 6, 7, 7]
    assert len(ask_info(feed.state, **ask, startTime=0, endTime=None)) == 20
    assert ask_info(feed.state, **ask, startTime=8, endTime=7) == []
    combined = ask_info(feed.state, **ask, startTime=11, aggregateByTime=True)
    assert [(one["time"], one["sz"]) for one in combined] == [(11, "2.0"), (12, "2.0")]


def test_a_client_pages_through_everything_by_the_last_time() -> None:
    feed = feed_of(3, 900)
    start, seen = 0, set[int]()
    while True:
        page = ask_info(feed.state, type="userFillsByTime", user=A, startTime=start)
        assert len(page) <= FILLS_ANSWERED
        seen |= {one["tid"] for one in page}
        if page[-1]["time"] == start:
            break
        start = page[-1]["time"]
    assert len(seen) == 2700
    for kind in ("userFunding", "userNonFundingLedgerUpdates"):
        page = ask_info(feed.state, type=kind, user=A, startTime=0)
        assert [one["time"] for one in page] == list(range(3, 3 + RANGE_ANSWERED))
        rest = ask_info(feed.state, type=kind, user=A, startTime=page[-1]["time"])
        assert [one["time"] for one in rest] == list(range(502, 903))
        assert len(ask_info(feed.state, type=kind, user=A, startTime=10, endTime=12)) == 3


def test_funding_and_ledger_answers() -> None:
    feed = feed_of(1, 1)
    assert ask_info(feed.state, type="userFunding", user=A, startTime=0) == [
        {
            "time": 3,
            "hash": NO_HASH,
            "delta": {
                "type": "funding",
                "coin": "TOYOTA",
                "usdc": "1.0",
                "szi": "2.0",
                "fundingRate": "0.0000125",
                "nSamples": None,
            },
        }
    ]
    assert ask_info(feed.state, type="userNonFundingLedgerUpdates", user=A) == [
        {"time": 3, "hash": NO_HASH, "delta": {"type": "deposit", "usdc": "1.0"}}
    ]


@pytest.mark.parametrize(
    "details",
    [
        {"notional": "much"},
        {"positions": [[1, 2, 3]]},
        {"positions": [[99, PX]]},
        {"at": datetime(2026, 5, 5, tzinfo=UTC)},
        {"code": msgspec.msgpack.Ext(5, b"x")},
        {"map": {(): 1, b"k": [b"v", {"deep": datetime(2026, 5, 5, tzinfo=UTC)}]}},
        {"market": [1]},
        {"deep": DEEP},
    ],
    ids=lambda details: next(iter(details)),
)
@pytest.mark.parametrize("kind", ["liquidation", "deposit", "newKind"])
def test_ledger_details_of_any_shape_can_be_told(kind: str, details: dict[str, Any]) -> None:
    """A log holds whatever msgpack can say, and what JSON can't ended the pipeline. Found by
    fuzzing.
    """
    feed = Feed()
    for channel in ("userNonFundingLedgerUpdates", "userEvents"):
        feed.open(type=channel, user=A)
    logged = encode_block(block(3, LedgerChanged(ALICE, kind, PX, details)))
    (changed,) = decode_block(logged).transitions
    assert feed.push(changed)
    (entry,) = ask_info(feed.state, type="userNonFundingLedgerUpdates", user=A)
    assert entry["delta"]["type"] == kind


@pytest.mark.parametrize("kind", ["userFunding", "userNonFundingLedgerUpdates"])
def test_what_the_node_does_not_write_is_said_so(kind: str) -> None:
    state = ChainState()
    state.restore(10, 0, [MarketRow(TOYOTA)])
    with pytest.raises(NotInSource, match=f"{kind} is not available here"):
        answer_info(state, {"type": kind, "user": A, "startTime": 0})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"type": "openOrders"}, "openOrders: Object missing required field `user`"),
        ({"type": "openOrders", "user": "0x12"}, "user is an address, 0x and 40 hex digits"),
        ({"type": "openOrders", "user": A, "dex": "xyz"}, "unknown dex 'xyz'"),
        ({"type": "orderStatus", "user": A, "oid": "7"}, "a cloid of 0x and 32 hex digits"),
        ({"type": "orderStatus", "user": A, "oid": "0x" + "zz" * 16}, "a cloid of 0x and 32"),
        ({"type": "orderStatus", "user": A, "oid": "0x" + "é" * 32}, "a cloid of 0x and 32"),
        ({"type": "orderStatus", "user": A, "oid": 1.5}, "Expected `int | str`, got `float`"),
        ({"type": "userFillsByTime", "user": A}, "missing required field `startTime`"),
        ({"type": "userFillsByTime", "user": A, "startTime": -1}, "Expected `int` >= 0"),
    ],
)
def test_bad_requests_are_told_what_is_allowed(request_: Any, message: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        answer_info(Feed().state, request_)
    assert message in str(caught.value)


def test_answers_hold_no_user_of_somebody_else() -> None:
    feed = Feed(msgspec.structs.replace(opened(7), user=BOB), opened(8))
    oids = [one["order"]["oid"] for one in ask_info(feed.state, type="historicalOrders", user=A)]
    assert oids == [8]
