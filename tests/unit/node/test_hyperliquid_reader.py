"""The reader: three streams become blocks, through restarts, gaps, lag and broken lines."""

from pathlib import Path
from typing import Any

import pytest

from hyperliquid_node import (
    DIFFS,
    FILLS,
    STATUSES,
    STREAMS,
    FakeNode,
    block_ns,
    block_time,
    drain,
    failing,
    fill,
    heights,
    new,
    row,
    status,
    update,
)
from sidecar.errors import LogCorrupt, LogGap
from sidecar.node import follow
from sidecar.node.follow import Follower
from sidecar.node.transitions import (
    BookAdded,
    BookChanged,
    Fill,
    MarketListed,
    OrdersRefused,
    OrderStatus,
)


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def test_a_block_is_there_when_all_three_streams_have_it(node: FakeNode) -> None:
    with node.reader() as reader:
        for stream in STREAMS:
            assert reader.next_block() is None
            node.append(stream, row(1))
        assert heights(drain(reader)) == [1]
        assert reader.height == 1


@pytest.mark.parametrize("late", STREAMS)
def test_a_new_diff_before_its_open_status_waits_for_it(node: FakeNode, late: str) -> None:
    rows = {STATUSES: row(1, [status(7)]), DIFFS: row(1, [new(7)]), FILLS: row(1)}
    with node.reader() as reader:
        for stream in [one for one in STREAMS if one != late]:
            node.append(stream, rows[stream])
        assert drain(reader) == []
        assert reader.behind() == [node.data_dir / late]
        node.append(late, rows[late])
        (block,) = drain(reader)
        assert reader.behind() == []
    assert [type(one) for one in block.transitions] == [MarketListed, OrderStatus, BookAdded]


def test_a_block_has_its_times_and_its_transitions_in_order(node: FakeNode) -> None:
    late = {"local_time": block_time(99)}
    node.append(STATUSES, row(1, [status(7, "tickRejected"), status(8)]))
    node.append(DIFFS, row(1, [update(3, "0.1"), new(8)], **late))
    node.append(FILLS, row(1, [fill("B"), fill("A")]))
    (block,) = node.blocks()
    assert (block.height, block.time_ns, block.written_ns) == (1, block_ns(1), block_ns(99))
    assert [type(one) for one in block.transitions] == [
        MarketListed,
        OrderStatus,
        OrdersRefused,
        BookChanged,
        BookAdded,
        Fill,
    ]


def test_empty_event_rows_are_blocks_too(node: FakeNode) -> None:
    node.write_all(range(1, 4))
    blocks = node.blocks()
    assert heights(blocks) == [1, 2, 3]
    assert all(block.transitions == [] for block in blocks)


def test_blocks_up_to_the_snapshot_are_skipped_and_are_no_reemissions(node: FakeNode) -> None:
    node.write_all(range(1, 10))
    with node.reader(after=6) as reader:
        assert heights(drain(reader)) == [7, 8, 9]
        assert reader.rows_reemitted == 0


def test_a_snapshot_newer_than_the_files_waits_for_them(node: FakeNode) -> None:
    node.write_all(range(1, 4))
    with node.reader(after=5) as reader:
        assert drain(reader) == []
        node.write_all(range(4, 8))
        assert heights(drain(reader)) == [6, 7]


def test_a_snapshot_older_than_the_files_is_a_gap_that_says_so(node: FakeNode) -> None:
    node.write_all(range(10, 12))
    with node.reader(after=5) as reader:
        error = failing(reader, LogGap)
    assert "start at block 10, and block 6 is needed: the snapshot is older" in str(error)
    assert (error.path, error.offset, error.height) == (node.path(STATUSES), 0, 6)


def test_restart_rewind_is_skipped_and_counted(node: FakeNode) -> None:
    node.write_all(range(1, 8))
    with node.reader() as reader:
        assert heights(drain(reader)) == list(range(1, 8))
        node.write_all(range(3, 10))  # from the last saved state on, into the same files
        assert heights(drain(reader)) == [8, 9]
        assert reader.rows_reemitted == 3 * 5


def test_a_restart_may_go_back_far_and_again(node: FakeNode) -> None:
    for last in (20, 15, 10, 30):
        node.write_all(range(1, last + 1))
    with node.reader() as reader:
        assert heights(drain(reader)) == list(range(1, 31))
        assert reader.rows_reemitted == 3 * (15 + 10 + 20)


def test_a_rewind_in_the_next_hour_file(node: FakeNode) -> None:
    node.write_all(range(1, 8))
    with node.reader() as reader:
        drain(reader)
        node.write_all(range(5, 10), hour=4)
        assert heights(drain(reader)) == [8, 9]


def test_a_rewind_to_before_the_oldest_row_is_skipped(node: FakeNode) -> None:
    node.write_all(range(5, 8))
    with node.reader(after=4) as reader:
        drain(reader)
        node.write_all(range(1, 10))
        assert heights(drain(reader)) == [8, 9]


