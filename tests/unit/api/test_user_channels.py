"""Channels of users: which messages a block makes, and exactly what they hold."""

from typing import Any

import msgspec
import pytest

from blocks import ALICE, BOB, PX, bid, block, fill, opened
from sidecar.errors import NotInSource
from sidecar.limits import FILLS_ANSWERED
from sidecar.node.transitions import (
    ASK,
    BID,
    BookChanged,
    BookRemoved,
    Fill,
    FundingSettled,
    LedgerChanged,
    Leg,
    Liquidation,
    OrdersRefused,
    OrderStatus,
    Trigger,
)
from test_channels import Feed

A, B = "0x" + ALICE.hex(), "0x" + BOB.hex()
HASH = "0x" + "0f" * 32
NO_HASH = "0x" + "00" * 32


def status(oid: int, name: str, **fields: Any) -> OrderStatus:
    return msgspec.structs.replace(opened(oid), status=name, **fields)


def bought(tid: int, px: int, sz: int, *, oid: int = 1, taker: int = BID, **leg: Any) -> Fill:
    """Alice buys of Bob: by default she is the taker."""
    fields: dict[str, Any] = {"closed_pnl": 3 * PX, "fee": 2 * PX, "direction": "Open Long"} | leg
    start = fields.pop("start_position", 0)
    buyer = Leg(ALICE, oid, fields.pop("cloid", None), start, **fields)
    seller = Leg(BOB, 100 + tid, None, 0, 0, -PX, direction="Open Short")
    return Fill(tid, 1, px * PX, sz * PX, taker, b"\x0f" * 32, buyer, seller)


def paid(amount: int, market: int = 1) -> FundingSettled:
    return FundingSettled(market, 1250, 0, PX, ((ALICE, 2 * PX, amount), (BOB, -2 * PX, -amount)))


def liquidation(user: bytes = ALICE) -> LedgerChanged:
    details = {"is_cross": True, "account_value": 5 * PX, "notional": 90 * PX}
    return LedgerChanged(user, "liquidation", -5 * PX, details | {"positions": [[1, -PX], [2, PX]]})


def test_order_updates() -> None:
    feed = Feed(opened(1))
    feed.open(type="orderUpdates", user=A.upper().replace("0X", "0x"))
    cloid = b"\x07" * 16
    (message,) = feed.push(opened(7), bid(7, 100), status(8, "canceled", sz=0, cloid=cloid))
    order = {
        "coin": "TOYOTA",
        "side": "B",
        "limitPx": "100.0",
        "sz": "1.0",
        "oid": 7,
        "timestamp": 1_767_878_802_703,
        "origSz": "1.0",
    }
    ended = order | {"oid": 8, "sz": "0.0", "cloid": "0x" + "07" * 16}
    assert message == {
        "channel": "orderUpdates",
        "data": [
            {"order": order, "status": "open", "statusTimestamp": 1_767_878_802_703},
            {"order": ended, "status": "canceled", "statusTimestamp": 1_767_878_802_703},
        ],
        "height": 3,
        "prev": 2,
        "user": A,
    }
    assert feed.push(BookChanged(1, 7, 1)) == []  # no status
    assert [one["prev"] for one in feed.push(opened(9))] == [3]


def test_refusals_that_came_encoded_are_told_and_break_no_chain() -> None:
    feed, read = Feed(opened(1)), list[int]()

    def refused(oid: int, user: bytes, market: int = 1) -> OrdersRefused:
        one = status(oid, "badAloPxRejected", user=user, market=market)
        return OrdersRefused(market, 1, lambda: [read.append(oid) or one])  # type: ignore[func-returns-value]

    assert feed.push(refused(2, ALICE)) == []
    assert read == []  # nobody reads: nobody decodes
    topic = feed.open(type="orderUpdates", user=A)
    (first,) = feed.push(opened(3), refused(4, ALICE), refused(5, BOB, 2))
    assert [one["order"]["oid"] for one in first["data"]] == [3, 4]
    assert first["prev"] is None  # there may have been refusals that nobody decoded
    assert feed.push(refused(6, BOB)) == []
    (second,) = feed.push(refused(7, ALICE))
    assert (second["prev"], second["height"]) == (4, 6)
    (third,) = feed.push(opened(8))
    assert third["prev"] == 6
    assert read == [4, 5, 6, 7]
    topic.channel.close(topic)
    assert feed.push(refused(9, ALICE)) == []
    feed.open(type="orderUpdates", user=A)
    (again,) = feed.push(refused(10, ALICE))
    assert again["prev"] is None
    assert 9 not in read


