"""What can be wrong with a native log while it is read."""

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest

from sidecar.node.records import frame
from tests.faults.recorder import Missed
from tests.faults.recording import MARK
from tests.faults.scripted import SEGMENT
from tests.faults.stages import Stage, Stages

TAG_OF_TOMORROW = 99


@pytest.fixture
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.of("native") as stage:
        yield stage


def spans(missed: list[Missed]) -> set[tuple[int, int]]:
    return {(one.first, one.last) for one in missed}


def leads_on(stage: Stage, since: int, first: int) -> None:
    """The feed is a gap until there is a snapshot, which leads on; it is told what was missed."""
    node = stage.node
    stage.recorder.await_feed("gap", since)
    while node.height % MARK:
        node.write(node.height + 1)
    node.snapshot()
    missed = stage.agree()
    assert spans(missed) >= {(first, node.height)}
    assert "live" in stage.recorder.feed[since:]


@pytest.mark.parametrize("blocks", [1, 10])
def test_hole(stage: Stage, blocks: int) -> None:
    since = stage.told()
    node = stage.node
    stage.play(3)
    first = node.height + 1
    node.skip(blocks)
    node.play(1)
    leads_on(stage, since, first)
    stage.settle()


def test_hole_of_1000(stages: Stages) -> None:
    with stages.of("native", blocks=1_000 + 4 * MARK) as stage:
        since = stage.told()
        stage.play(2)
        first = stage.node.height + 1
        stage.node.skip(1_000)
        stage.node.play(1)
        leads_on(stage, since, first)
        stage.settle()


def test_duplicate_block(stage: Stage) -> None:
    since = stage.told()
    stage.play(3)
    stage.native.append(stage.node.recording.record(stage.node.height))
    first = stage.node.height + 1
    leads_on(stage, since, first)


def test_old_blocks_again_after_a_restart(stage: Stage) -> None:
    """A node that goes on from an older state and does not cut its log."""
    since = stage.told()
    stage.play(8)
    first = stage.node.height + 1
    for height in range(first - 6, first):
        stage.node.write(height)
    leads_on(stage, since, first)


def test_record_cut_at_every_byte(stage: Stage) -> None:
    """Nothing is told before its last byte is there."""
    since = stage.told()
    node = stage.native
    for cuts in (range(1, 24), range(24, 4_000, 37)):
        record = node.recording.record(node.height + 1)
        node.height += 1
        pieces = [0, *(cut for cut in cuts if cut < len(record)), len(record)]
        for start, end in pairwise(pieces):
            assert stage.recorder.height < node.height
            node.append(record[start:end])
        stage.recorder.reach(node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


@pytest.mark.parametrize("what", ["text", "zeros", "flipped"])
def test_bytes_that_are_no_record(stage: Stage, what: str) -> None:
    since = stage.told()
    stage.play(2)
    node = stage.native
    first = node.height + 1
    record = bytearray(node.recording.record(first))
    record[len(record) // 2] ^= 0x80
    text = frame(b"\x94\xff\xfe not a block")
    wrong = {"text": text, "zeros": bytes(512), "flipped": bytes(record)}
    node.height += 1
    node.append(wrong[what])
    stage.recorder.await_feed("gap", since)
    node.play(SEGMENT)  # framing is lost up to the end of the segment
    leads_on(stage, since, first)


@pytest.mark.parametrize("size", [8 << 20, 20 << 20])
def test_large_record(stage: Stage, size: int) -> None:
    since = stage.told()
    stage.play(1)
    node = stage.native
    node.height += 1
    block = node.recording.blocks[node.height - 1]
    transitions = [*block.transitions, [TAG_OF_TOMORROW, bytes(size)]]
    fields = block.height, block.time_ns, block.written_ns, transitions
    node.append(frame(msgspec.msgpack.encode(fields)))
    stage.recorder.reach(node.height)
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []


def test_truncation(stage: Stage) -> None:
    """Blocks are cut off and come again."""
    since = stage.told()
    stage.play(6)
    node = stage.native
    segment, cut = node.segment(), 4
    kept = segment.stat().st_size
    for height in range(node.height - cut + 1, node.height + 1):
        kept -= len(node.recording.record(height))
    os.truncate(segment, kept)
    stage.recorder.await_feed("gap", since)
    again = node.height - cut
    node.height = again
    node.play(cut + 2)
    assert stage.settle() == []
    assert stage.recorder.feed[-1] == "live"


def test_inode_replaced(stage: Stage) -> None:
    """By a copy with more in it, as tools that restore do."""
    stage.play(5)
    node = stage.native
    segment = node.segment()
    copy = segment.with_suffix(".new")
    shutil.copy(segment, copy)
    copy.rename(segment)
    node.play(4)
    assert stage.settle() == []


def test_symlinked_directory(stage: Stage) -> None:
    """The log moves to another disk, and a link stands in its place."""
    stage.play(5)
    node = stage.native
    log, elsewhere = node.ipc.log, node.path.with_name("elsewhere")
    for target in (elsewhere, elsewhere.with_name("again")):
        shutil.copytree(log, target)
        link = log.with_name("link")
        link.symlink_to(target)
        if log.is_symlink():
            link.rename(log)
        else:
            log.rename(log.with_name("before"))
            link.rename(log)
        node.play(4)
        stage.recorder.reach(node.height)
    assert stage.settle() == []
