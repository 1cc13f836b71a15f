"""Channels: which messages a block makes, and exactly what they hold."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from blocks import ALICE, BOB, PX, ask, bid, block, fill, opened, state_of
from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.api.topics import Topic
from sidecar.errors import RequestInvalid
from sidecar.node.transitions import (
    ASK,
    BID,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    Leg,
    OrdersRefused,
    OrderStatus,
    Transition,
    Trigger,
)
from sidecar.state.aggregation import Aggregation
from sidecar.state.chain import ChainState
from sidecar.state.health import Bounds, Health


class Feed:
    """One state with its channels; `push` gives a block's messages as clients would decode them."""

    def __init__(self, *transitions: Transition) -> None:
        self.state = state_of(*transitions)
        self.channels = Channels(self.state)

    def open(self, **subscription: Any) -> Topic:
        topic = self.channels.resolve(subscription)
        topic.channel.open(topic)
        return topic

    def snapshot(self, topic: Topic) -> Any:
        return msgspec.json.decode(encode(topic.channel.snapshot(topic)))

    def push(self, *transitions: Transition) -> list[Any]:
        changes = self.state.apply(block(self.state.height + 1, *transitions))
        messages = self.channels.publish(changes)
        return [msgspec.json.decode(encode(message)) for _, message in messages]


def test_equal_subscriptions_share_a_topic_and_others_do_not() -> None:
    feed = Feed()
    topic = feed.open(type="l2Book", coin="TOYOTA")
    resolve = feed.channels.resolve
    assert resolve({"type": "l2Book", "coin": "TOYOTA", "nLevels": 20, "nSigFigs": None}) is topic
    for other in ({"nSigFigs": 5}, {"nLevels": 5}, {"coin": "SONY"}):
        assert resolve({"type": "l2Book", "coin": "TOYOTA"} | other) is not topic


def test_nothing_is_made_for_topics_that_nobody_reads() -> None:
    feed = Feed()
    assert feed.push(bid(1, 100), fill(1)) == []
    topic = feed.open(type="trades", coin="TOYOTA")
    assert len(feed.push(fill(2))) == 1
    topic.channel.close(topic)
    assert feed.push(fill(3)) == []


def test_trades() -> None:
    feed = Feed(fill(1))
    feed.open(type="trades", coin="TOYOTA")
    (message,) = feed.push(fill(7, px=101), fill(8, market=2))
    assert message == {
        "channel": "trades",
        "data": [
            {
                "coin": "TOYOTA",
                "side": "B",
                "px": "101.0",
                "sz": "1.0",
                "time": 3,
                "hash": "0x" + "0f" * 32,
                "tid": 7,
                "users": ["0x" + ALICE.hex(), "0x" + BOB.hex()],
            }
        ],
        "height": 3,
        "prev": 2,
    }
    assert feed.push(bid(1, 100)) == []


def test_a_one_sided_trade_has_one_user() -> None:
    feed = Feed()
    feed.open(type="trades", coin="TOYOTA")
    leg = Leg(BOB, 2, None, 0, 0, 0)
    (message,) = feed.push(Fill(1, 1, PX, PX, ASK, b"h" * 32, None, leg))
    assert message["data"][0]["users"] == [None, "0x" + BOB.hex()]
    assert message["data"][0]["side"] == "A"


def test_bbo_comes_when_it_changes() -> None:
    feed = Feed(bid(1, 100))
    topic = feed.open(type="bbo", coin="TOYOTA")
    assert feed.snapshot(topic) == {
        "channel": "bbo",
        "data": {"coin": "TOYOTA", "time": 2, "bbo": [{"px": "100.0", "sz": "1.0", "n": 1}, None]},
        "height": 2,
    }
    assert feed.push(bid(2, 99)) == []
    (message,) = feed.push(ask(3, 101, 5))
    assert message["data"]["bbo"][1] == {"px": "101.0", "sz": "5.0", "n": 1}
    assert feed.push(bid(4, 100), BookRemoved(1, 4)) == []
    (message,) = feed.push(BookRemoved(1, 1))
    assert message["data"]["bbo"][0]["px"] == "99.0"


def test_l2_book_comes_when_the_shown_part_changes() -> None:
    feed = Feed(bid(1, 100), bid(2, 99), ask(3, 101))
    topic = feed.open(type="l2Book", coin="TOYOTA", nLevels=1)
    shown = feed.snapshot(topic)["data"]
    assert shown == {
        "coin": "TOYOTA",
        "time": 2,
        "levels": [
            [{"px": "100.0", "sz": "1.0", "n": 1}],
            [{"px": "101.0", "sz": "1.0", "n": 1}],
        ],
    }
    assert feed.push(bid(4, 98), BookRemoved(1, 2)) == []
    (message,) = feed.push(bid(5, 100, 2))
    assert message["data"]["levels"][0] == [{"px": "100.0", "sz": "3.0", "n": 2}]
    assert message["height"] == 4
    (message,) = feed.push(BookRemoved(1, 3))
    assert message["data"]["levels"][1] == []


