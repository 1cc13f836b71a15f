"""A reader behind blocks that were read before: the log has to hold these very ones."""

from pathlib import Path

import pytest

from blocks import bid, block
from sidecar.errors import LogForked, LogGap
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.native import NativeOrigin
from sidecar.node.segments import segment_name
from sidecar.node.transitions import Block

READ = [block(1), block(2, bid(7, 100)), block(3, bid(8, 99)), block(4)]
AFTER = block(5, bid(10, 97))


def origin_of(root: Path, *blocks: Block) -> NativeOrigin:
    """Beside a log of them, a segment for each two."""
    ipc = IpcDirectory(root)
    with LogWriter(ipc.log, "t", segment_blocks=2) as writer:
        for one in blocks:
            writer.append(one)
    return NativeOrigin(ipc, ChainInfo("node-log/1", "t", 0, 1))


def test_behind_the_same_blocks_it_reads_on(tmp_path: Path) -> None:
    reader = origin_of(tmp_path, *READ, AFTER).reader_behind(READ[1:])
    assert reader.next_block() == AFTER
    reader.close()


def test_another_block_below_is_another_way_though_the_last_one_is_the_same(tmp_path: Path) -> None:
    """A quiet one, at the time of the grid that both ways keep to."""
    origin = origin_of(tmp_path, *READ[:2], block(3, bid(9, 98)), READ[3], AFTER)
    with pytest.raises(LogForked, match=r"another block than the one that was read.*height 3"):
        origin.reader_behind(READ[1:])
    origin.reader_behind(READ[3:]).close()  # by that one alone nobody could tell
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(LogForked):
            origin.reader_behind(READ[1:])
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_what_was_retired_tells_nothing_but_the_last_has_to_be_there(tmp_path: Path) -> None:
    origin = origin_of(tmp_path, *READ, AFTER)
    (tmp_path / "log" / segment_name(1)).unlink()
    reader = origin.reader_behind(READ[1:])
    assert reader.next_block() == AFTER
    reader.close()
    with pytest.raises(LogGap, match="starts at height 3"):
        origin.reader_behind(READ[:2])
    with pytest.raises(LogGap, match="ends below it"):
        origin.reader_behind([block(6)])