def test_user_events_say_what_the_user_should_know_of() -> None:
    feed = Feed()
    feed.open(type="userEvents", user=A)
    for nothing in (
        (opened(7), bid(7, 100)),
        (BookRemoved(1, 7), status(7, "canceled")),
        (status(8, "tickRejected"),),
        (LedgerChanged(ALICE, "deposit", PX),),
        (liquidation(BOB),),
    ):
        assert feed.push(*nothing) == []
    (message,) = feed.push(bought(1, 100, 1))
    assert (message["channel"], message["height"], message["prev"]) == ("user", 8, 0)
    assert (message["user"], [one["tid"] for one in message["data"]["fills"]]) == (A, [1])
    assert "part" not in message
    (message,) = feed.push(paid(-PX))
    assert message["data"] == {
        "funding": {
            "time": 9,
            "coin": "TOYOTA",
            "usdc": "-1.0",
            "szi": "2.0",
            "fundingRate": "0.0000125",
        }
    }
    assert message["prev"] == 8
    (message,) = feed.push(liquidation())
    assert message["data"] == {
        "liquidation": {
            "lid": 10,
            "liquidator": "0x" + "00" * 20,
            "liquidated_user": A,
            "liquidated_ntl_pos": "90.0",
            "liquidated_account_value": "5.0",
        }
    }
    (message,) = feed.push(status(7, "marginCanceled"), status(9, "scheduledCancel", market=2))
    cancelled = [{"coin": "TOYOTA", "oid": 7}, {"coin": "SONY", "oid": 9}]
    assert message["data"] == {"nonUserCancel": cancelled}
    assert (message["height"], message["prev"]) == (11, 10)


def test_several_events_of_a_block_are_its_parts() -> None:
    feed = Feed()
    feed.open(type="userEvents", user=A)
    messages = feed.push(
        paid(PX), bought(1, 100, 1), paid(PX, 2), liquidation(), status(7, "liquidatedCanceled")
    )
    kinds = [next(iter(message["data"])) for message in messages]
    assert kinds == ["fills", "funding", "funding", "liquidation", "nonUserCancel"]
    assert [message["part"] for message in messages] == [[i, 5] for i in range(1, 6)]
    assert {(message["height"], message["prev"]) for message in messages} == {(3, 0)}
    (message,) = feed.push(bought(2, 100, 1))
    assert message["prev"] == 3


def test_user_fills() -> None:
    feed = Feed(bought(1, 100, 1), fill(2))
    topic = feed.open(type="userFills", user=A)
    snapshot = feed.snapshot(topic)
    assert (snapshot["height"], snapshot["prev"]) == (2, 2)
    assert (snapshot["data"]["user"], snapshot["data"]["isSnapshot"]) == (A, True)
    assert [one["tid"] for one in snapshot["data"]["fills"]] == [1, 2]
    why = Liquidation(BOB, 99 * PX, "market")
    leg: dict[str, Any] = {"cloid": b"\x07" * 16, "liquidation": why, "start_position": -PX}
    (message,) = feed.push(bought(3, 101, 2, taker=ASK, **leg))
    assert message == {
        "channel": "userFills",
        "data": {
            "user": A,
            "fills": [
                {
                    "coin": "TOYOTA",
                    "px": "101.0",
                    "sz": "2.0",
                    "side": "B",
                    "time": 3,
                    "startPosition": "-1.0",
                    "dir": "Open Long",
                    "closedPnl": "3.0",
                    "hash": HASH,
                    "oid": 1,
                    "crossed": False,
                    "fee": "2.0",
                    "tid": 3,
                    "feeToken": "USDC",
                    "twapId": None,
                    "cloid": "0x" + "07" * 16,
                    "liquidation": {"liquidatedUser": B, "markPx": "99.0", "method": "market"},
                }
            ],
        },
        "height": 3,
        "prev": 2,
    }
    assert feed.push(opened(9)) == []


def test_a_snapshot_of_fills_is_bounded_and_of_unknown_users_empty() -> None:
    feed = Feed(*(bought(tid, 100, 1) for tid in range(FILLS_ANSWERED + 5)))
    fills = feed.snapshot(feed.open(type="userFills", user=A))["data"]["fills"]
    assert [one["tid"] for one in fills] == list(range(5, FILLS_ANSWERED + 5))
    nobody = "0x" + "77" * 20
    message = feed.snapshot(feed.open(type="userFills", user=nobody))
    assert message["data"] == {"user": nobody, "isSnapshot": True, "fills": []}
    assert message["prev"] == 0
    assert bytes.fromhex("77" * 20) not in feed.state.users.by_address


