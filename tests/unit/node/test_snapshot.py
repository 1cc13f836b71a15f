"""Snapshots: whole or not at all."""

from pathlib import Path

import pytest

from sidecar.errors import SnapshotInvalid
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
