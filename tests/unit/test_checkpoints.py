"""Checkpoints beside a running pipeline: written by a child process, read back whole."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from blocks import ALICE, ask, bid, block, state_of
from sidecar import checkpoints
from sidecar.checkpoints import CHECKPOINTS, Checkpoints, open_directory
from sidecar.errors import ConfigInvalid
from sidecar.limits import CHECKPOINT_NICE
from sidecar.node.row_files import RowDirectory, RowFileReader
from sidecar.node.starts import Start
from sidecar.node.transitions import LedgerChanged
from sidecar.settings import CheckpointSettings
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows

pytestmark = pytest.mark.anyio
TIMEOUT_S = 20.0


@pytest.fixture
def directory(tmp_path: Path) -> RowDirectory[Any]:
    opened = open_directory(CheckpointSettings(str(tmp_path / "state" / "checkpoints")))
    assert opened is not None
    return opened


def writer(
    directory: RowDirectory[Any], state: ChainState, *, blocks: int = 2, origin: str = "log"
) -> Checkpoints:
    reader: Any = None
    start = Start("test", state.height, state.time_ns, (), reader, origin)
    return Checkpoints(directory, start, state, blocks=blocks)


def step(state: ChainState, count: int = 1) -> None:
    for _ in range(count):
        height = state.height + 1
        state.apply(block(height, bid(height * 2, 90 - height), ask(height * 2 + 1, 101)))


def rows_of(path: Path) -> list[Any]:
    return list(RowFileReader(path, CHECKPOINTS, chain="test").rows())


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(TIMEOUT_S):
        while not reached():
            await anyio.sleep(0.005)


async def test_one_is_written_when_it_is_due_and_holds_the_state_of_that_moment(
    directory: RowDirectory[Any],
) -> None:
    state = state_of()
    kept = writer(directory, state)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.run)
        step(state)
        await anyio.sleep(0.1)  # one block is not two
        assert directory.list() == []
        step(state)
        rows = list(checkpoint_rows(state))
        await until(lambda: kept.height == 4)
        step(state)
        tasks.cancel_scope.cancel()
    (path,) = directory.list()
    assert int(path.stem) == 4
    assert rows_of(path) == rows
    assert kept.failures == 0


async def test_blocks_after_the_fork_are_not_in_it(directory: RowDirectory[Any]) -> None:
    state = state_of(bid(5, 100))
    rows = list(checkpoint_rows(state))
    kept = writer(directory, state)
    child = kept._fork()
    step(state, 50)
    assert os.waitpid(child, 0) == (child, 0)
    assert [rows_of(path) for path in directory.list()] == [rows]


async def test_the_last_one_is_written_unless_it_is_there(directory: RowDirectory[Any]) -> None:
    empty = writer(directory, ChainState())
    empty.write_last()
    assert directory.list() == []
    state = state_of()
    kept = writer(directory, state)
    kept.write_last()
    (path,) = directory.list()
    assert rows_of(path) == list(checkpoint_rows(state))
    path.unlink()
    kept.write_last()
    writer(directory, state, origin="checkpoint").write_last()
    assert directory.list() == []
    writer(directory, state, origin="snapshot").write_last()
    assert directory.list() == [path]


async def test_a_state_that_has_no_form_is_not_kept_and_ends_nothing(
    directory: RowDirectory[Any],
) -> None:
    """A node that goes mad may have balances beyond 64 bits. Found by fuzzing: the last checkpoint
    ended the process with a traceback.
    """
    state = state_of(*(LedgerChanged(ALICE, "deposit", (1 << 63) - 1) for _ in range(3)))
    kept = writer(directory, state)
    kept.write_last()
    assert directory.list() == []
    assert (kept.failures, kept.why) == (1, "can't serialize ints < -2**63 or > 2**64 - 1")


async def test_the_newest_two_are_kept(directory: RowDirectory[Any]) -> None:
    state = state_of()
    kept = writer(directory, state)
    for _ in range(4):
        step(state)
        kept.write_last()
    assert [int(path.stem) for path in directory.list()] == [6, 5]


@pytest.mark.parametrize("height", [999_999, 1, 4])
async def test_what_can_not_be_deleted_is_said_once_and_stands_in_no_ones_way(
    directory: RowDirectory[Any], capsys: pytest.CaptureFixture[str], height: int
) -> None:
    """It was a failure of each checkpoint, after it had been written, and all of them stayed."""
    odd = directory.path / CHECKPOINTS.file_name(height)
    odd.mkdir()
    state = state_of()
    kept = writer(directory, state)
    for _ in range(3):
        step(state)
        await kept._write_beside()
        kept.height = 0
        kept.write_last()
    assert (kept.failures, kept.written) == ((2, 4) if height == 4 else (0, 6))
    assert {int(path.stem) for path in directory.list()} == {
        height,
        5,
        *({3} if height == 4 else {4}),
    }
    said = capsys.readouterr()
    assert (said.out + said.err).count("old checkpoint not deleted") == 1


async def test_what_is_left_half_written_and_can_not_be_deleted_keeps_no_one_from_starting(
    directory: RowDirectory[Any],
) -> None:
    CHECKPOINTS.temporary(directory.path / CHECKPOINTS.file_name(7), 4711).mkdir()
    assert open_directory(CheckpointSettings(str(directory.path))) is not None


async def test_a_child_that_is_still_writing_ends_with_the_process(
    directory: RowDirectory[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(state: ChainState) -> Iterator[Any]:
        yield from checkpoint_rows(state)
        time.sleep(3 * TIMEOUT_S)

    monkeypatch.setattr(checkpoints, "checkpoint_rows", slow)
    state = state_of()
    kept = writer(directory, state)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.run)
        step(state, 2)
        await until(lambda: any(directory.path.iterdir()))
        child = kept._child or 0
        assert child
        step(state, 10)  # due again, but one is being written
        await anyio.sleep(0.2)
        assert kept._child == child
        tasks.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert list(directory.path.iterdir()) == []
    monkeypatch.undo()
    kept.write_last()
    assert [int(path.stem) for path in directory.list()] == [14]


async def test_a_child_holds_nothing_of_the_parents(
    directory: RowDirectory[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def checking(state: ChainState) -> Iterator[Any]:
        yield from checkpoint_rows(state)
        targets = [str(path.readlink()) for path in _descriptors()]
        assert targets[:3] == ["/dev/null"] * 3
        assert [str(directory.path) in one for one in targets[3:]] == [True]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert os.nice(0) == before + CHECKPOINT_NICE

    before = os.nice(0)
    monkeypatch.setattr(checkpoints, "checkpoint_rows", checking)
    with anyio.open_signal_receiver(signal.SIGTERM):
        kept = writer(directory, state_of())
        await kept._write_beside()
    assert (kept.failures, kept.height) == (0, 2)


def _descriptors() -> Iterator[Path]:
    """The open ones, less the one of the directory that lists them."""
    for path in sorted(Path("/proc/self/fd").iterdir()):
        if path.is_symlink():
            yield path


def failing(error: BaseException) -> Callable[[ChainState], Iterator[Any]]:
    def rows(state: ChainState) -> Iterator[Any]:
        yield from checkpoint_rows(state)
        raise error

    return rows


def killed(_state: ChainState) -> Iterator[Any]:
    yield from ()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (failing(OSError(28, "full")), "No space left on device"),
        (failing(ValueError("a bug")), "the writing process failed"),
        (killed, "the writing process was killed by signal 9"),
    ],
)
async def test_a_failure_is_said_counted_and_leaves_nothing(
    rows: Any,
    reason: str,
    directory: RowDirectory[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checkpoints, "checkpoint_rows", rows)
    kept = writer(directory, state_of())
    await kept._write_beside()
    assert (kept.failures, kept.height) == (1, 0)
    said = capsys.readouterr()
    assert reason in said.out + said.err
    assert list(directory.path.iterdir()) == []
    monkeypatch.undo()
    await kept._write_beside()
    assert (kept.failures, kept.height) == (1, 2)


async def test_no_process_for_it_is_a_failure_like_others(
    directory: RowDirectory[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    kept = writer(directory, state_of())
    await kept._write_beside()
    assert (kept.failures, kept.height, kept._child) == (1, 0, None)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


async def test_a_state_that_failed_is_never_written(directory: RowDirectory[Any]) -> None:
    state = state_of()
    kept = writer(directory, state)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.run)
        step(state, 5)
        kept.stop()
        await anyio.sleep(0.15)
        tasks.cancel_scope.cancel()
    kept.write_last()
    assert list(directory.path.iterdir()) == []


async def test_a_full_disk_at_the_end_is_said(
    directory: RowDirectory[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "checkpoint_rows", failing(OSError(28, "full")))
    kept = writer(directory, state_of())
    kept.write_last()
    assert (kept.failures, list(directory.path.iterdir())) == (1, [])


async def test_a_directory_that_was_taken_away_does_not_end_the_process(
    directory: RowDirectory[Any],
) -> None:
    state = state_of()
    kept = writer(directory, state)
    directory.path.rename(directory.path.with_name("elsewhere"))
    await kept._write_beside()
    kept.write_last()
    assert (kept.failures, kept.height) == (2, 0)


async def test_what_a_killed_writer_left_is_swept(directory: RowDirectory[Any]) -> None:
    left = CHECKPOINTS.temporary(directory.path / CHECKPOINTS.file_name(7), 4711)
    left.write_bytes(b"half")
    open_directory(CheckpointSettings(str(directory.path)))
    assert not left.exists()


async def test_no_directory_means_none_and_one_that_can_not_be_is_named(tmp_path: Path) -> None:
    assert open_directory(CheckpointSettings()) is None
    assert open_directory(CheckpointSettings("")) is None
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigInvalid, match=r"checkpoint\.directory: can't write .*file"):
        open_directory(CheckpointSettings(str(tmp_path / "file")))