def test_fills_of_a_crossing_order_are_combined_where_asked_for() -> None:
    feed = Feed()
    combined = feed.open(type="userFills", user=A, aggregateByTime=True)
    alone = feed.open(type="userFills", user=A)
    assert (
        feed.channels.resolve({"type": "userFills", "user": A, "aggregateByTime": False}) is alone
    )
    assert combined is not alone
    trades = (
        bought(1, 100, 1, closed_pnl=PX, direction="Close Short"),
        bought(2, 103, 2, closed_pnl=4 * PX, direction="Close Short", start_position=-2 * PX),
        bought(3, 104, 1),  # it turns the position: another dir
        bought(4, 104, 1, oid=5),  # another order
        bought(5, 104, 1, oid=9, taker=ASK),
        bought(6, 104, 1, oid=9, taker=ASK),  # a resting order's are not combined
    )
    by_name = {len(message["data"]["fills"]): message for message in feed.push(*trades)}
    assert sorted(by_name) == [5, 6]
    first, *others = by_name[5]["data"]["fills"]
    assert (first["px"], first["sz"], first["closedPnl"], first["fee"]) == (
        "102.0",
        "3.0",
        "5.0",
        "4.0",
    )
    assert (first["tid"], first["startPosition"]) == (1, "0.0")
    assert [one["tid"] for one in others] == [3, 4, 5, 6]
    again = feed.snapshot(combined)["data"]["fills"]
    assert again == [first, *others]
    feed.push(bought(7, 104, 1, oid=9))  # the same order, another block: on its own
    assert len(feed.snapshot(combined)["data"]["fills"]) == 6


def test_an_average_price_is_rounded_to_the_unit() -> None:
    feed = Feed()
    topic = feed.open(type="userFills", user=A, aggregateByTime=True)
    feed.push(bought(1, 100, 1), bought(2, 101, 2))
    (one,) = feed.snapshot(topic)["data"]["fills"]
    assert one["px"] == "100.66666667"


def test_user_fundings() -> None:
    feed = Feed(paid(-PX))
    topic = feed.open(type="userFundings", user=B)
    payment = {
        "time": 2,
        "coin": "TOYOTA",
        "usdc": "1.0",
        "szi": "-2.0",
        "fundingRate": "0.0000125",
    }
    assert feed.snapshot(topic) == {
        "channel": "userFundings",
        "data": {"user": B, "isSnapshot": True, "fundings": [payment]},
        "height": 2,
        "prev": 2,
    }
    assert feed.push(bought(1, 100, 1)) == []
    (message,) = feed.push(paid(-PX))
    assert message["data"] == {"user": B, "fundings": [payment | {"time": 4}]}
    assert (message["height"], message["prev"]) == (4, 2)


def test_ledger_updates() -> None:
    feed = Feed()
    topic = feed.open(type="userNonFundingLedgerUpdates", user=A)
    assert feed.snapshot(topic)["data"] == {
        "user": A,
        "isSnapshot": True,
        "nonFundingLedgerUpdates": [],
    }
    transfer = {"user": BOB, "destination": ALICE}
    (message,) = feed.push(
        LedgerChanged(ALICE, "deposit", 7 * PX),
        LedgerChanged(ALICE, "withdraw", -7 * PX),
        LedgerChanged(ALICE, "internalTransfer", PX, transfer),
        LedgerChanged(BOB, "internalTransfer", -PX, transfer),
        liquidation(),
        LedgerChanged(ALICE, "fundingRounding", -5, {"market": 2}),
        LedgerChanged(ALICE, "some_thing", 5, {"some_user": BOB}),
    )
    updates = message["data"]["nonFundingLedgerUpdates"]
    assert {(one["time"], one["hash"]) for one in updates} == {(3, NO_HASH)}
    assert [one["delta"] for one in updates] == [
        {"type": "deposit", "usdc": "7.0"},
        {"type": "withdraw", "usdc": "7.0", "nonce": 0, "fee": "0.0"},
        {"type": "internalTransfer", "usdc": "1.0", "fee": "0.0", "user": B, "destination": A},
        {
            "type": "liquidation",
            "liquidatedNtlPos": "90.0",
            "accountValue": "5.0",
            "leverageType": "Cross",
            "liquidatedPositions": [
                {"coin": "TOYOTA", "szi": "-1.0"},
                {"coin": "SONY", "szi": "1.0"},
            ],
        },
        {"type": "fundingRounding", "usdc": "-0.00000005", "coin": "SONY"},
        {"type": "some_thing", "usdc": "0.00000005", "someUser": B},
    ]
    assert (message["height"], message["prev"]) == (3, 0)
    assert feed.snapshot(topic)["prev"] == 3


