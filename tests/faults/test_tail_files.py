"""What can be wrong with a Hyperliquid node's files while they are read."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from sidecar.node.hyperliquid.reader import DIFFS, FILLS, STATUSES, STREAMS
from tests.faults.recorder import Missed
from tests.faults.recording import COINS, MARK
from tests.faults.stages import Stage, Stages


@pytest.fixture
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.of("hyperliquid") as stage:
        yield stage


def spans(missed: list[Missed]) -> set[tuple[int, int]]:
    return {(one.first, one.last) for one in missed}


def leads_on(stage: Stage, since: int, first: int) -> list[Missed]:
    """The feed is a gap until the node is asked for a snapshot behind it; what was missed is
    told.
    """
    stage.recorder.await_feed("gap", since)
    node = stage.node
    while node.height % MARK:
        node.write(node.height + 1)
    stage.recorder.reach(node.height)
    node.play(1)
    missed = stage.settle()
    assert missed
    assert all(one.first == first for one in missed)
    assert "live" in stage.recorder.feed[since:]
    return missed


@pytest.mark.parametrize("blocks", [1, 10])
def test_hole(stage: Stage, blocks: int) -> None:
    since = stage.told()
    stage.play(3)
    first = stage.node.height + 1
    stage.node.skip(blocks)
    stage.node.play(1)
    leads_on(stage, since, first)


def test_hole_of_1000(stages: Stages) -> None:
    with stages.of("hyperliquid", blocks=1_000 + 4 * MARK) as stage:
        since = stage.told()
        stage.play(2)
        first = stage.node.height + 1
        stage.node.skip(1_000)
        stage.node.play(1)
        leads_on(stage, since, first)


@pytest.mark.parametrize("dead", STREAMS)
def test_one_of_several_sources_dead(stage: Stage, dead: str) -> None:
    """Nothing is told of blocks of which a part is missing; which one is said in the log."""
    since = stage.told()
    stage.play(2)
    node = stage.files
    height = node.height
    for _ in range(5):
        node.write(node.height + 1, [stream for stream in STREAMS if stream != dead])
    stage.server.wait_for(rf"streams are apart.*|waiting_for.*{dead}")
    stage.recorder.round_trip()
    assert stage.recorder.height == height
    for late in range(height + 1, node.height + 1):
        node.append(dead, node.recording.line(dead, late))
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_reorder_between_files(stage: Stage) -> None:
    """Several blocks of one stream, then of another: the block is what all have."""
    since = stage.told()
    node = stage.files
    for order in ((FILLS, DIFFS, STATUSES), (DIFFS, STATUSES, FILLS), (STATUSES, FILLS, DIFFS)):
        heights = range(node.height + 1, node.height + 5)
        for stream in order:
            for height in heights:
                node.write(height, [stream])
        stage.recorder.reach(node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_duplicate_block(stage: Stage) -> None:
    """Lines of a height that was read are passed over."""
    since = stage.told()
    node = stage.files
    stage.play(3)
    for stream in (*STREAMS, DIFFS):
        node.append(stream, node.recording.line(stream, node.height))
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_old_blocks_again_after_a_restart(stage: Stage) -> None:
    """The node goes back to its last saved state, and writes all again into the same files, other
    streams at other times.
    """
    since = stage.told()
    node = stage.files
    stage.play(12)
    head = node.height
    for stream in STREAMS:
        for height in range(head - 10, head + 3):
            node.write(height, [stream])
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_half_a_line_cut_at_every_byte(stage: Stage) -> None:
    """Nothing is told before the last newline of a block is there."""
    since = stage.told()
    node = stage.files
    for stream in STREAMS:
        node.write(node.height + 1, [one for one in STREAMS if one != stream])
        line = node.recording.line(stream, node.height)
        ends = range(1, len(line) - 1, 1 if len(line) < 400 else len(line) // 400 + 1)
        pieces = [0, *ends, len(line) - 1]
        for start, end in pairwise(pieces):
            node.append(stream, line[start:end])
        stage.recorder.round_trip()
        assert stage.recorder.height == node.height - 1
        node.append(stream, b"\n")
        stage.recorder.reach(node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_half_a_line_of_a_node_that_died(stage: Stage) -> None:
    """What a node that starts again writes is glued to it."""
    since = stage.told()
    node = stage.files
    stage.play(3)
    for stream in STREAMS:
        line = node.recording.line(stream, node.height + 1)
        node.append(stream, line[: len(line) // 2])
    for height in range(node.height - 1, node.height + 3):
        node.write(height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


@pytest.mark.parametrize("stream", STREAMS)
def test_invalid_utf_8(stage: Stage, stream: str) -> None:
    """A line that can't be read is a gap, with file and offset, until a snapshot leads on."""
    since = stage.told()
    node = stage.files
    stage.play(2)
    node.write(node.height + 1, [one for one in STREAMS if one != stream])
    line = node.recording.line(stream, node.height)
    node.append(stream, line.replace(b'"events":[', b'"events":["\xff\xfe\xc3\x28",'))
    first = node.height
    missed = leads_on(stage, since, first)
    assert "not a row" in missed[0].reason


def test_a_line_without_a_front(stage: Stage) -> None:
    """Not even its height is told."""
    since = stage.told()
    node = stage.files
    stage.play(2)
    node.write(node.height + 1, (FILLS, DIFFS))
    node.append(STATUSES, b"\xff\xfe no row of a node\n")
    leads_on(stage, since, node.height)


