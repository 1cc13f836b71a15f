"""Replay: captured files written again, at once or at their pace, whole or in pieces."""

import io
import tarfile
from pathlib import Path

import anyio
import pytest

from hyperliquid_node import (
    DIFFS,
    FILLS,
    STATUSES,
    STREAMS,
    FakeNode,
    block_ns,
    block_time,
    heights,
    row,
)
from sidecar.errors import LogCorrupt, LogUnwritable, SourceMissing
from sidecar.node.hyperliquid import HyperliquidReader
from sidecar.node.replay import plan, replay

anyio_test = pytest.mark.anyio


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    """Blocks 1 to 9, the node's hours passing at 4 and its date at 7."""
    node = FakeNode(tmp_path / "captured")
    node.write_all(range(1, 4), hour=9)
    node.write_all(range(4, 7), hour=10)
    node.write_all(range(7, 10), hour=0, date="20260425")
    return node


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "again"


class Sleeps:
    """Stands in for the clock: sleeping is what makes time pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.until_s: list[float] = []
        monkeypatch.setattr(anyio, "current_time", lambda: self.now_s)
        monkeypatch.setattr(anyio, "sleep_until", self.sleep_until)

    async def sleep_until(self, deadline: float) -> None:
        self.until_s.append(deadline)
        self.now_s = max(self.now_s, deadline)


def files(data_dir: Path) -> dict[str, bytes]:
    paths = (path for path in data_dir.rglob("*") if path.is_file())
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in paths}


def archive(data_dir: Path, path: Path, prefix: str = "hl/data/") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files(data_dir).items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_the_plan_is_merged_by_local_time(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    for stream, later in ((STATUSES, 2), (DIFFS, 1), (FILLS, 0)):
        for height in (10, 20):
            written = block_time(height + later)
            node.append(stream, row(height, local_time=written))
    planned = list(plan(tmp_path))
    assert [one.stream for one in planned] == [FILLS, DIFFS, STATUSES] * 2
    assert [one.due_ns for one in planned] == [block_ns(at) for at in (10, 11, 12, 20, 21, 22)]
    assert [(one.date, one.hour) for one in planned] == [("20260424", 3)] * 6
    assert b"".join(one.line for one in planned if one.stream == FILLS) == row(
        10, local_time=block_time(10)
    ) + row(20, local_time=block_time(20))


def test_a_clock_that_stepped_back_does_not_reorder_a_file(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    for height, at in ((1, 10), (2, 5), (3, 11)):
        node.append(DIFFS, row(height, local_time=block_time(at)))
    assert [one.due_ns for one in plan(tmp_path)] == [block_ns(at) for at in (10, 10, 11)]


def test_half_lines_are_due_with_the_line_before(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.append(DIFFS, row(1) + b'{"local')
    first, half = plan(tmp_path)
    assert (half.due_ns, half.line) == (first.due_ns, b'{"local')


@anyio_test
async def test_at_once_the_files_are_the_same(node: FakeNode, target: Path) -> None:
    lines = await replay(node.data_dir, target, speed=0)
    assert lines == 27
    assert files(target) == files(node.data_dir)


@anyio_test
@pytest.mark.parametrize("cut_bytes", [1, 7, 100, 1 << 20])
async def test_cut_into_pieces_the_files_are_the_same(
    node: FakeNode, target: Path, cut_bytes: int
) -> None:
    node.append(FILLS, b'{"half', hour=0, date="20260425")
    await replay(node.data_dir, target, speed=0, cut_bytes=cut_bytes)
    assert files(target) == files(node.data_dir)


@anyio_test
async def test_pieces_are_written_as_soon_as_they_are_full(node: FakeNode, target: Path) -> None:
    sizes: set[int] = set()

    def look(lines: int) -> None:
        sizes.update(len(content) % 64 for name, content in files(target).items() if "/9" in name)

    path = FakeNode(target).path(STATUSES, 9)
    await replay(node.data_dir, target, speed=0, cut_bytes=64, on_progress=look)
    assert sizes <= {0, path.stat().st_size % 64}


@anyio_test
async def test_a_reader_follows_a_replay_that_cuts_lines(node: FakeNode, target: Path) -> None:
    found: list[int] = []
    with HyperliquidReader(target, after=0, markets={}) as reader:

        def read(lines: int) -> None:
            found.extend(heights(list(iter(reader.next_block, None))))

        await replay(node.data_dir, target, speed=0, cut_bytes=50, on_progress=read)
        read(0)
    assert found == list(range(1, 10))


@anyio_test
@pytest.mark.parametrize("speed", [1.0, 10.0])
async def test_the_pace_is_the_recorded_one_times_the_speed(
    node: FakeNode, target: Path, monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    sleeps = Sleeps(monkeypatch)
    await replay(node.data_dir, target, speed=speed)
    due_s = [1000.0 + (height - 1) * 0.07 / speed for height in range(1, 10) for _ in STREAMS]
    assert sleeps.until_s == pytest.approx(due_s)


@anyio_test
async def test_progress_counts_lines(node: FakeNode, target: Path) -> None:
    counts: list[int] = []
    await replay(node.data_dir, target, speed=0, on_progress=counts.append)
    assert counts == list(range(1, 28))


@anyio_test
@pytest.mark.parametrize("prefix", ["hl/data/", "", "./"])
async def test_an_archive_is_replayed_like_its_directory(
    node: FakeNode, target: Path, tmp_path: Path, prefix: str
) -> None:
    packed = archive(node.data_dir, tmp_path / "captured.tar.gz", prefix)
    await replay(packed, target, speed=0)
    assert files(target) == files(node.data_dir)


def test_nothing_else_in_an_archive_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "captured.tar"
    with tarfile.open(packed, "w") as tar:
        for name in ("README", f"../{DIFFS}/hourly/20260424/x", "node_misc/hourly/20260424/3"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo(f"{DIFFS}/hourly/20260424/3")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(SourceMissing, match="holds no hour files"):
        list(plan(packed))


@pytest.mark.parametrize("content", [None, b"", b"not an archive", b"\x1f\x8b\x00\x00"])
def test_what_is_neither_directory_nor_archive(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "captured.tar.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceMissing, match="not a data directory or tar archive") as raised:
        list(plan(path))
    assert raised.value.path == path


def test_a_directory_without_node_files(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=f"holds no hour files of {STATUSES}"):
        list(plan(tmp_path))


def test_an_impossible_local_time_is_corrupt(tmp_path: Path) -> None:
    path = FakeNode(tmp_path).append(DIFFS, row(1, local_time="noon"))
    with pytest.raises(LogCorrupt, match="'noon' is not a time") as raised:
        list(plan(tmp_path))
    assert raised.value.path == path


@anyio_test
async def test_a_target_with_node_files_is_refused(node: FakeNode, target: Path) -> None:
    FakeNode(target).append(FILLS, b"old\n")
    before = files(target)
    with pytest.raises(LogUnwritable, match="has node files already") as raised:
        await replay(node.data_dir, target, speed=0)
    assert raised.value.path == target / FILLS
    assert files(target) == before


@anyio_test
async def test_appending_is_asked_for(node: FakeNode, target: Path) -> None:
    await replay(node.data_dir, target, speed=0)
    await replay(node.data_dir, target, speed=0, append=True)
    assert files(target) == {name: twice * 2 for name, twice in files(node.data_dir).items()}


@anyio_test
@pytest.mark.parametrize("append", [False, True])
async def test_a_source_is_never_its_own_target(node: FakeNode, append: bool) -> None:
    with pytest.raises(LogUnwritable, match="the target is the source"):
        await replay(node.data_dir, node.data_dir, speed=0, append=append)


@anyio_test
@pytest.mark.parametrize(("speed", "cut_bytes"), [(-1.0, None), (1.0, 0)])
async def test_impossible_options(
    node: FakeNode, target: Path, speed: float, cut_bytes: int | None
) -> None:
    with pytest.raises(ValueError, match="at least"):
        await replay(node.data_dir, target, speed=speed, cut_bytes=cut_bytes)


@anyio_test
async def test_a_target_that_can_not_be_written_is_named(node: FakeNode, target: Path) -> None:
    target.write_bytes(b"a file")
    with pytest.raises(LogUnwritable, match="can't write: Not a directory") as raised:
        await replay(node.data_dir, target, speed=0)
    assert raised.value.path is not None


@anyio_test
@pytest.mark.parametrize("cut_bytes", [None, 1 << 20])
async def test_a_full_disk_is_named(node: FakeNode, target: Path, cut_bytes: int | None) -> None:
    for stream in STREAMS:
        path = FakeNode(target).path(stream, 9)
        path.parent.mkdir(parents=True)
        path.symlink_to("/dev/full")
    with pytest.raises(LogUnwritable, match="can't write: No space left on device"):
        await replay(node.data_dir, target, speed=0, cut_bytes=cut_bytes, append=True)


def test_a_flipped_bit_in_an_archive_is_never_other_lines(node: FakeNode, tmp_path: Path) -> None:
    path = archive(node.data_dir, tmp_path / "captured.tar.gz")
    data, lines = path.read_bytes(), [planned.line for planned in plan(path)]
    for index in range(20, len(data), 7):
        path.write_bytes(data[:index] + bytes((data[index] ^ 4,)) + data[index + 1 :])
        try:
            found = [planned.line for planned in plan(path)]
        except (SourceMissing, LogCorrupt):
            continue
        assert found == lines