def test_rewound_rows_are_not_decoded(node: FakeNode) -> None:
    node.write_all(range(1, 3))
    for stream in STREAMS:
        node.append(stream, row(1).replace(b'"events":[]', b'"events":["garbage"]'))
    node.write_all(range(2, 4))
    assert heights(node.blocks()) == [1, 2, 3]


def test_half_line_glued_to_what_the_restarted_node_writes(node: FakeNode) -> None:
    node.write_all(range(1, 4))
    node.append(STATUSES, row(4, [status(7)])[:-30])  # the node dies here
    node.write_all(range(3, 6))
    with node.reader() as reader:
        assert heights(drain(reader)) == [1, 2, 3, 4, 5]
        assert reader.half_lines_dropped == 1


@pytest.mark.parametrize("cut", [1, 5, 20, 60, 100, 110, 130])
def test_half_line_cut_anywhere_glued_to_its_own_height(node: FakeNode, cut: int) -> None:
    node.write(1)
    node.append(DIFFS, row(2, [new(7)])[:cut])
    node.write(2, diffs=[new(8)])
    _, second = node.blocks(markets={"BTC": 0})
    assert [getattr(one, "oid", 0) for one in second.transitions] == [8]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("hole", [1, 10, 1000])
def test_a_hole_is_a_gap_with_file_offset_and_height(
    node: FakeNode, stream: str, hole: int
) -> None:
    node.write_all(range(1, 4))
    offset = node.path(stream).stat().st_size
    node.append(stream, row(4 + hole))
    for other in STREAMS:
        if other != stream:
            node.append(other, row(4))
    with node.reader() as reader:
        error = failing(reader, LogGap)
        assert reader.height == 3
    assert f"block {4 + hole} follows block 3" in str(error)
    assert (error.path, error.offset, error.height) == (node.path(stream), offset, 4)


def test_block_times_that_differ_are_corrupt(node: FakeNode) -> None:
    node.append(STATUSES, row(1))
    node.append(DIFFS, row(1, block_time=block_time(2)))
    node.append(FILLS, row(1))
    with node.reader() as reader:
        error = failing(reader, LogCorrupt)
    assert f"block_time differs from that of {node.path(STATUSES)} at offset 0" in str(error)
    assert (error.path, error.offset, error.height) == (node.path(DIFFS), 0, 1)


def test_block_times_of_other_precision_are_equal(node: FakeNode) -> None:
    node.append(STATUSES, row(1, block_time="2026-04-24T03:00:00.070"))
    node.append(DIFFS, row(1))
    node.append(FILLS, row(1))
    assert heights(node.blocks()) == [1]


def test_a_stream_that_lags_costs_no_memory(node: FakeNode) -> None:
    for stream in (STATUSES, DIFFS):
        node.append(stream, b"".join(row(height) for height in range(1, 5001)))
    with node.reader() as reader:
        assert reader.next_block() is None
        held = [stream.row for stream in reader._streams]
        assert [one is None for one in held] == [False, False, True]
        assert reader.behind() == [node.data_dir / FILLS]
        node.append(FILLS, b"".join(row(height) for height in range(1, 5001)))
        assert heights(drain(reader)) == list(range(1, 5001))


def test_a_late_hour_file_of_one_stream(node: FakeNode) -> None:
    node.write_all(range(1, 4))
    with node.reader() as reader:
        drain(reader)
        for stream in (STATUSES, DIFFS):
            node.append(stream, row(4), hour=4)
        node.append(FILLS, row(4), hour=3)  # this one's clock passed the hour later
        assert heights(drain(reader)) == [4]
        node.append(FILLS, row(5), hour=4)
        for stream in (STATUSES, DIFFS):
            node.append(stream, row(5), hour=4)
        assert heights(drain(reader)) == [5]


def test_midnight(node: FakeNode) -> None:
    node.write_all(range(1, 3), hour=23)
    node.write_all(range(3, 5), hour=0, date="20260425")
    assert heights(node.blocks()) == [1, 2, 3, 4]


def test_half_line_that_is_given_up_leaves_a_gap(node: FakeNode) -> None:
    node.write_all(range(1, 3))
    node.append(DIFFS, row(3)[:60])
    for stream in (STATUSES, FILLS):
        node.append(stream, row(3))
    node.write_all(range(4, 6), hour=4)
    with node.reader() as reader:
        assert heights(drain(reader)) == [1, 2]
        node.clock.pass_s(5)
        error = failing(reader, LogGap)
        assert reader.half_lines_dropped == 1
    assert (error.path, error.height) == (node.path(DIFFS, 4), 3)


def test_missing_streams_are_named(node: FakeNode) -> None:
    with node.reader() as reader:
        assert reader.next_block() is None
        assert reader.missing() == [node.data_dir / stream for stream in STREAMS]
        node.append(STATUSES, row(1))
        node.append(FILLS, row(1))
        assert reader.next_block() is None
        assert reader.missing() == reader.behind() == [node.data_dir / DIFFS]
        node.append(DIFFS, row(1))
        assert reader.next_block() is not None
        assert reader.missing() == reader.behind() == []


