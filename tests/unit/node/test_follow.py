"""The follower: wakes when the node writes, survives what inotify can do, lets others run."""

import errno
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from sidecar.errors import LogGap
from sidecar.node import follow
from sidecar.node.follow import Follower
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.transitions import Block
from sidecar.node.unreadable import unreadable

pytestmark = pytest.mark.anyio


def block(height: int) -> Block:
    return Block(height, height, height, [])


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What wakes the follower in these tests is inotify, not the poll of last resort."""
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 3600.0)


async def take(follower: Follower, count: int, on_block: Callable[[int], None]) -> list[int]:
    heights: list[int] = []
    async for one in follower.blocks():
        heights.append(one.height)
        on_block(one.height)
        if len(heights) == count:
            break
    return heights


@pytest.mark.parametrize("busy_poll", [False, True])
async def test_blocks_come_as_they_are_written_across_rotation(
    tmp_path: Path, *, busy_poll: bool
) -> None:
    heights: list[int] = []
    with LogReader(tmp_path) as reader, LogWriter(tmp_path, "t", segment_blocks=3) as writer:
        follower = Follower(reader, busy_poll=busy_poll)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:

                async def collect() -> None:
                    heights.extend(await take(follower, 10, lambda _height: None))

                tasks.start_soon(collect)
                await follower.at_head.wait()
                for height in range(1, 11):
                    writer.append(block(height))
                    await anyio.lowlevel.checkpoint()
    assert heights == list(range(1, 11))


async def test_a_directory_that_appears_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 0.01)
    later = tmp_path / "later"
    with LogReader(later) as reader:
        follower = Follower(reader)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take, follower, 1, lambda _height: None)
                await follower.at_head.wait()
                with LogWriter(later, "t") as writer:
                    writer.append(block(1))


async def test_catching_up_lets_other_tasks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FOLLOW_SLICE_S", 0.0)
    with LogWriter(tmp_path, "t") as writer:
        for height in range(1, 101):
            writer.append(block(height))
    seen = []

    async def other() -> None:
        while True:
            seen.append(reader.height)
            await anyio.lowlevel.checkpoint()

    with LogReader(tmp_path) as reader:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            await take(Follower(reader), 100, lambda _height: None)
            tasks.cancel_scope.cancel()
    assert len(set(seen)) > 50


async def test_what_the_reader_raises_comes_out(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "t", first_height=5) as writer:
        writer.append(block(5))
    with LogReader(tmp_path) as reader, pytest.raises(LogGap, match="height 1 is needed"):
        await take(Follower(reader), 1, lambda _height: None)


async def test_a_replaced_directory_is_watched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 0.01)
    log = tmp_path / "log"
    log.mkdir()
    with follow._Watch() as watch:
        assert watch.extend([log])
        assert not watch.extend([log])
        log.rmdir()
        await watch.wait(5.0)
        log.mkdir()
        assert watch.extend([log])


async def test_a_name_that_leads_elsewhere_is_watched_where_it_leads(tmp_path: Path) -> None:
    """Two names of one directory are no trouble."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to(tmp_path / "one")
    second.symlink_to(tmp_path / "one")
    with follow._Watch() as watch:
        assert watch.extend([link, second, tmp_path / "nowhere"])
        assert not watch.extend([link, second, tmp_path / "nowhere"])
        (tmp_path / "new").symlink_to(tmp_path / "other")
        (tmp_path / "new").rename(link)
        await watch.wait(0.001)  # nothing comes: it looks where the names lead
        (tmp_path / "other" / "file").touch()
        with anyio.fail_after(10):
            await watch.wait(60.0)
        (tmp_path / "one" / "file").touch()
        with anyio.fail_after(10):
            await watch.wait(60.0)


async def test_a_directory_that_is_moved_away_makes_room_for_another(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    with follow._Watch() as watch:
        assert watch.extend([log])
        log.rename(tmp_path / "before")
        log.mkdir()
        with anyio.fail_after(10):
            await watch.wait(60.0)
        assert watch.extend([log])


async def test_without_inotify_it_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(**_options: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(follow, "INotify", none_left)
    with LogReader(tmp_path) as reader, LogWriter(tmp_path, "t") as writer:
        follower = Follower(reader)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take, follower, 1, lambda _height: None)
                await follower.at_head.wait()
                writer.append(block(1))


class Apart:
    """A reader one of whose streams has not come as far as the others."""

    height = 0

    def __init__(self, directory: Path) -> None:
        self.missing = [directory / "fills"]

    def next_block(self) -> Block | None:
        return None

    def directories(self) -> list[Path]:
        return []

    def is_at_head(self) -> bool:
        return True

    def behind(self) -> list[Path]:
        return self.missing

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("busy_poll", [False, True])
async def test_streams_that_are_apart_are_not_the_head_and_that_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    busy_poll: bool,
) -> None:
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 0.001)
    monkeypatch.setattr(follow, "BEHIND_WARN_S", 0.01)
    reader = Apart(tmp_path)
    follower = Follower(reader, busy_poll=busy_poll)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, follower, 1, lambda _height: None)
            said = ""
            while "the node's streams are apart" not in said:
                await anyio.sleep(0.001)
                said += capsys.readouterr().out
            assert str(tmp_path / "fills") in said
            assert not follower.at_head.is_set()
            reader.missing = []
            await follower.at_head.wait()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("busy_poll", [False, True])
async def test_without_a_descriptor_to_look_with_it_waits_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, busy_poll: bool
) -> None:
    looks = 0
    next_block = LogReader.next_block

    def exhausted(reader: LogReader) -> Block | None:
        nonlocal looks
        looks += 1
        if 3 <= looks <= 6:
            raise unreadable(tmp_path, OSError(errno.EMFILE, "Too many open files"))
        return next_block(reader)

    monkeypatch.setattr(follow, "FOLLOW_BUSY_S", 0.001)
    monkeypatch.setattr(LogReader, "next_block", exhausted)
    with LogReader(tmp_path) as reader, LogWriter(tmp_path, "t") as writer:
        for height in range(1, 6):
            writer.append(block(height))
        with capture_logs() as logs, anyio.fail_after(10):
            follower = Follower(reader, busy_poll=busy_poll)
            assert await take(follower, 5, lambda _height: None) == [1, 2, 3, 4, 5]
    assert [one["event"] for one in logs] == ["the log can't be looked at"]  # four times, said once
