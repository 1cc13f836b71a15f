"""The native log: what is written is read, however it arrives; what can't be is named."""

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinds import EVERY_KIND, USER
from sidecar.errors import LogCorrupt, LogForked, LogGap, LogUnwritable, NodeError, SourceMissing
from sidecar.node import log
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.extent import LogExtent
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.records import frame
from sidecar.node.segments import SegmentReader, list_segments, segment_name
from sidecar.node.transitions import Block, BookAdded, BookRemoved


def block(height: int) -> Block:
    added = BookAdded(1, height, USER, height % 2, 100 + height, height)
    return Block(height, height * 10, height * 10 + 1, [added] * (height % 4))


def write(directory: Path, last: int, *, first: int = 1, segment_blocks: int = 1000) -> None:
    with LogWriter(directory, "test", first_height=first, segment_blocks=segment_blocks) as writer:
        for height in range(writer.height + 1, last + 1):
            writer.append(block(height))


def read(directory: Path, after: int = 0) -> list[Block]:
    with LogReader(directory, after=after, chain="test") as reader:
        return list(iter(reader.next_block, None))


def only_segment(directory: Path) -> Path:
    (segment,) = list_segments(directory)
    return segment


def test_every_kind_of_transition_survives() -> None:
    written = Block(1, 2, 3, list(EVERY_KIND))
    assert decode_block(encode_block(written)) == written


def test_unknown_tags_are_skipped_and_counted() -> None:
    payload = msgspec.msgpack.encode((1, 2, 3, [(99, "new"), BookRemoved(1, 5), (98,)]))
    assert decode_block(payload) == Block(1, 2, 3, [BookRemoved(1, 5)], unknown=2)


def test_appended_fields_are_ignored() -> None:
    payload = msgspec.msgpack.encode((1, 2, 3, [(5, 1, 5, "later", 7)], "later"))
    assert decode_block(payload) == Block(1, 2, 3, [BookRemoved(1, 5)])


