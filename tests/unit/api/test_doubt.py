"""What is wrong, unknown or new is never told as if it were right, known or old."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from account_case import crash_chain
from blocks import ALICE, BOB, PX, bid, block, fill, opened, state_of
from sidecar.api.channels import Channels
from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.errors import NotInSource, StateUnavailable
from sidecar.fixed import SCALE, parse
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import AccountRow, MarketRow
from sidecar.node.transitions import (
    BookRemoved,
    Fill,
    LedgerChanged,
    Leg,
    LeverageChanged,
    MarketListed,
    PricesUpdated,
    Transition,
)
from sidecar.recovery.scope import Scope
from sidecar.state.accounts import FEES
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows, restorer
from sidecar.state.health import Bounds, Health
from sidecar.state.margin import margin_lacks
from test_channels import Feed

USER = "0x" + ALICE.hex()
RULES = MarketListed(1, "TOYOTA", 2, 10)
HOUR_NS = 3_600_000_000_000
FREE = 10**10


def lenient(*transitions: Transition) -> Feed:
    """A feed whose contradictions become faults."""
    feed = Feed(*transitions)
    feed.state.strict = False
    return feed


def test_open_orders_are_not_told_while_a_book_of_theirs_is_wrong() -> None:
    feed = lenient(opened(1), bid(1, 100))
    topic = feed.open(type="openOrders", user=USER)
    other = feed.open(type="openOrders", user="0x" + BOB.hex())
    assert feed.channels.snapshot(topic) is not None
    feed.push(BookRemoved(1, 99))
    assert set(feed.state.faults.books) == {1}
    assert feed.channels.snapshot(topic) is None
    assert feed.channels.snapshot(other) is not None
    for request in (
        {"type": "openOrders"},
        {"type": "frontendOpenOrders"},
        {"type": "orderStatus", "oid": 1},
        {"type": "orderStatus", "oid": 2},
    ):
        with pytest.raises(StateUnavailable, match="a book with orders of this user"):
            answer_info(feed.state, request | {"user": USER})
    assert answer_info(feed.state, {"type": "openOrders", "user": "0x" + BOB.hex()}) == []


def test_one_oid_in_two_markets_is_a_contradiction_of_the_second_book() -> None:
    state = ChainState(strict=False)
    state.apply(
        block(1, MarketListed(1, "A"), MarketListed(2, "B"), bid(7, 100), bid(7, 100, 1, 2))
    )
    assert set(state.faults.books) == {2}
    assert "order 7 is added, and rests in another market" in state.faults.books[2].what
    state.apply(block(2, BookRemoved(1, 7), BookRemoved(2, 7)))
    assert not state.markets[1].book.orders
    assert not state.users.look(ALICE).resting


def test_while_everything_is_wrong_no_book_and_no_account_is_told() -> None:
    feed = lenient(opened(1), bid(1, 100))
    state = feed.state
    health = state.health = Health(state, Bounds(1, 1))
    health.note_block(0, 0, 0)
    books = [feed.open(type=kind, coin="TOYOTA") for kind in ("l2Book", "bookDelta", "l4Book")]
    orders = feed.open(type="openOrders", user=USER)
    feed.open(type="trades", coin="TOYOTA")
    feed.open(type="blocks")
    mids = feed.open(type="allMids")
    told = feed.push(fill(1), bid(2, 101), bid(3, 100, market=9))
    assert {one["channel"] for one in told} == {"trades", "blocks"}
    assert all(one["state"] == "resyncing" for one in told)
    assert all(feed.channels.snapshot(topic) is None for topic in (*books, orders, mids))
    for request in (
        *({"type": kind, "coin": "TOYOTA"} for kind in ("l2Book", "l4Snapshot")),
        *({"type": kind, "user": USER} for kind in ("openOrders", "clearinghouseState")),
    ):
        with pytest.raises(StateUnavailable, match="market 9 is used but was never listed"):
            answer_info(state, request)
    assert health.books_withheld() == 2
    health.break_feed("resyncing", "market 9")
    assert health.feed.height == state.height - 1


def again(state: ChainState) -> ChainState:
    """From its checkpoint."""
    copy = ChainState(strict=False)
    restorer(copy, state.height, state.time_ns).rows(checkpoint_rows(state))
    return copy


def test_rounded_books_of_any_depth_are_those_of_the_rebuilt_book() -> None:
    """They share their sums, which are of the book that was wrong."""
    feed = Feed(bid(1, 10_003), bid(2, 10_002))
    topics = [
        feed.open(type="l2Book", coin="TOYOTA", nSigFigs=4, nLevels=depth) for depth in (1, 5, 50)
    ]
    feed.state.adopt(state_of(bid(3, 10_001, sz=7)))
    restarts = list(feed.channels.restart(lambda _: True, 2, "rebuilt"))
    assert [one.topic for one in restarts] == topics
    right = [[{"px": "10000.0", "sz": "7.0", "n": 1}], []]
    for restart in restarts:
        assert msgspec.json.decode(encode(restart.snapshot))["data"]["levels"] == right
    messages = feed.push(BookRemoved(1, 3))
    assert [one["data"]["levels"] for one in messages] == [[[], []]] * 3


def test_what_a_source_does_not_tell_it_does_not_tell_after_a_restart() -> None:
    state = ChainState(strict=False)
    state.restore(5, HOUR_NS, [MarketRow(MarketListed(1, "BTC"))])
    state.apply(msgspec.structs.replace(block(6, fill(1)), time_ns=2 * HOUR_NS))
    for one in (state, again(state)):
        for kind in ("userFunding", "userNonFundingLedgerUpdates", "userRole", "extraAgents"):
            request = {"type": kind, "user": USER, "startTime": 0}
            with pytest.raises(NotInSource):
                answer_info(one, request)


def test_a_market_that_such_a_source_names_first_may_have_had_messages_before() -> None:
    state = ChainState(strict=False)
    state.restore(5, HOUR_NS, [])
    channels = Channels(state)
    state.apply(block(6, MarketListed(1, "BTC")))
    for kind in ("trades", "l4Book"):
        topic = channels.resolve({"type": kind, "coin": "BTC"})
        topic.channel.open(topic)
    changes = state.apply(block(7, fill(1), opened(1), bid(1, 100)))
    prevs = {message.channel: message.prev for _, message in channels.publish(changes)}  # type: ignore[union-attr]
    assert prevs == {"trades": None, "l4Book": None}


def candle_messages(state: ChainState, heights: Iterator[int], minutes: list[int]) -> list[Any]:
    """`candle` messages of 5m, of a trade at each of these minutes."""
    channels = Channels(state)
    topic = channels.resolve({"type": "candle", "coin": "TOYOTA", "interval": "5m"})
    topic.channel.open(topic)
    found = []
    for minute in minutes:
        made = block(next(heights), fill(1))
        changes = state.apply(
            msgspec.structs.replace(made, time_ns=HOUR_NS + minute * HOUR_NS // 60)
        )
        found += [json.loads(encode(message)) for _, message in channels.publish(changes)]
    return found


def test_the_first_whole_candle_names_no_message_before_it() -> None:
    """Trades in candles that are not whole were not told of."""
    state = ChainState()
    state.restore(5, HOUR_NS + HOUR_NS // 60, [MarketRow(RULES), AccountRow(ALICE, 0, (), ())])
    found = candle_messages(state, iter(range(6, 99)), [2, 3, 5, 6, 10])
    assert [(one["height"], one["prev"]) for one in found] == [(8, None), (9, 8), (10, 9)]


def test_later_markets_have_the_same_candles_after_a_restart() -> None:
    """Known since the first start, not since the last."""
    state = ChainState()
    state.restore(5, HOUR_NS + 1, [MarketRow(RULES), AccountRow(ALICE, 0, (), ())])
    state.apply(msgspec.structs.replace(block(6), time_ns=2 * HOUR_NS + 1))
    later: list[Transition] = [MarketListed(2, "NIKE", 2, 10), fill(1, market=2)]
    wanted = {"coin": "NIKE", "interval": "2h", "startTime": 0}
    answers = []
    for one in (again(state), state):
        one.apply(msgspec.structs.replace(block(7, *later), time_ns=2 * HOUR_NS + 2))
        answers.append(answer_info(one, {"type": "candleSnapshot", "req": wanted}))
    assert answers[0] == answers[1] != []


@pytest.mark.parametrize("start", [10**15, 1 << 62, -(1 << 62)])
@pytest.mark.parametrize("interval", ["1m", "1M"])
def test_candles_of_any_time_can_be_asked_for(start: int, interval: str) -> None:
    request = {"coin": "TOYOTA", "interval": interval, "startTime": start}
    answer = answer_info(Feed(fill(1)).state, {"type": "candleSnapshot", "req": request})
    assert len(answer) == (start < 0)


def test_the_account_of_fees_can_be_rebuilt() -> None:
    buyer, seller = Leg(ALICE, 1, None, 0, 0, 7), Leg(BOB, 2, None, 0, 0, 5)
    made = [block(1, RULES), block(2, Fill(1, 1, PX, PX, 0, b"", buyer, seller))]
    scope, whole, rebuilt = Scope(users=[FEES]), ChainState(), ChainState(strict=False)
    for one in made:
        whole.apply(one)
        rebuilt.apply(scope.block(one))
    assert rebuilt.users.look(FEES).balance == whole.users.look(FEES).balance == 12


def below_initial(*, cross: bool) -> ChainState:
    """Long 10 at 100 with 10x, marked down to 95."""
    state = ChainState()
    leg = Leg(ALICE, 1, None, 0, 0, 0)
    bought = Fill(1, 1, 100 * PX, 10 * PX, 0, b"", leg, Leg(BOB, 2, None, 0, 0, 0))
    margin = 0 if cross else 100 * PX
    state.apply(
        block(
            1,
            RULES,
            PricesUpdated(((1, 100 * PX, 100 * PX),)),
            LedgerChanged(ALICE, "deposit", 100 * PX if cross else 120 * PX),
            LeverageChanged(ALICE, 1, 10, cross, 0),
            bought,
            *(() if cross else (LeverageChanged(ALICE, 1, 10, cross, margin),)),
            PricesUpdated(((1, 95 * PX, 95 * PX),)),
        )
    )
    return state


@pytest.mark.parametrize("cross", [True, False])
def test_what_can_be_traded_is_what_margin_allows(cross: bool) -> None:
    """Less the fee, which the figure leaves out."""
    state = below_initial(cross=cross)
    asked = {"type": "activeAssetData", "user": USER, "coin": "TOYOTA"}
    sizes = [parse(size) for size in answer_info(state, asked)["maxTradeSzs"]]
    for sign, size in zip((1, -1), sizes, strict=True):
        almost, more = size * 98 // 100, size * 102 // 100 + SCALE
        assert not almost or not lacks(state, ALICE, 1, sign * almost)
        assert lacks(state, ALICE, 1, sign * more)


def lacks(state: ChainState, address: bytes, market: int, sz: int) -> bool:
    user = state.users.look(address)
    return margin_lacks(state.accounts, state.markets, user, state.markets[market], sz)


def test_what_can_be_traded_over_a_lively_chain() -> None:
    chain, state, compared = crash_chain(), ChainState(), 0
    for height in range(1, 201):
        state.apply(decode_block(encode_block(chain.step())))
        if height % 20:
            continue
        for address, user in list(state.users.by_address.items())[::7]:
            for market in state.markets.values():
                if not state.accounts.leverage_of(user, market).is_cross:
                    continue
                asked = {"user": "0x" + address.hex(), "coin": market.symbol}
                answer = answer_info(state, asked | {"type": "activeAssetData"})
                for sign, size in zip((1, -1), answer["maxTradeSzs"], strict=True):
                    sz = sign * parse(size) * 95 // 100
                    compared += sz != 0
                    assert not sz or not lacks(state, address, market.id, sz), (height, asked)
    assert compared > 300