def test_directories_are_those_of_all_streams(node: FakeNode) -> None:
    node.write(1)
    with node.reader() as reader:
        drain(reader)
        watched = reader.directories()
    assert watched[0] == node.data_dir
    assert {node.path(stream).parent for stream in STREAMS} <= set(watched)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}", "missing required field"),
        (b"\x00\x00\x00", "JSON is malformed"),
        (b"[]", "Expected `object`"),
        (row(2)[:-3], "Input data was truncated"),
        (row(2).replace(b'"events":[]', b'"events":[}'), "JSON is malformed"),
        (row(2).replace(b'"events":[]', b'"events":null'), "Expected `array`"),
        (row(2, local_time="now")[:-1], "'now' is not a time"),
        (row(2, block_number="2")[:-1], "Expected `int`, got `str`"),
        (row(2, later="\u00fc").replace("\u00fc".encode(), b"\xff")[:-1], "invalid start byte"),
        (b'{"a":' * 100_000, "recursion"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("stream", STREAMS)
def test_a_complete_line_that_is_no_row_is_corrupt(
    node: FakeNode, stream: str, line: bytes, message: str
) -> None:
    node.write(1)
    offset = node.path(stream).stat().st_size
    node.append(stream, line + b"\n")
    with node.reader() as reader:
        error = failing(reader, LogCorrupt)
        assert reader.height == 1
    assert message in str(error)
    assert (error.path, error.offset, error.height) == (node.path(stream), offset, 2)


def test_invalid_utf8_within_a_refusal_is_found_at_once(node: FakeNode) -> None:
    line = row(1, [status(7, "tickRejected", orderType="\u00fc")])
    node.append(STATUSES, line.replace("\u00fc".encode(), b"\xc3"))
    with node.reader() as reader:
        assert "invalid continuation byte" in str(failing(reader, LogCorrupt))


def test_utf8_is_fine(node: FakeNode) -> None:
    (told,) = node.block(statuses=[status(7, orderType="Gr\u00fc\u00df")]).transitions
    assert isinstance(told, OrderStatus)
    assert told.order_type == "Gr\u00fc\u00df"


def test_spaces_and_another_order_of_keys_are_fine(node: FakeNode) -> None:
    for height in (1, 2, 1, 2, 3):
        for stream in STREAMS:
            text = (
                f'{{"block_number": {height}, "events": [], '
                f'"block_time": "{block_time(height)}", "local_time": "{block_time(height)}"}}\n'
            )
            node.append(stream, text.encode())
    with node.reader() as reader:
        assert heights(drain(reader)) == [1, 2, 3]
        assert reader.rows_reemitted == 6


def test_an_error_leaves_the_markets_as_they_were(node: FakeNode) -> None:
    node.write(1, statuses=[status(7, coin="ETH")], diffs=[new(8, "bad", coin="SOL")])
    with node.reader(markets={"BTC": 0}) as reader:
        failing(reader, LogCorrupt)
        assert reader.markets == {"BTC": 0}


def test_the_markets_given_are_not_changed(node: FakeNode) -> None:
    markets = {"BTC": 0}
    node.write(1, statuses=[status(7, coin="ETH")])
    with node.reader(markets=markets) as reader:
        drain(reader)
        assert reader.markets == {"BTC": 0, "ETH": 1}
    assert markets == {"BTC": 0}


def test_a_block_of_4000_lines(node: FakeNode) -> None:
    events: list[Any] = [status(oid, "badAloPxRejected") for oid in range(3900)]
    (one,) = node.block(statuses=events, diffs=[]).transitions
    assert isinstance(one, OrdersRefused)
    assert [told.oid for told in one.statuses()] == list(range(3900))


@pytest.mark.anyio
async def test_a_follower_wakes_up_for_new_hours(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 3600.0)  # what wakes it is inotify
    node.write(1)
    found: list[int] = []
    with node.reader() as reader:
        async for block in Follower(reader).blocks():
            found.append(block.height)
            if block.height == 6:
                break
            node.write(block.height + 1, hour=20 + (block.height + 1) // 2)
    assert found == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("junk", [b"\xff\xfe no row\n", b"\x00" * 40 + b"\n"])
def test_a_line_that_can_not_be_read_is_none_of_whoever_is_past_it(
    tmp_path: Path, junk: bytes
) -> None:
    node = FakeNode(tmp_path)
    node.write_all(range(1, 4))
    for stream in STREAMS:
        node.append(stream, junk)
    with node.reader() as reader:
        assert heights([block for _ in range(3) if (block := reader.next_block())]) == [1, 2, 3]
        assert failing(reader, LogCorrupt).height == 4
        node.write_all(range(5, 8))  # 4 was lost with it
        assert failing(reader, LogCorrupt).height == 4
    assert heights(node.blocks(after=5)) == [6, 7]
    with node.reader(after=3) as reader:
        assert failing(reader, LogCorrupt).height == 4