@pytest.mark.parametrize("size", [8 << 20, 20 << 20])
def test_large_line(stage: Stage, size: int) -> None:
    since = stage.told()
    node = stage.files
    stage.play(1)
    node.height += 1
    for stream in STREAMS:
        front, events = node.recording.line(stream, node.height).split(b'"events":')
        node.append(stream, front + b'"events":' + b" " * size + events)
    stage.recorder.reach(node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_truncation(stage: Stage) -> None:
    """Lines are cut off and come again."""
    before = stage.server.output.count("the feed can't go on")
    node = stage.files
    stage.play(6)
    for stream in STREAMS:
        path = node.file(stream)
        cut = sum(len(node.recording.line(stream, node.height - n)) for n in range(3))
        os.truncate(path, path.stat().st_size - cut - 20)
    while stage.server.output.count("the feed can't go on") == before:
        time.sleep(0.01)
    for stream in STREAMS:
        node.append(stream, node.recording.line(stream, node.height - 3)[-20:])
    node.height -= 3
    node.play(5)
    assert stage.settle() == []
    assert stage.recorder.feed[-1] == "live"


def test_inode_replaced(stage: Stage) -> None:
    """By a copy with more in it, as tools that rotate and restore do."""
    since = stage.told()
    node = stage.files
    stage.play(5)
    for stream in STREAMS:
        path = node.file(stream)
        copy = path.with_name("copy")
        shutil.copy(path, copy)
        copy.rename(path)
    node.play(4)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_hour_rollover_with_a_late_file(stage: Stage) -> None:
    """One stream goes on in the old file when the others are in the new one; what was still on its
    way to the old one comes when the new one is there; one file comes late.
    """
    since = stage.told()
    node = stage.files
    stage.play(3)
    old = node.hour
    last = node.height + 1
    node.write(last, (FILLS, DIFFS))
    node.hour = old + 1
    node.write(last + 1, (DIFFS, STATUSES))
    node.hour = old
    node.write(last, (STATUSES,))
    stage.recorder.reach(last)
    node.hour = old + 1
    node.write(last + 1, (FILLS,))
    stage.recorder.reach(last + 1)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_midnight_stall(stage: Stage) -> None:
    """Nothing for a while, then the files are in the directory of another day."""
    since = stage.told()
    node = stage.files
    node.hour = 23
    stage.play(2)
    node.date, node.hour = str(int(node.date) + 1), 0
    for stream in STREAMS:
        node.file(stream)  # the directories alone
    stage.recorder.round_trip()
    node.play(3)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_symlinked_directory(stage: Stage) -> None:
    """The node's data moves to another disk, and a link stands in its place."""
    since = stage.told()
    node = stage.files
    stage.play(3)
    for name in ("elsewhere", "again"):
        target = node.path.with_name(name)
        shutil.copytree(node.path, target)
        link = node.path.with_name("link")
        link.symlink_to(target)
        if not node.path.is_symlink():
            node.path.rename(node.path.with_name("before"))
        link.rename(node.path)
        node.play(4)
        stage.recorder.reach(node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def find_order(stage: Stage) -> tuple[int, int, dict[str, Any]]:
    """The heights at which an order of the first coin joins its book and leaves it, soon; its
    diff.
    """
    node, joined = stage.files, dict[int, tuple[int, dict[str, Any]]]()
    for height in range(node.height + 1, node.height + 8 * MARK):
        for one in node.event(DIFFS, height)["events"]:
            change = one["raw_book_diff"]
            if one["coin"] != COINS[0]:
                continue
            if "new" in change:
                joined[one["oid"]] = height, one
            elif change == "remove" and one["oid"] in joined:
                first, diff = joined[one["oid"]]
                if first < height:
                    return first, height, diff
    raise AssertionError("no order rests for a while")


def write_without(stage: Stage, height: int, stream: str, lacks: Callable[[Any], bool]) -> None:
    """A block, without the event of one stream for which it holds."""
    node = stage.files
    stage.play(height - 1 - node.height)
    node.write(height, [one for one in STREAMS if one != stream])
    row = node.event(stream, height)
    kept = [one for one in row["events"] if not lacks(one)]
    assert len(kept) == len(row["events"]) - 1
    node.append(stream, msgspec.json.encode(row | {"events": kept}) + b"\n")
    stage.recorder.reach(height)


def test_status_without_its_diff(stage: Stage) -> None:
    """The order is in no book. Where it is said to change or go that coin is known to be wrong, and
    rebuilt from a new snapshot; the others go on.
    """
    first, last, diff = find_order(stage)
    write_without(stage, first, DIFFS, lambda one: one == diff)
    node = stage.node
    node.play(last - node.height)
    stage.server.wait_for("the book of TOYOTA.*contradiction found")
    for channel in ("l4Book", "l2Book", "bookDelta"):
        stage.may_be_wrong(channel, COINS[0], first, last)
    missed = stage.settle()
    assert {one.topic for one in missed} == {("l4Book", COINS[0]), ("bookDelta", COINS[0])}
    assert stage.server.info(type="serverInfo")["mismatches"] >= 1


def test_diff_without_its_status(stage: Stage) -> None:
    """The order rests all the same; of its details nothing is known but what the diff says."""
    first, last, diff = find_order(stage)
    write_without(stage, first, STATUSES, lambda one: (
        one["order"]["oid"] == diff["oid"] and one["status"] == "open"
    ))  # fmt: skip
    stage.may_be_wrong("l4Book", COINS[0], first, first)
    stage.may_be_wrong("orderUpdates", diff["user"], first, first)
    book = stage.server.info(type="l4Snapshot", coin=COINS[0])["levels"]
    (order,) = (one for side in book for one in side if one["oid"] == diff["oid"])
    assert (order["user"], order["limitPx"]) == (diff["user"], diff["px"])
    stage.play(last - stage.node.height)
    assert stage.settle() == []