@given(data=st.data())
def test_l2_book_shows_what_a_fresh_look_at_the_book_shows(data: st.DataObject) -> None:
    feed = Feed()
    topics = [
        feed.open(type="l2Book", coin="TOYOTA", **more)
        for more in ({"nLevels": 2}, {"nSigFigs": 2}, {"nSigFigs": 5, "mantissa": 5, "nLevels": 3})
    ]
    shown = {topic: feed.snapshot(topic)["data"]["levels"] for topic in topics}
    oids: list[int] = []
    for number in range(data.draw(st.integers(1, 8))):
        transitions: list[Transition] = []
        for step in range(data.draw(st.integers(0, 4))):
            oid = 100 * number + step + 1
            if oids and data.draw(st.sampled_from((False, True))):
                transitions.append(
                    BookRemoved(1, oids.pop(data.draw(st.integers(0, len(oids) - 1))))
                )
            else:
                side = data.draw(st.sampled_from((BID, ASK)))
                px = (90 + data.draw(st.integers(1, 9)) * (1 if side == ASK else -1)) * PX
                transitions.append(BookAdded(1, oid, ALICE, side, px, PX))
                oids.append(oid)
        changes = feed.state.apply(block(feed.state.height + 1, *transitions))
        for topic, message in feed.channels.publish(changes):
            decoded = msgspec.json.decode(encode(message))
            assert decoded["data"]["levels"] != shown[topic], "pushed though nothing changed"
            shown[topic] = decoded["data"]["levels"]
        book = feed.state.markets[1].book
        for topic in topics:
            rounding, depth = topic.key.rounding, topic.key.depth
            look = Aggregation(book, *rounding).levels if rounding else book.depth
            fresh = [[quote[2] for quote in look(side, depth)] for side in (BID, ASK)]
            assert [[level["n"] for level in side] for side in shown[topic]] == fresh


def test_closing_one_of_two_rounded_topics_leaves_the_other() -> None:
    feed = Feed(bid(1, 100))
    first = feed.open(type="l2Book", coin="TOYOTA", nSigFigs=2)
    feed.open(type="l2Book", coin="TOYOTA", nSigFigs=2, nLevels=5)
    first.channel.close(first)
    assert len(feed.push(bid(2, 100))) == 1


def test_all_mids() -> None:
    feed = Feed(bid(1, 100), ask(2, 101))
    topic = feed.open(type="allMids")
    assert feed.snapshot(topic)["data"] == {"mids": {"TOYOTA": "100.5"}}
    assert feed.push(bid(3, 99)) == []
    (message,) = feed.push(bid(4, 10, market=2), ask(5, 12, market=2))
    assert message["data"] == {"mids": {"TOYOTA": "100.5", "SONY": "11.0"}}
    (message,) = feed.push(BookRemoved(1, 2))
    assert message["data"] == {"mids": {"SONY": "11.0"}}


def test_all_mids_are_the_same_bytes_whoever_has_read_for_how_long() -> None:
    """A market whose mid came back stands where it stood, as for one who begins to read now."""
    feed = Feed(bid(1, 100), ask(2, 101), bid(3, 10, market=2), ask(4, 12, market=2))
    feed.open(type="allMids")
    feed.push(BookRemoved(1, 2))
    (message,) = feed.push(ask(5, 101))
    assert list(message["data"]["mids"]) == ["TOYOTA", "SONY"]


def test_blocks_come_last_and_always() -> None:
    feed = Feed()
    feed.open(type="blocks")
    feed.open(type="trades", coin="TOYOTA")
    (message,) = feed.push()
    counts = {"transitions": 0, "trades": 0, "markets": 0}
    assert message["data"] == {"height": 3, "time": 3, **counts}
    messages = feed.push(fill(1), bid(1, 100))
    assert [message["channel"] for message in messages] == ["trades", "blocks"]
    assert messages[1]["data"]["trades"] == 1


def test_l4_snapshot_shows_orders_in_queue_order() -> None:
    feed = Feed(opened(7), bid(7, 100), bid(3, 100), bid(5, 101), ask(9, 102))
    topic = feed.open(type="l4Book", coin="TOYOTA")
    message = feed.snapshot(topic)
    assert (message["height"], message["prev"]) == (2, 2)
    snapshot = message["data"]["Snapshot"]
    assert [[order["oid"] for order in side] for side in snapshot["levels"]] == [[5, 7, 3], [9]]
    with_status, without_status = snapshot["levels"][0][1:]
    assert with_status == {
        "user": "0x" + ALICE.hex(),
        "coin": "TOYOTA",
        "side": "B",
        "limitPx": "100.0",
        "sz": "1.0",
        "oid": 7,
        "timestamp": 1_767_878_802_703,
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "isPositionTpsl": False,
        "reduceOnly": False,
        "orderType": "Limit",
        "tif": "Gtc",
        "cloid": None,
    }
    assert (without_status["tif"], without_status["timestamp"]) == ("Alo", 2)


