"""Snapshots: whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from sidecar.errors import SnapshotInvalid
from sidecar.node import row_files
from sidecar.node.records import crc32c, extend_crc32c, frame
from sidecar.node.snapshot import (
    FORMAT,
    MarketRow,
    RestingRow,
    Row,
    SnapshotHeader,
    SnapshotReader,
    list_snapshots,
    write_snapshot,
)
from sidecar.node.transitions import MarketListed

USER = b"u" * 20


def rows(count: int) -> list[Row]:
    resting = [RestingRow(1, oid, USER, 0, 100, 5, 7) for oid in range(1, count + 1)]
    return [MarketRow(MarketListed(1, "TOYOTA"), 1, 2, 3, None), *resting]


def write(directory: Path, height: int = 9, count: int = 3) -> Path:
    return write_snapshot(directory, SnapshotHeader(FORMAT, "test", height, 42), rows(count))


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 10_000])
def test_rows_come_back_in_order(tmp_path: Path, count: int) -> None:
    snapshot = SnapshotReader(write(tmp_path, count=count), chain="test")
    assert (snapshot.header.height, snapshot.header.time_ns) == (9, 42)
    assert list(snapshot.rows()) == rows(count)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for height in (5, 7, 9):
        write(tmp_path, height)
    assert [int(path.stem) for path in list_snapshots(tmp_path)] == [9, 7]
    assert not list(tmp_path.glob(".*"))


def test_a_snapshot_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(SnapshotInvalid, match=str(path)):
            SnapshotReader(path)


def test_any_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    for index in range(len(data)):
        path.write_bytes(data[:index] + bytes((data[index] ^ 0x10,)) + data[index + 1 :])
        with pytest.raises(SnapshotInvalid):
            SnapshotReader(path)


def test_a_chunk_taken_out_is_refused_by_the_footer(tmp_path: Path) -> None:
    path = write(tmp_path, count=10_000)
    whole = path.read_bytes()
    records, offset = [], 0
    while offset < len(whole):
        end = offset + 8 + int.from_bytes(whole[offset : offset + 4], "little")
        records.append(whole[offset:end])
        offset = end
    path.write_bytes(b"".join(records[:2] + records[3:]))
    with pytest.raises(SnapshotInvalid, match="a footer that does not fit"):
        SnapshotReader(path)


def test_another_chains_snapshot_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(SnapshotInvalid, match="of chain 'test', not 'other'"):
        SnapshotReader(path, chain="other")


def test_no_directory_means_no_snapshots(tmp_path: Path) -> None:
    assert list_snapshots(tmp_path / "nowhere") == []


def test_a_count_or_a_name_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    renamed = path.with_name(f"{10:020d}.snap")
    path.rename(renamed)
    with pytest.raises(SnapshotInvalid, match="says height 9, its name another"):
        SnapshotReader(renamed)


def test_what_stands_behind_the_footer_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    with path.open("ab") as file:
        file.write(path.read_bytes()[:60])
    with pytest.raises(SnapshotInvalid):
        SnapshotReader(path)


def test_a_snapshot_that_was_left_half_written_is_swept(tmp_path: Path) -> None:
    left = tmp_path / f".{5:020d}.snap.tmp"
    left.write_bytes(b"half")
    write(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize("name", ["foo.snap", "7.snap", f"{8:021d}.snap", f"x{8:019d}.snap"])
def test_a_file_whose_name_is_no_height_is_passed_over(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    (tmp_path / name).write_bytes(b"anything")
    assert list_snapshots(tmp_path) == [path]
    write(tmp_path, 10)
    assert (tmp_path / name).exists()


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def full_disk() -> Iterator[Row]:
        yield from rows(5_000)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_snapshot(tmp_path, SnapshotHeader(FORMAT, "test", 9, 42), full_disk())
    assert list(tmp_path.iterdir()) == []


def test_files_above_the_one_that_is_written_are_of_a_chain_that_is_gone(tmp_path: Path) -> None:
    for height in (5, 9, 12, 7):
        write(tmp_path, height)
    assert [int(path.stem) for path in list_snapshots(tmp_path)] == [7]
    write(tmp_path, 8)
    assert [int(path.stem) for path in list_snapshots(tmp_path)] == [8, 7]


def test_rows_too_large_for_one_record_become_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "RECORD_BYTES_MAX", 2_000)
    path = write(tmp_path, count=1_000)
    assert list(SnapshotReader(path).rows()) == rows(1_000)


def test_a_row_that_can_not_be_is_found_behind_the_rows_before_it(tmp_path: Path) -> None:
    payloads = [
        msgspec.msgpack.encode(SnapshotHeader(FORMAT, "test", 9, 42)),
        msgspec.msgpack.encode(["rows", rows(2)]),
        msgspec.msgpack.encode(["rows", [[2, 1, "no oid"]]]),
    ]
    path = put_together(tmp_path, payloads, count=4)
    snapshot = SnapshotReader(path)
    seen: list[Row] = []
    with pytest.raises(SnapshotInvalid, match="a record that can't be decoded"):
        for row in snapshot.rows():
            seen.append(row)  # noqa: PERF402 - those before the error count
    assert seen == rows(2)


def test_a_footer_that_counts_other_rows_is_found_at_the_end(tmp_path: Path) -> None:
    payloads = [
        msgspec.msgpack.encode(SnapshotHeader(FORMAT, "test", 9, 42)),
        msgspec.msgpack.encode(["rows", rows(2)]),
    ]
    snapshot = SnapshotReader(put_together(tmp_path, payloads, count=4))
    with pytest.raises(SnapshotInvalid, match="holds 3 rows, its footer says 4"):
        list(snapshot.rows())


def put_together(directory: Path, payloads: list[bytes], count: int) -> Path:
    covered = crc32c(b"")
    for payload in payloads:
        covered = extend_crc32c(covered, payload)
    footer = msgspec.msgpack.encode(["end", count, covered])
    path = directory / f"{9:020d}.snap"
    path.write_bytes(b"".join(map(frame, [*payloads, footer])))
    return path
