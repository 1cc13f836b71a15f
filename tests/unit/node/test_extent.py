"""Which heights a log holds, and reading behind a height without decoding what lies before it."""

from pathlib import Path

import pytest

from sidecar.errors import LogCorrupt, SourceMissing
from sidecar.node import block_records, segments
from sidecar.node.extent import LogExtent, last_height
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.segments import list_segments
from sidecar.node.transitions import Block


def write(directory: Path, first: int, last: int) -> None:
    with LogWriter(directory, "test", first_height=first, segment_blocks=3) as writer:
        for height in range(first, last + 1):
            writer.append(Block(height, height * 10, 0, []))


def test_a_whole_log_can_be_followed_from_any_of_its_heights(tmp_path: Path) -> None:
    write(tmp_path, 1, 8)
    extent = LogExtent(tmp_path)
    assert (extent.first, extent.head) == (1, 8)
    assert [extent.why_not_after(height) for height in range(9)] == [None] * 9
    assert extent.why_not_after(9) == "the log ends at height 8, below it: it was cut or replaced"


def test_an_empty_log_may_go_on_from_anywhere(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        extent = LogExtent(directory)
        assert (extent.first, extent.head, extent.why_not_after(7)) == (None, 0, None)


def test_a_log_that_starts_late_needs_a_height_at_its_start(tmp_path: Path) -> None:
    write(tmp_path, 5, 6)
    extent = LogExtent(tmp_path)
    assert extent.why_not_after(3) == "the log starts at height 5; height 4 is needed"
    assert extent.why_not_after(4) is None


def test_a_missing_segment_is_in_the_way_of_lower_heights_only(tmp_path: Path) -> None:
    write(tmp_path, 1, 11)
    list_segments(tmp_path)[1].unlink()
    extent = LogExtent(tmp_path)
    reasons = {height: extent.why_not_after(height) for height in range(12)}
    assert {height for height, reason in reasons.items() if reason is None} == set(range(6, 12))
    assert {reasons[height] for height in range(6)} == {"the log has no blocks 4 to 6"}


def test_a_foreign_name_between_segments_is_named_at_once(tmp_path: Path) -> None:
    """Found by fuzzing: it was when a height was asked for, where nobody thought of it."""
    write(tmp_path, 1, 8)
    (tmp_path / "000000000000000000:3.seg").write_bytes(b"")
    with pytest.raises(LogCorrupt, match="20 digits"):
        LogExtent(tmp_path)


def test_the_head_is_the_last_whole_record_at_every_cut(tmp_path: Path) -> None:
    write(tmp_path, 4, 6)
    (segment,) = list_segments(tmp_path)
    data = segment.read_bytes()
    heads = []
    for end in range(len(data) + 1):
        segment.write_bytes(data[:end])
        heads.append(last_height(segment))
    assert heads == sorted(heads)
    assert set(heads) == {3, 4, 5, 6}
    assert heads.count(6) == 1
    segment.write_bytes(data + b"\xff" * 8)
    assert last_height(segment) == 6


def test_a_segment_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="No such file"):
        last_height(tmp_path / f"{1:020d}.seg")


def test_blocks_before_the_wanted_one_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1, 8)
    decoded = []
    decode = block_records.decode_block

    def note(payload: bytes) -> Block:
        decoded.append(payload)
        return decode(payload)

    monkeypatch.setattr(segments, "decode_block", note)
    with LogReader(tmp_path, after=7, chain="test") as reader:
        block = reader.next_block()
        assert block is not None
        assert block.height == 8
        assert reader.next_block() is None
    assert len(decoded) == 1


def test_damage_before_the_wanted_block_is_still_found(tmp_path: Path) -> None:
    write(tmp_path, 1, 3)
    (segment,) = list_segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with LogReader(tmp_path, after=3) as reader, pytest.raises(LogCorrupt):
        reader.next_block()


def test_a_reader_ahead_of_the_log_waits_until_it_is_there(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    with LogReader(tmp_path, after=4) as reader:
        assert reader.next_block() is None
        write(tmp_path, 3, 6)
        heights = [block.height for block in iter(reader.next_block, None) if block]
    assert heights == [5, 6]
