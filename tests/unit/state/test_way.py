"""The blocks that tell one way of a chain from another."""

from blocks import bid, block
from sidecar.limits import TELLING_BLOCKS
from sidecar.state.way import Way


def test_it_is_the_newest_that_changed_anything_and_the_last() -> None:
    assert not Way()
    assert list(Way()) == []
    full = [block(height, bid(height, 1)) for height in range(1, TELLING_BLOCKS + 3)]
    way = Way(full)
    assert way
    assert way.last is full[-1]
    assert list(way) == full[-TELLING_BLOCKS:]
    quiet = [block(height) for height in (101, 102)]
    for one in quiet:
        way.add(one)
    assert list(way) == [*full[-TELLING_BLOCKS:], quiet[-1]]


def test_a_quiet_beginning_is_its_last_block_alone() -> None:
    way = Way([block(1), block(2)])
    assert list(way) == [block(2)]
