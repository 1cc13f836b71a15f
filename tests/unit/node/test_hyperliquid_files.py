"""The tail of hour files: half lines, hours and dates, files that shrink or are replaced."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperliquid_node import DIFFS, Clock, FakeNode, row
from sidecar.errors import LogCorrupt, SourceMissing
from sidecar.node.hyperliquid import hours as hours_module
from sidecar.node.hyperliquid import lines as lines_module
from sidecar.node.hyperliquid import seek as seek_module
from sidecar.node.hyperliquid.files import HourlyFiles
from sidecar.node.hyperliquid.hours import Hours


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


class Tail:
    """HourlyFiles and the heights that it gives."""

    def __init__(self, node: FakeNode, after: int = 0) -> None:
        self.clock = Clock()
        self.height = after
        self.files = HourlyFiles(node.data_dir / DIFFS, quiet_s=5.0, clock=self.clock)

    def read(self) -> list[int]:
        heights = []
        while (line := self.files.next_line(self.height + 1)) is not None:
            height = seek_module.peek_height(line.text)
            assert height is not None
            assert line.path.read_bytes()[line.offset :].startswith(line.text + b"\n")
            heights.append(height)
            self.height = max(self.height, height)
        return heights


@pytest.fixture
def tail(node: FakeNode) -> Tail:
    return Tail(node)


def rows(*heights: int) -> bytes:
    return b"".join(row(height) for height in heights)


def test_a_missing_directory_is_nothing_yet(node: FakeNode, tail: Tail) -> None:
    assert tail.read() == []
    assert tail.files.is_missing()
    node.append(DIFFS, rows(1))
    assert tail.read() == [1]
    assert not tail.files.is_missing()


def test_lines_come_as_they_are_appended(node: FakeNode, tail: Tail) -> None:
    for height in range(1, 20):
        node.append(DIFFS, rows(height))
        assert tail.read() == [height]
        assert tail.read() == []


def test_half_line_is_held_until_its_newline(node: FakeNode, tail: Tail) -> None:
    whole = rows(2)
    node.append(DIFFS, rows(1) + whole[:40])
    assert tail.read() == [1]
    node.append(DIFFS, whole[40:-1])
    assert tail.read() == []
    node.append(DIFFS, b"\n" + rows(3))
    assert tail.read() == [2, 3]


def test_a_line_cut_at_every_byte_comes_whole(node: FakeNode, tail: Tail) -> None:
    whole = row(1, ["x" * 20])
    for byte in whole[:-1]:
        node.append(DIFFS, bytes([byte]))
        assert tail.read() == []
    node.append(DIFFS, b"\n")
    assert tail.read() == [1]


def test_a_line_longer_than_one_read_comes_whole(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "READ_BYTES", 7)
    node.append(DIFFS, rows(1, 2) + row(3, ["y" * 1000]) + rows(4))
    assert Tail(node).read() == [1, 2, 3, 4]


def test_a_line_of_8_mb_comes_whole(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, row(1, ["z" * (8 << 20)]) + rows(2))
    assert tail.read() == [1, 2]


def test_a_line_over_the_limit_is_corrupt(
    node: FakeNode, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "LINE_BYTES_MAX", 200)
    path = node.append(DIFFS, rows(1))
    assert tail.read() == [1]
    node.append(DIFFS, row(2, ["z" * 200]))
    for _ in range(2):  # it stays where it was
        with pytest.raises(LogCorrupt, match="more than 200 bytes") as raised:
            tail.read()
        assert (raised.value.path, raised.value.offset) == (path, len(rows(1)))


def test_blank_lines_say_nothing(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, b"\n" + rows(1) + b"\n\n" + rows(2))
    assert tail.read() == [1, 2]


def test_hour_9_before_hour_10(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1), hour=9)
    node.append(DIFFS, rows(2), hour=10)
    assert tail.read() == [1, 2]


def test_hours_roll_over_while_following(node: FakeNode, tail: Tail) -> None:
    for height in range(1, 30):
        node.append(DIFFS, rows(height), hour=height // 2)
        assert tail.read() == [height]


def test_hour_23_goes_on_in_hour_0_of_the_next_date(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1), hour=23, date="20260430")
    assert tail.read() == [1]
    node.append(DIFFS, rows(2), hour=0, date="20260501")
    assert tail.read() == [2]


def test_hours_without_blocks_are_passed_over(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1), hour=3)
    node.append(DIFFS, b"", hour=4)
    node.append(DIFFS, rows(2), hour=7)
    assert tail.read() == [1, 2]


def test_other_names_are_no_hour_files(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1))
    for name in ("3.gz", "4.tmp", "x", "123"):
        node.path(DIFFS).with_name(name).write_bytes(rows(9))
    node.append(DIFFS, rows(9), date="notadate")
    assert tail.read() == [1]


def test_what_is_appended_to_the_old_hour_last_is_read_first(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1), hour=3)
    assert tail.read() == [1]
    node.append(DIFFS, rows(2), hour=3)
    node.append(DIFFS, rows(3), hour=4)
    assert tail.read() == [2, 3]


def test_an_old_hour_whose_rows_are_still_to_come_is_waited_for(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1), hour=3)
    node.append(DIFFS, rows(3), hour=4)  # 2 is still in the node's buffer
    assert tail.read() == [1]
    tail.clock.pass_s(4.9)
    assert tail.read() == []
    node.append(DIFFS, rows(2), hour=3)
    assert tail.read() == [2, 3]


def test_an_old_hour_is_given_up_after_a_quiet_period(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, rows(1), hour=3)
    node.append(DIFFS, rows(3), hour=4)
    assert tail.read() == [1]
    tail.clock.pass_s(5.0)
    assert tail.read() == [3]  # the reader above says that 2 is missing


def test_half_line_at_rollover_is_held_then_completed(node: FakeNode, tail: Tail) -> None:
    whole = rows(2)
    node.append(DIFFS, rows(1) + whole[:50], hour=3)
    node.append(DIFFS, rows(3), hour=4)
    assert tail.read() == [1]
    tail.clock.pass_s(4.0)
    node.append(DIFFS, whole[50:60], hour=3)
    assert tail.read() == []
    tail.clock.pass_s(4.0)  # quiet starts again with each byte
    assert tail.read() == []
    node.append(DIFFS, whole[60:], hour=3)
    assert tail.read() == [2, 3]
    assert tail.files.half_lines_dropped == 0


def test_half_line_of_a_dead_node_is_dropped_after_the_quiet_period(
    node: FakeNode, tail: Tail
) -> None:
    node.append(DIFFS, rows(1) + rows(2)[:50], hour=3)
    node.append(DIFFS, rows(3), hour=4)
    assert tail.read() == [1]
    tail.clock.pass_s(5.0)
    assert tail.read() == [3]
    assert tail.files.half_lines_dropped == 1


def test_half_line_is_dropped_at_once_where_its_height_is_written_again(
    node: FakeNode, tail: Tail
) -> None:
    node.append(DIFFS, rows(1, 2) + rows(3)[:50], hour=3)
    assert tail.read() == [1, 2]
    node.append(DIFFS, rows(1, 2, 3, 4), hour=4)
    assert tail.read() == [1, 2, 3, 4]
    assert tail.files.half_lines_dropped == 1


def test_a_file_that_shrank_is_corrupt(node: FakeNode, tail: Tail) -> None:
    path = node.append(DIFFS, rows(1, 2))
    assert tail.read() == [1, 2]
    os.truncate(path, 10)
    for _ in range(2):
        with pytest.raises(LogCorrupt, match="shrank to 10 bytes") as raised:
            tail.read()
        assert raised.value.path == path


def test_a_replaced_file_is_drained_then_read_from_its_start(node: FakeNode, tail: Tail) -> None:
    path = node.append(DIFFS, rows(1))
    assert tail.read() == [1]
    node.append(DIFFS, rows(2) + rows(3)[:20])
    other = path.with_name("other")
    other.write_bytes(rows(1, 2, 3))
    other.rename(path)
    got = [line.text for line in iter(lambda: tail.files.next_line(tail.height + 1), None)]
    assert [seek_module.peek_height(text) for text in got] == [2, 1, 2, 3]
    assert tail.files.half_lines_dropped == 1


def test_a_deleted_file_is_read_to_its_end(node: FakeNode, tail: Tail) -> None:
    path = node.append(DIFFS, rows(1))
    assert tail.read() == [1]
    path.unlink()
    assert tail.read() == []
    node.append(DIFFS, rows(2), hour=4)
    assert tail.read() == [2]


def test_symlinked_directories_are_fine(tmp_path: Path) -> None:
    real = FakeNode(tmp_path / "disk")
    real.append(DIFFS, rows(1))
    linked = FakeNode(tmp_path / "hl")
    linked.data_dir.symlink_to(real.data_dir)
    tail = Tail(linked)
    assert tail.read() == [1]
    real.append(DIFFS, rows(2), hour=4)
    assert tail.read() == [2]


def test_lost_permission_is_named(
    node: FakeNode, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = node.append(DIFFS, rows(1))

    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SourceMissing, match="can't be read: Permission denied") as raised:
        tail.read()
    assert raised.value.path == path


def test_a_directory_in_place_of_a_file_is_named(node: FakeNode, tail: Tail) -> None:
    path = node.path(DIFFS)
    path.mkdir(parents=True)
    with pytest.raises(SourceMissing, match="can't be read: Is a directory") as raised:
        tail.read()
    assert raised.value.path == path


def test_a_read_error_is_named(node: FakeNode, tail: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
    path = node.append(DIFFS, rows(1))
    assert tail.read() == [1]

    def fail(*args: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(SourceMissing, match="can't read: Input/output error") as raised:
        tail.read()
    assert (raised.value.path, raised.value.offset) == (path, len(rows(1)))


def test_a_directory_that_can_not_be_listed_is_named(
    node: FakeNode, tail: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.append(DIFFS, rows(1))

    def refuse(self: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SourceMissing, match="can't be read: Permission denied"):
        tail.read()


def test_a_file_in_place_of_a_directory_is_nothing_yet(node: FakeNode, tail: Tail) -> None:
    hourly = node.data_dir / DIFFS / "hourly"
    hourly.parent.mkdir(parents=True)
    hourly.write_bytes(b"")
    assert tail.read() == []


def test_directories_to_watch_include_the_date_being_read_and_newer_ones(
    node: FakeNode, tail: Tail
) -> None:
    stream = node.data_dir / DIFFS
    hourly = stream / "hourly"
    assert tail.files.directories() == [stream, hourly]
    for date in ("20260501", "20260502", "20260503"):
        node.append(DIFFS, rows(int(date[-2:])), date=date)
    tail.height = 1
    assert tail.read() == [2, 3]
    assert tail.files.directories() == [stream, hourly, hourly / "20260503"]
    (hourly / "20260504").mkdir()
    assert tail.files.directories()[-1] == hourly / "20260504"


def test_names_are_kept_while_the_mtime_proves_them(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = node.append(DIFFS, rows(1))
    long_ago = 1_700_000_000
    for directory in (path.parent, path.parent.parent):
        os.utime(directory, (long_ago, long_ago))
    hours = Hours(path.parent.parent)
    assert [hour.hour for hour in hours.after(None)] == [3]
    listed: list[Path] = []
    iterdir = Path.iterdir

    def list_it(self: Path) -> Iterator[Path]:
        listed.append(self)
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", list_it)
    assert [hour.hour for hour in hours.after(None)] == [3]
    assert listed == []
    node.append(DIFFS, b"", hour=4)
    assert [hour.hour for hour in hours.after(None)] == [3, 4]
    monkeypatch.setattr(hours_module, "_KEPT_NS", 0)
    os.utime(path.parent, (long_ago, long_ago))
    assert [hour.hour for hour in hours.after(None)] == [3, 4]
    assert listed == [path.parent, path.parent.parent, path.parent]


def test_names_of_dates_that_are_done_are_forgotten(node: FakeNode) -> None:
    node.append(DIFFS, rows(1), date="20260501")
    last = node.append(DIFFS, rows(2), date="20260502")
    hours = Hours(last.parent.parent)
    *_, newest = hours.after(None)
    assert list(hours.after(newest)) == []
    assert list(hours._hours) == ["20260502"]


@pytest.mark.parametrize("after", [0, 4, 5, 9, 10, 24, 25, 40])
def test_reading_starts_in_the_file_that_holds_the_height(node: FakeNode, after: int) -> None:
    for hour in range(5):
        node.append(DIFFS, rows(*range(hour * 5 + 1, hour * 5 + 6)), hour=hour)
    read = Tail(node, after).read()
    assert [height for height in read if height > after] == list(range(after + 1, 26))
    assert len(read) <= max(25 - after, 0) + 5


def test_reading_starts_before_a_restart_that_went_back(node: FakeNode) -> None:
    node.append(DIFFS, rows(*range(1, 21)), hour=1)
    node.append(DIFFS, rows(*range(11, 31)), hour=2)
    assert Tail(node, after=24).read() == list(range(11, 31))
    assert Tail(node, after=5).read() == [*range(1, 21), *range(11, 31)]


def test_reading_starts_at_the_oldest_file_where_all_are_newer(node: FakeNode) -> None:
    node.append(DIFFS, rows(100), hour=1)
    node.append(DIFFS, rows(101), hour=2)
    assert Tail(node, after=50).read() == [100, 101]


def test_a_file_without_a_whole_front_is_not_there_yet(node: FakeNode, tail: Tail) -> None:
    node.append(DIFFS, row(1)[:30])
    assert tail.read() == []
    assert tail.files.is_missing()


def test_a_file_whose_front_is_broken_is_read_so_that_it_is_reported(node: FakeNode) -> None:
    node.append(DIFFS, rows(1), hour=1)
    node.append(DIFFS, b"garbage\n", hour=2)
    files = Tail(node).files
    texts = [line.text for line in iter(lambda: files.next_line(2), None)]
    assert texts == [b"garbage"]
    assert seek_module.first_height(node.path(DIFFS, 9)) is None


@pytest.mark.parametrize("wanted", [1, 2, 150, 1999, 2000, 2001])
def test_a_height_is_found_by_bisection(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    monkeypatch.setattr(seek_module, "READ_BYTES", 1000)
    back = [*range(1, 1500), *range(1000, 2001)]  # a restart within the file
    path = node.append(DIFFS, rows(*back))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        offset = seek_module.find_height(descriptor, wanted)
    finally:
        os.close(descriptor)
    skipped = path.read_bytes()[:offset].count(b"\n")
    assert wanted not in back[:skipped] or wanted in back[skipped:]
    if wanted < 2001:
        assert back[skipped:].index(wanted) <= 30
    assert (offset == 0) == (wanted <= 2)


def test_rows_too_long_to_bisect_are_read_from_below(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seek_module, "READ_BYTES", 1000)
    path = node.append(DIFFS, b"".join(row(height, ["x" * 3000]) for height in range(1, 9)))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert seek_module.find_height(descriptor, 7) == 0
    finally:
        os.close(descriptor)
