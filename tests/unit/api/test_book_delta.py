"""`bookDelta`: a client that follows it has the book after every block, and notices all else."""

import importlib.util
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks import ALICE, ask, bid, block, state_of
from sidecar.api.channels import Channels
from sidecar.api.channels.book_delta import checksum
from sidecar.api.messages import encode
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.fixed import to_text
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import ASK, BID, BookChanged, BookRemoved, Transition
from sidecar.state.chain import ChainState

CLIENT = Path(__file__).parents[3] / "docs" / "book_delta_client.py"


def client_book() -> Any:
    """The reference client's."""
    spec = importlib.util.spec_from_file_location("book_delta_client", CLIENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Book()


class Feed:
    """A topic of TOYOTA's, and what it said."""

    def __init__(self, state: ChainState, coin: str = "TOYOTA") -> None:
        self.state = state
        self.channels = Channels(state)
        self.topic = self.channels.resolve({"type": "bookDelta", "coin": coin})
        self.topic.channel.open(self.topic)

    def snapshot(self) -> Any:
        return json.loads(encode(self.channels.snapshot(self.topic)))

    def push(self, *transitions: Transition) -> list[Any]:
        changes = self.state.apply(block(self.state.height + 1, *transitions))
        return [json.loads(encode(message)) for _, message in self.channels.publish(changes)]


def levels(state: ChainState, coin: str) -> Any:
    book = state.by_symbol[coin].book
    return [
        {to_text(px): (to_text(sz), n) for px, sz, n in book.levels(side)} for side in (BID, ASK)
    ]


def test_the_client_is_short_and_stands_alone() -> None:
    text = CLIENT.read_text()
    assert len([line for line in text.splitlines() if line]) < 60
    assert "sidecar" not in text.replace("docs/", "")


def test_levels_come_when_they_end_a_block_different() -> None:
    feed = Feed(state_of(bid(1, 100), ask(2, 101)))
    first = feed.snapshot()
    assert first["data"]["bids"] == [["100.0", "1.0", 1]]
    assert (first["height"], first["prev"]) == (2, 2)
    (message,) = feed.push(bid(3, 100, 2), bid(4, 99))
    assert message["data"]["bids"] == [["100.0", "3.0", 2], ["99.0", "1.0", 1]]
    assert message["data"]["asks"] == []
    assert (message["height"], message["prev"]) == (3, 2)
    assert feed.push(bid(5, 98), BookRemoved(1, 5)) == []  # as it was
    (message,) = feed.push(BookRemoved(1, 4))
    assert message["data"]["bids"] == [["99.0", "0.0", 0]]
    assert (message["height"], message["prev"]) == (5, 3)
    assert feed.push(BookChanged(1, 2, 0))[0]["data"]["asks"] == [["101.0", "0.0", 0]]


def test_the_checksum_of_the_documentation() -> None:
    state = state_of(bid(1, 100, 2), bid(2, 99), ask(3, 101), ask(4, 101, 3))
    assert checksum(state.markets[1].book) == EXAMPLE
    empty = state_of()
    assert checksum(empty.markets[1].book) == 0x8BB1D29A  # of "|"


EXAMPLE = 15704411  # of "100.0:2.0:1,99.0:1.0:1|101.0:4.0:2"; docs/api.md says it, too


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), at=st.integers(1, 30))
def test_a_client_has_the_book_after_every_block(seed: int, at: int) -> None:
    chain, state = Chain(DevnetConfig(path="unused", seed=seed)), ChainState()
    for _ in range(at):
        state.apply(decode_block(encode_block(chain.step())))
    coin = next(iter(state.by_symbol))
    feed, book, heights = Feed(state, coin), client_book(), []
    book.apply(feed.snapshot())
    assert [book.bids, book.asks] == levels(state, coin)
    for _ in range(30):
        changes = state.apply(decode_block(encode_block(chain.step())))
        for _, message in feed.channels.publish(changes):
            book.apply(json.loads(encode(message)))
            heights.append((message.height, message.prev))  # type: ignore[union-attr]
        assert [book.bids, book.asks] == levels(state, coin)
    assert [prev for _, prev in heights[1:]] == [height for height, _ in heights[:-1]]


def messages() -> list[Any]:
    feed = Feed(state_of(bid(1, 100), bid(2, 99), ask(3, 101)))
    found = [feed.snapshot()]
    for oid in range(10, 16):
        found += feed.push(bid(oid, 90 + oid % 3, oid), ask(oid + 50, 102 + oid % 2))
    return found


@pytest.mark.parametrize("spoil", ["lost", "twice", "size", "level", "number"])
def test_the_client_notices_what_is_not_right(spoil: str) -> None:
    spoiled = deepcopy(messages())
    if spoil == "lost":
        del spoiled[2]
    elif spoil == "twice":
        spoiled.insert(3, spoiled[2])
    elif spoil == "size":
        spoiled[2]["data"]["bids"][0][1] = "77.0"
    elif spoil == "level":
        spoiled[2]["data"]["asks"].pop()
    else:
        spoiled[2]["data"]["bids"][0][2] += 1
    book = client_book()
    with pytest.raises(ValueError, match=r"have |the book is wrong"):
        for message in spoiled:
            book.apply(message)
    whole = client_book()
    for message in messages():
        whole.apply(message)


def test_the_chain_of_heights_does_not_need_a_reader() -> None:
    state = state_of(bid(1, 100))
    for height in (3, 4):
        state.apply(block(height, bid(height, 90)))
    state.apply(block(5))
    assert Feed(state).snapshot()["prev"] == 4
    assert state.users.get(ALICE).resting.keys() == {1, 3, 4}