def test_l4_updates_hold_every_status_and_step() -> None:
    feed = Feed(bid(1, 100, 5))
    feed.open(type="l4Book", coin="TOYOTA")
    before = BookAdded(1, 8, ALICE, BID, 100 * PX, PX, before_oid=1)
    refused = OrdersRefused(1, 1, lambda: [opened(7)])
    transitions = (opened(8), refused, before, BookChanged(1, 1, PX), BookRemoved(1, 1))
    (message,) = feed.push(*transitions)
    updates = message["data"]["Updates"]
    assert (updates["time"], updates["height"]) == (3, 3)
    assert [status["order"]["oid"] for status in updates["order_statuses"]] == [8, 7]
    status = updates["order_statuses"][0]
    assert (status["time"], status["order"]["user"]) == ("2026-01-08T13:26:42.703377851", None)
    common = {"user": "0x" + ALICE.hex(), "coin": "TOYOTA", "side": "B", "px": "100.0"}
    assert updates["book_diffs"] == [
        common | {"oid": 8, "raw_book_diff": {"new": {"sz": "1.0", "insertBefore": 1}}},
        common | {"oid": 1, "raw_book_diff": {"update": {"origSz": "5.0", "newSz": "1.0"}}},
        common | {"oid": 1, "raw_book_diff": "remove"},
    ]


def test_a_triggered_order_rests_as_what_it_became() -> None:
    trigger = Trigger(99 * PX, "Price below 99")
    status = OrderStatus(
        7, ALICE, 1, ASK, 98 * PX, PX, PX, None, True, trigger, b"\x01" * 16, "triggered",
        2_000_000_000, 1_000_000_000, "Stop Limit",
    )  # fmt: skip
    feed = Feed(status, BookAdded(1, 7, ALICE, ASK, 98 * PX, PX))
    order = feed.snapshot(feed.open(type="l4Book", coin="TOYOTA"))["data"]["Snapshot"]["levels"][1][
        0
    ]
    assert order["triggerCondition"] == "Triggered"
    assert (order["isTrigger"], order["triggerPx"], order["tif"]) == (False, "0.0", "Gtc")
    assert (order["timestamp"], order["orderType"]) == (2000, "Stop Limit")
    assert order["cloid"] == "0x" + "01" * 16


def test_prev_is_null_where_the_source_could_not_tell() -> None:
    feed = Feed()
    feed.state.markets[1].trades_height = None
    feed.open(type="trades", coin="TOYOTA")
    (message,) = feed.push(fill(1))
    assert message["prev"] is None


@pytest.mark.parametrize(
    ("subscription", "message"),
    [
        (
            {},
            "unknown subscription type None; there are status, trades, candle, bookDelta, l4Book",
        ),
        ({"type": ["l2Book"]}, "unknown subscription type ['l2Book']"),
        ({"type": "allMids", "dex": "xyz"}, "unknown dex 'xyz'"),
        ({"type": "l2Book"}, "l2Book subscription: Object missing required field `coin`"),
        ({"type": "l2Book", "coin": 5}, "l2Book subscription: Expected `str`, got `int`"),
        ({"type": "bbo", "coin": "BTC"}, "unknown coin 'BTC': this chain has SONY, TOYOTA"),
        ({"type": "l2Book", "coin": "SONY", "nLevels": 101}, "Expected `int` <= 100"),
        ({"type": "l2Book", "coin": "SONY", "nLevels": 0}, "Expected `int` >= 1"),
        (
            {"type": "l2Book", "coin": "SONY", "nSigFigs": 6},
            "nSigFigs is 2, 3, 4, 5 or null, not 6",
        ),
        ({"type": "l2Book", "coin": "SONY", "mantissa": 2}, "mantissa goes with nSigFigs 5"),
        (
            {"type": "l2Book", "coin": "SONY", "nSigFigs": 4, "mantissa": 2},
            "mantissa goes with nSigFigs 5",
        ),
        (
            {"type": "l2Book", "coin": "SONY", "nSigFigs": 5, "mantissa": 3},
            "mantissa is 1, 2, 5 or null, not 3",
        ),
    ],
)
def test_bad_subscriptions_are_told_what_is_allowed(
    subscription: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestInvalid) as caught:
        Feed().channels.resolve(subscription)
    assert message in str(caught.value)


def test_status_between_blocks_is_marked_as_all_is_while_the_feed_is_not_live() -> None:
    feed = Feed()
    health = feed.state.health = Health(feed.state, Bounds(stale_ns=3, behind_ns=1 << 62))
    health.note_block(0, 0, 0)
    feed.open(type="status")
    for now_ns, state in ((4, "stale"), (2, UNSET)):
        health.observe(now_ns, 0)
        ((_, message),) = feed.channels.status()
        assert message.state == state


def test_a_chain_without_markets_says_so() -> None:
    with pytest.raises(RequestInvalid, match="unknown coin 'BTC': no market is listed yet"):
        Channels(ChainState()).resolve({"type": "bbo", "coin": "BTC"})
