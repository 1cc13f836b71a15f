"""However the bytes of the three files arrive, the blocks are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperliquid_node import (
    DIFFS,
    FILLS,
    STATUSES,
    STREAMS,
    FakeNode,
    drain,
    fill,
    new,
    remove,
    row,
    status,
    update,
)
from sidecar.node.transitions import Block, OrdersRefused, Transition

Piece = tuple[str, int, bytes]  # stream, hour, what is appended
_EVENTS: dict[str, Callable[[int], list[Any]]] = {
    STATUSES: lambda height: [
        status(height, coin=f"C{height // 3}"),
        status(height, "tickRejected"),
    ],
    DIFFS: lambda height: [new(height), update(height, "0.0"), remove(height)],
    FILLS: lambda height: [fill("B"), fill("A", coin="\u00fcber")],
}


def hour_files(stream: str) -> list[tuple[int, bytes]]:
    """Blocks 1 to 9 over three hours; a restart within the second and at the third."""
    contents = ((8, (1, 2, 3)), (9, (4, 5, 6, 4, 5, 6, 7)), (10, (6, 7, 8, 9)))
    make = _EVENTS[stream]
    return [
        (hour, b"".join(row(height, make(height)) for height in heights))
        for hour, heights in contents
    ]


def decoded(transition: Transition) -> object:
    return transition.statuses() if isinstance(transition, OrdersRefused) else transition


def plain(blocks: list[Block]) -> list[object]:
    return [
        (one.height, one.time_ns, one.written_ns, [decoded(each) for each in one.transitions])
        for one in blocks
    ]


@st.composite
def arrivals(draw: st.DrawFn) -> list[Piece]:
    """The bytes of each stream in pieces, in order, the streams interleaved."""
    waiting: dict[str, list[Piece]] = {}
    for stream in STREAMS:
        pieces = waiting[stream] = []
        for hour, content in hour_files(stream):
            cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=6)))
            for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
                pieces.append((stream, hour, content[start:end]))
    order: list[Piece] = []
    while any(waiting.values()):
        stream = draw(st.sampled_from([one for one in STREAMS if waiting[one]]))
        order.append(waiting[stream].pop(0))
    return order


@given(pieces=arrivals(), looks=st.integers(1, 5))
def test_every_split_and_interleaving_gives_the_same_blocks(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[Piece], looks: int
) -> None:
    whole, growing = (FakeNode(tmp_path_factory.mktemp(name)) for name in ("whole", "growing"))
    blocks: list[Block] = []
    with growing.reader() as reader:
        for number, (stream, hour, content) in enumerate(pieces):
            growing.append(stream, content, hour)
            if number % looks == 0:
                blocks += drain(reader)
        blocks += drain(reader)
        assert reader.half_lines_dropped == 0
    for stream in STREAMS:
        for hour, content in hour_files(stream):
            whole.append(stream, content, hour)
    assert plain(blocks) == plain(whole.blocks())
    assert [block.height for block in blocks] == list(range(1, 10))


@pytest.mark.parametrize("after", range(10))
def test_starting_anywhere_gives_the_rest(tmp_path: Path, after: int) -> None:
    node = FakeNode(tmp_path)
    for stream in STREAMS:
        for hour, content in hour_files(stream):
            node.append(stream, content, hour)
    assert [block.height for block in node.blocks(after)] == list(range(after + 1, 10))