@pytest.mark.parametrize(
    "transition",
    [
        (3, 1, 5, USER, 2, 10, 9),
        (3, 1, 5, USER, 0, 0, 9),
        (3, 1, 5, USER, 0, 10, -9),
        (4, 1, 5, -1),
    ],
    ids=["side", "price", "size", "new size"],
)
def test_orders_that_cant_be_are_not_a_block(transition: tuple[object, ...]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_block(msgspec.msgpack.encode((1, 2, 3, [transition])))


def test_a_known_tag_with_wrong_fields_is_not_a_block() -> None:
    payload = msgspec.msgpack.encode((1, 2, 3, [(5, "market")]))
    with pytest.raises(msgspec.DecodeError):
        decode_block(payload)


@pytest.mark.parametrize("decimals", [-1, 9, 400])
def test_sizes_have_no_more_decimals_than_the_unit_has(decimals: int) -> None:
    """There is no lot then: whoever read an account's data ended the process. Found by fuzzing."""
    payload = msgspec.msgpack.encode((1, 2, 3, [(1, 1, "TOYOTA", decimals)]))
    with pytest.raises(msgspec.DecodeError):
        decode_block(payload)


def test_blocks_come_back_across_segments(tmp_path: Path) -> None:
    write(tmp_path, 25, segment_blocks=7)
    assert [s.name for s in list_segments(tmp_path)] == [
        f"{height:020d}.seg" for height in (1, 8, 15, 22)
    ]
    assert read(tmp_path) == [block(height) for height in range(1, 26)]


@pytest.mark.parametrize("after", [0, 1, 6, 7, 8, 24, 25])
def test_reading_starts_after_any_height(tmp_path: Path, after: int) -> None:
    write(tmp_path, 25, segment_blocks=7)
    assert read(tmp_path, after) == [block(height) for height in range(after + 1, 26)]


def test_a_reader_follows_a_growing_log_across_rotation(tmp_path: Path) -> None:
    with LogReader(tmp_path, chain="test") as reader:
        assert reader.next_block() is None
        for last in (1, 2, 9, 9, 30):
            write(tmp_path, last, segment_blocks=4)
            heights = [one.height for one in iter(reader.next_block, None)]
            assert reader.height == last
            assert heights == sorted(heights)


@given(cuts=st.lists(st.integers(1, 60), max_size=40))
def test_every_split_of_the_bytes_into_reads_gives_the_same_blocks(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    whole, growing = (tmp_path_factory.mktemp(name) for name in ("whole", "growing"))
    write(whole, 12, segment_blocks=5)
    blocks: list[Block] = []
    with LogReader(growing, chain="test") as reader:
        pieces = iter(cuts)
        for segment in list_segments(whole):
            data, done = segment.read_bytes(), 0
            with (growing / segment.name).open("ab", buffering=0) as file:
                while done < len(data):
                    done += file.write(data[done : done + next(pieces, 1_000_000)])
                    blocks += iter(reader.next_block, None)
    assert blocks == read(whole)


def test_a_record_cut_at_any_byte_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, 3)
    segment = only_segment(tmp_path)
    data = segment.read_bytes()
    last = len(frame(encode_block(block(3))))
    for cut in range(1, last + 1):
        segment.write_bytes(data[:-cut])
        assert [one.height for one in read(tmp_path)] == [1, 2]


def test_any_flipped_byte_is_never_a_wrong_block(tmp_path: Path) -> None:
    write(tmp_path, 3, segment_blocks=3)
    write(tmp_path, 4, segment_blocks=3)  # a newer segment: the first one is complete
    segment = list_segments(tmp_path)[0]
    data = segment.read_bytes()
    good = read(tmp_path)
    for index in range(len(data)):
        segment.write_bytes(data[:index] + bytes((data[index] ^ 0x41,)) + data[index + 1 :])
        with LogReader(tmp_path, chain="test") as reader:
            blocks: list[Block] = []
            with pytest.raises((LogCorrupt, LogGap)) as caught:
                blocks += iter(reader.next_block, None)
        assert blocks == good[: len(blocks)]
        assert caught.value.path == segment
        assert caught.value.offset is not None
        assert f"offset {caught.value.offset}" in str(caught.value)


def test_a_corrupt_record_names_file_offset_and_height(tmp_path: Path) -> None:
    write(tmp_path, 3)
    segment = only_segment(tmp_path)
    data = bytearray(segment.read_bytes())
    offset = len(data) - len(frame(encode_block(block(3))))
    data[-1] ^= 1
    segment.write_bytes(data)
    with pytest.raises(LogCorrupt, match="CRC") as caught:
        read(tmp_path)
    assert (caught.value.path, caught.value.offset, caught.value.height) == (segment, offset, 3)
    assert str(caught.value).endswith(f"(file {segment}, offset {offset}, height 3)")


@pytest.mark.parametrize("length", [0, 1 << 31])
def test_a_length_that_cant_be_is_corrupt(tmp_path: Path, length: int) -> None:
    write(tmp_path, 2)
    with only_segment(tmp_path).open("ab") as file:
        file.write(length.to_bytes(4, "little") + bytes(4))
    with pytest.raises(LogCorrupt, match=f"a record of {length} bytes"):
        read(tmp_path)


def test_a_height_that_does_not_follow_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path, 2)
    with only_segment(tmp_path).open("ab") as file:
        file.write(frame(encode_block(block(4))))
    with pytest.raises(LogGap, match="block 4 follows block 2") as caught:
        read(tmp_path)
    assert caught.value.height == 3


def test_a_missing_segment_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path, 9, segment_blocks=3)
    list_segments(tmp_path)[1].unlink()
    with pytest.raises(LogGap, match="next segment starts at height 7") as caught:
        read(tmp_path)
    assert caught.value.height == 4


