"""The checker of ways: what it finds in streams of which each message by itself is right."""

import json

import pytest

from blocks import TOYOTA, bid, block
from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.node.transitions import Block
from sidecar.state.chain import ChainState
from tests.simulation.client import Reading
from tests.simulation.oracle import Oracle
from tests.simulation.ways import mixed

SUBSCRIPTION = {"type": "bookDelta", "coin": "TOYOTA"}
KEY = json.dumps(SUBSCRIPTION, sort_keys=True)
PROCESS = (8010, 1)
COMMON = [block(1, TOYOTA), block(2), block(3, bid(1, 100))]
LEFT = [*COMMON, block(4, bid(2, 101)), block(5, bid(4, 104))]
TAKEN = [*COMMON, block(4, bid(3, 102)), block(5, bid(4, 104)), block(6, bid(5, 105))]
GAP = b'{"channel":"gap","data":{"from":5,"to":5}}'


def told(blocks: list[Block]) -> dict[int, bytes]:
    """What is pushed of the book, by heights."""
    state = ChainState()
    channels, said = Channels(state), {}
    state.apply(blocks[0])
    topic = channels.resolve(dict(SUBSCRIPTION))
    topic.channel.open(topic)
    for one in blocks[1:]:
        for _, message in channels.publish(state.apply(one)):
            said[one.height] = encode(message)
    return said


LEFT_SAYS, TAKEN_SAYS = told(LEFT), told(TAKEN)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    made = Oracle()
    for way in (LEFT, TAKEN):
        made.follow({one.height: one for one in way}, [KEY], {}, {})
    return made


def reading(
    *texts: bytes, resumed: int | None = None, process: tuple[int, int] = PROCESS
) -> Reading:
    return Reading(dict(SUBSCRIPTION), resumed, process, 0.0, list(texts))


def test_the_two_ways_part_and_meet() -> None:
    assert LEFT_SAYS[3] == TAKEN_SAYS[3]
    assert LEFT_SAYS[4] != TAKEN_SAYS[4]


def test_one_way_whoever_comes_back(oracle: Oracle) -> None:
    for says in (LEFT_SAYS, TAKEN_SAYS):
        first = reading(says[3], says[4])
        assert not mixed([[first, reading(says[5], resumed=4)]], oracle)
    assert not mixed([[reading(LEFT_SAYS[3]), reading(TAKEN_SAYS[4], resumed=3)]], oracle)


def test_another_way_in_one_stream_or_behind_a_comeback(oracle: Oracle) -> None:
    for streams in (
        [reading(LEFT_SAYS[4], TAKEN_SAYS[6])],
        [reading(LEFT_SAYS[4]), reading(TAKEN_SAYS[6], resumed=5)],
        [reading(LEFT_SAYS[4]), reading(resumed=4), reading(TAKEN_SAYS[6], resumed=5)],
    ):
        (what,) = mixed([streams], oracle)
        assert "height 6: of another way than what came before" in what


def test_who_begins_anew_has_nothing_of_the_other_way(oracle: Oracle) -> None:
    other = (8010, 2)
    for streams in (
        [reading(LEFT_SAYS[4], GAP, TAKEN_SAYS[6])],
        [reading(LEFT_SAYS[4]), reading(GAP, TAKEN_SAYS[6], resumed=4)],
        [reading(LEFT_SAYS[4]), reading(TAKEN_SAYS[6])],
        [reading(LEFT_SAYS[4]), reading(TAKEN_SAYS[6], resumed=5, process=other)],
    ):
        assert not mixed([streams], oracle)