def test_open_orders() -> None:
    feed = Feed()
    topic = feed.open(type="openOrders", user=A, dex="")
    assert feed.snapshot(topic) == {
        "channel": "openOrders",
        "data": {"dex": "", "user": A, "orders": []},
        "height": 2,
    }
    trigger = Trigger(90 * PX, "Price below 90")
    stop = status(8, "open", trigger=trigger, tif=None, order_type="Stop Market", reduce_only=True)
    (message,) = feed.push(opened(7, sz=5), bid(7, 100, 5), stop)
    assert message["height"] == 3
    assert "prev" not in message
    common = {"coin": "TOYOTA", "side": "B", "limitPx": "100.0", "timestamp": 1_767_878_802_703}
    assert message["data"]["orders"] == [
        common
        | {
            "sz": "1.0",
            "oid": 8,
            "triggerCondition": "Price below 90",
            "isTrigger": True,
            "triggerPx": "90.0",
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": True,
            "orderType": "Stop Market",
            "origSz": "1.0",
            "tif": None,
            "cloid": None,
        },
        common
        | {
            "sz": "5.0",
            "oid": 7,
            "triggerCondition": "N/A",
            "isTrigger": False,
            "triggerPx": "0.0",
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": False,
            "orderType": "Limit",
            "origSz": "5.0",
            "tif": "Gtc",
            "cloid": None,
        },
    ]
    (message,) = feed.push(BookChanged(1, 7, 2 * PX))  # a fill in part, or a reduce-only order
    assert [(one["oid"], one["sz"]) for one in message["data"]["orders"]] == [
        (8, "1.0"),
        (7, "2.0"),
    ]
    assert feed.push(status(9, "tickRejected")) == []
    (message,) = feed.push(BookRemoved(1, 7), status(7, "canceled"), status(8, "canceled"))
    assert message["data"]["orders"] == []


USER_CHANNELS = (
    "orderUpdates",
    "userEvents",
    "userFills",
    "userFundings",
    "userNonFundingLedgerUpdates",
    "openOrders",
)


@pytest.mark.parametrize("kind", USER_CHANNELS)
def test_a_topic_is_its_users(kind: str) -> None:
    feed = Feed()
    everything = (opened(7), bid(7, 100), liquidation(), paid(PX), bought(1, 100, 1))
    topic = feed.open(type=kind, user=A)
    others = [feed.open(type=kind, user=f"0x{number:040x}") for number in range(5)]
    assert len({*others, topic}) == 6
    assert feed.channels.resolve({"type": kind, "user": A.upper()}) is topic
    assert topic.name == f"{kind}:{A}"
    changes = feed.state.apply(block(3, *everything))
    assert {published for published, _ in feed.channels.publish(changes)} == {topic}
    topic.channel.close(topic)
    assert feed.push(*everything[2:]) == []


@pytest.mark.parametrize("kind", ["userFundings", "userNonFundingLedgerUpdates"])
def test_what_the_node_does_not_write_is_refused(kind: str) -> None:
    feed = Feed()
    feed.state.users.money_told = False
    with pytest.raises(NotInSource, match=f"{kind} is not available here"):
        feed.open(type=kind, user=A)


def test_prev_is_null_where_the_past_is_unknown() -> None:
    feed = Feed()
    feed.state.users.unknown_past = True
    nobody = b"\x77" * 20
    for kind in USER_CHANNELS[:-1]:
        feed.open(type=kind, user="0x" + nobody.hex())
    everything = (
        msgspec.structs.replace(opened(7), user=nobody),
        LedgerChanged(nobody, "deposit", PX),
        FundingSettled(1, 1, 0, PX, ((nobody, 1, 1),)),
    )
    first = feed.push(*everything)
    assert len(first) == 4
    assert {message["prev"] for message in first} == {None}
    assert {message["prev"] for message in feed.push(*everything)} == {3}