def test_a_log_that_starts_too_late_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path, 9, segment_blocks=3)
    list_segments(tmp_path)[0].unlink()
    with pytest.raises(LogGap, match="starts at height 4; height 2 is needed"):
        read(tmp_path, after=1)


def test_a_segment_that_ends_inside_a_record_before_the_next_is_corrupt(tmp_path: Path) -> None:
    write(tmp_path, 6, segment_blocks=3)
    segment = list_segments(tmp_path)[0]
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(LogCorrupt, match="ends inside a record though a newer one exists"):
        read(tmp_path)


def test_a_file_that_shrank_is_corrupt(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with LogReader(tmp_path) as reader:
        list(iter(reader.next_block, None))
        os.truncate(only_segment(tmp_path), 10)
        with pytest.raises(LogCorrupt, match="the file shrank to 10 bytes"):
            reader.next_block()


def test_another_chains_log_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with (
        LogReader(tmp_path, chain="other") as reader,
        pytest.raises(LogCorrupt, match="of chain 'test', not 'other'"),
    ):
        reader.next_block()


@pytest.mark.parametrize("name", ["notes.seg", "7.seg", "70000000000000000001.seg"])
def test_a_foreign_file_name_is_named(tmp_path: Path, name: str) -> None:
    """A writer that went on behind a height beyond 64 bits died. Found by fuzzing."""
    (tmp_path / name).write_text("hello")
    with pytest.raises(NodeError, match="20 digits"):
        read(tmp_path)
    with pytest.raises(NodeError, match="20 digits"):
        LogWriter(tmp_path, "test")


def test_a_foreign_file_name_is_named_to_who_reads_already_too(tmp_path: Path) -> None:
    """Whatever the next segment is. Found by fuzzing: a gap was told instead."""
    write(tmp_path, 3)
    with LogReader(tmp_path, chain="test") as reader:
        assert reader.next_block() is not None
        (tmp_path / "00000000000000000009.seg").write_bytes(b"")
        (tmp_path / "70000000000000000001.seg").write_bytes(b"")
        with pytest.raises(LogCorrupt, match="20 digits"):
            list(iter(reader.next_block, None))


def test_a_height_below_its_segment_leads_no_reader_back(tmp_path: Path) -> None:
    """From the segment before to this one and back, for ever. Found by fuzzing."""
    write(tmp_path, 4, segment_blocks=2)
    newest = list_segments(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes() + frame(encode_block(block(0))))
    with LogReader(tmp_path, after=4, chain="test") as reader:
        assert reader.next_block() is None


def test_the_next_segment_of_another_way_is_not_entered(tmp_path: Path) -> None:
    """A node was set back to an older segment, and wrote on to where ours ended: the next one was
    taken for ours. Found by simulation.
    """
    write(tmp_path, 6, segment_blocks=3)
    with LogReader(tmp_path, chain="test") as reader:
        assert len(list(iter(reader.next_block, None))) == 6
        (tmp_path / segment_name(4)).unlink()
        write(tmp_path, 7, segment_blocks=6)
        with pytest.raises(LogCorrupt, match="deleted or replaced"):
            list(iter(reader.next_block, None))


def test_a_segment_that_was_retired_is_read_on_from(tmp_path: Path) -> None:
    write(tmp_path, 6, segment_blocks=3)
    with LogReader(tmp_path, chain="test") as reader:
        assert len(list(iter(reader.next_block, None))) == 6
        write(tmp_path, 13, segment_blocks=3)
        with LogWriter(tmp_path, "test", segment_blocks=3) as writer:
            writer.retire(6)
        assert not (tmp_path / segment_name(4)).exists()
        assert [one.height for one in iter(reader.next_block, None)] == list(range(7, 14))


def test_a_log_written_anew_is_not_waited_for_in_the_middle_of_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node was set back, and wrote so much that our offset is inside another record: it was
    called silent until the next segment. Found by simulation.
    """
    monkeypatch.setattr(log, "LOG_LISTED_S", 0.0)
    write(tmp_path, 3)
    segment = only_segment(tmp_path)
    with LogReader(tmp_path, chain="test") as reader:
        assert len(list(iter(reader.next_block, None))) == 3
        written = bytearray(segment.read_bytes() + struct.pack("<II", 60_000, 7) + b"and so on")
        segment.write_bytes(written)
        assert reader.next_block() is None  # it may be the front of block 4
        written[-len(frame(encode_block(block(3)))) - len(b"12345678and so on") + 4] ^= 1  # a CRC
        segment.write_bytes(written)
        with pytest.raises(LogCorrupt, match="the node was set back"):
            reader.next_block()


def test_a_writer_goes_on_behind_a_torn_record(tmp_path: Path) -> None:
    write(tmp_path, 3)
    segment = only_segment(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-5])
    write(tmp_path, 5)
    assert read(tmp_path) == [block(height) for height in range(1, 6)]


def test_a_writer_goes_on_behind_a_torn_segment_header(tmp_path: Path) -> None:
    write(tmp_path, 3, segment_blocks=3)
    (tmp_path / f"{4:020d}.seg").write_bytes(b"\x20\x00")
    write(tmp_path, 5, segment_blocks=3)
    assert read(tmp_path) == [block(height) for height in range(1, 6)]


def test_a_writer_refuses_a_gap_and_another_chain(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "test") as writer:
        with pytest.raises(LogGap, match="block 2 can't follow block 0"):
            writer.append(block(2))
        writer.append(block(1))
    with pytest.raises(LogUnwritable, match="of chain 'test', not 'other'"):
        LogWriter(tmp_path, "other")


def test_a_full_disk_is_named_and_the_log_still_verifies(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with LogWriter(tmp_path, "test") as writer:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, writer._descriptor())
        os.close(full)
        with pytest.raises(LogUnwritable, match="No space left on device"):
            writer.append(block(4))
    assert len(read(tmp_path)) == 3


@pytest.mark.parametrize(
    ("snapshot_height", "left"),
    [(0, [1, 4, 7, 10]), (3, [4, 7, 10]), (5, [4, 7, 10]), (6, [7, 10]), (12, [7, 10])],
)
def test_segments_are_retired_behind_a_snapshot_but_never_the_newest_two(
    tmp_path: Path, snapshot_height: int, left: list[int]
) -> None:
    write(tmp_path, 12, segment_blocks=3)
    with LogWriter(tmp_path, "test", segment_blocks=3) as writer:
        writer.retire(snapshot_height)
    assert [int(segment.stem) for segment in list_segments(tmp_path)] == left


def test_a_log_that_was_deleted_or_replaced_is_named_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LOG_LISTED_S", 0.0)
    for replace in (False, True):
        write(tmp_path, 3)
        with LogReader(tmp_path, chain="test") as reader:
            list(iter(reader.next_block, None))
            only_segment(tmp_path).unlink()
            if replace:
                write(tmp_path, 3)
            with pytest.raises(LogCorrupt, match="deleted or replaced while it was read"):
                for _ in range(200):
                    reader.next_block()


def test_a_log_that_was_replaced_at_a_segments_end_is_not_read_on(tmp_path: Path) -> None:
    write(tmp_path, 3, segment_blocks=3)
    with LogReader(tmp_path, chain="test") as reader:
        assert len(list(iter(reader.next_block, None))) == 3
        only_segment(tmp_path).unlink()
        write(tmp_path, 5, segment_blocks=3)
        with pytest.raises(LogCorrupt, match="deleted or replaced while it was read"):
            reader.next_block()


def test_a_retired_segment_is_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path, 9, segment_blocks=3)
    with LogReader(tmp_path, chain="test") as reader:
        assert reader.next_block() is not None
        list_segments(tmp_path)[0].unlink()
        assert [one.height for one in iter(reader.next_block, None)] == list(range(2, 10))


@pytest.mark.parametrize(
    "payload",
    [
        msgspec.msgpack.encode((1, 2, 3, [(1, 1, "SYMBOL")])).replace(b"SYMBOL", b"SYM\xff\xffL"),
        b"\x94\x01\x02\x03\x91" + b"\x91" * 100_000,
    ],
    ids=["invalid UTF-8", "deeply nested"],
)
def test_what_msgpack_cant_be_is_corrupt_even_with_a_right_crc(
    tmp_path: Path, payload: bytes
) -> None:
    write(tmp_path, 0)
    write(tmp_path, 1)
    segment = only_segment(tmp_path)
    head = segment.read_bytes()[: -len(frame(encode_block(block(1))))]
    segment.write_bytes(head + frame(payload))
    with pytest.raises(LogCorrupt, match="not a block"):
        read(tmp_path)


def test_an_unreadable_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        LogReader(tmp_path / "file") as reader,
        pytest.raises(NodeError, match="can't be read: Not a directory"),
    ):
        reader.next_block()


def test_a_short_write_stops_the_writer_and_the_log_still_verifies(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from test_log import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with LogWriter(Path(sys.argv[1]), 'test') as writer:\n"
        "    for height in range(1, 1000):\n"
        "        try: writer.append(block(height))\n"
        "        except LogUnwritable as error: print(height, error); break\n"
        "    try: writer.append(block(height))\n"
        "    except LogUnwritable as error: print(error)\n"
    )
    here = Path(__file__).parent
    result = subprocess.run(
        (sys.executable, "-c", program, str(tmp_path)),
        capture_output=True, text=True, check=True, cwd=here, env=os.environ | {"PYTHONPATH": "."},
    )  # fmt: skip
    first, second = result.stdout.splitlines()
    height = int(first.split()[0])
    assert "bytes could be written: is the disk full?" in first
    assert "a write failed before; start again" in second
    assert [one.height for one in read(tmp_path)] == list(range(1, height))
    write(tmp_path, height)
    assert len(read(tmp_path)) == height


@pytest.mark.parametrize("segment_blocks", [1000, 3], ids=["in a segment", "where one ends"])
def test_a_node_that_was_set_back_before_anybody_looked_is_found_out(
    tmp_path: Path, segment_blocks: int
) -> None:
    """Its log is as long as it was, record by record; only what is in them differs."""
    write(tmp_path, 3, segment_blocks=segment_blocks)
    first = only_segment(tmp_path)
    with LogReader(tmp_path) as reader:
        while reader.next_block() is not None:
            pass
        write(tmp_path, 4, segment_blocks=segment_blocks)
        after = [
            msgspec.structs.replace(block(height), time_ns=height * 10 + 5) for height in (3, 4)
        ]
        for path in list_segments(tmp_path)[1:]:
            path.unlink()
        content = first.read_bytes()
        os.truncate(first, content.index(frame(encode_block(block(3)))))
        with LogWriter(tmp_path, "test", segment_blocks=segment_blocks) as writer:
            for one in after:
                writer.append(one)
        assert reader.position is not None
        assert first.stat().st_size >= reader.position[1]
        with pytest.raises(LogCorrupt, match="was written again: the node was set back"):
            for _ in range(10):
                reader.next_block()
        assert reader.height == 3


def test_a_node_that_was_set_back_from_a_segment_without_a_block_is_found_out(
    tmp_path: Path,
) -> None:
    """It died between a segment's header and its first block. Whatever it writes then, the segment
    begins the same way: what stands in the one before it tells.
    """
    write(tmp_path, 4, segment_blocks=3)
    first, second = list_segments(tmp_path)
    after = [msgspec.structs.replace(block(height), time_ns=height * 10 + 5) for height in (3, 4)]
    os.truncate(second, second.read_bytes().index(frame(encode_block(block(4)))))
    with LogReader(tmp_path) as reader:
        assert len(list(iter(reader.next_block, None))) == 3
        assert reader.position is not None
        assert reader.position[0] == second
        os.truncate(first, first.read_bytes().index(frame(encode_block(block(3)))))
        for path, one in zip((first, second), after, strict=True):
            with path.open("ab") as file:
                file.write(frame(encode_block(one)))
        for last in (5, 6):  # it does not get past it, either
            with pytest.raises(LogCorrupt, match="was written again: the node was set back"):
                reader.next_block()
            write(tmp_path, last, segment_blocks=3)
        assert reader.height == 3


@pytest.mark.parametrize("tells", [True, False])
def test_another_way_whose_beginning_was_retired_is_found_out_by_what_it_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tells: bool
) -> None:
    """Our segment is gone, as one that was retired is. Found by simulation."""
    write(tmp_path, 6, segment_blocks=3)
    with LogReader(tmp_path, chain="test") as reader:
        assert len(list(iter(reader.next_block, None))) == 6
        for segment in list_segments(tmp_path):
            segment.unlink()
        with monkeypatch.context() as patched:
            if not tells:  # a node that leaves it out
                patched.setattr(
                    LogWriter, "_last_crc", property(lambda _: None, lambda *_: None), False
                )
            with LogWriter(tmp_path, "test", segment_blocks=3) as writer:
                for height in range(1, 14):
                    writer.append(msgspec.structs.replace(block(height), time_ns=height * 10 + 5))
                writer.retire(6)
        assert list_segments(tmp_path)[0].name == segment_name(7)
        if not tells:
            assert len(list(iter(reader.next_block, None))) == 7
            return
        for _ in range(10):  # nor does it get past it, over the next segments
            with pytest.raises(LogForked, match=r"follows another block.*height 6"):
                reader.next_block()
        assert reader.height == 6


def test_a_writer_that_goes_on_says_what_its_next_segment_follows(tmp_path: Path) -> None:
    write(tmp_path, 3, segment_blocks=3)
    write(tmp_path, 4, segment_blocks=3)  # a new segment right away
    second = list_segments(tmp_path)[1]
    header = second.read_bytes()[: -len(frame(encode_block(block(4))))]
    for left in (header, header[:-1]):  # it dies behind its header, or in the middle of it
        second.write_bytes(left)
        write(tmp_path, 5, segment_blocks=3)
        assert second.read_bytes().startswith(header)
        assert [one.height for one in read(tmp_path)] == [1, 2, 3, 4, 5]
    write(tmp_path, 7, segment_blocks=3)
    assert [one.height for one in read(tmp_path)] == list(range(1, 8))


def test_a_log_that_is_emptied_as_the_next_segment_is_entered_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 4, segment_blocks=3)

    class Emptying(SegmentReader):
        def __init__(self, path: Path, *, chain: str | None = None) -> None:
            super().__init__(path, chain=chain)
            for segment in list_segments(path.parent) if path.name == segment_name(4) else ():
                segment.unlink()

    monkeypatch.setattr(log, "SegmentReader", Emptying)
    with LogReader(tmp_path) as reader, pytest.raises(LogCorrupt, match="deleted or replaced"):
        list(iter(reader.next_block, None))


def test_a_disk_that_fails_is_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads hears of the file, and may try again."""
    write(tmp_path, 3)

    def fails(fd: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with LogReader(tmp_path) as reader:
        assert reader.next_block() == block(1)
        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", fails)
            with pytest.raises(SourceMissing, match="can't be read: Input/output error"):
                reader.next_block()
            with pytest.raises(SourceMissing, match="can't be read: Input/output error"):
                LogExtent(tmp_path)
        assert reader.next_block() == block(2)


def test_a_directory_that_may_not_be_searched_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LogWriter(tmp_path, "test") as writer:
        writer.append(Block(1, 1, 1, []))

    def refused(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    with LogReader(tmp_path) as reader:
        assert reader.next_block() is not None
        monkeypatch.setattr(Path, "exists", refused)  # as Python 3.11 does in such a directory
        with pytest.raises(SourceMissing, match="Permission denied; may this user read it"):
            reader.next_block()
