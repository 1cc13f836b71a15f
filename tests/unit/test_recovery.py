"""Where a state can start from: which candidates come, in which order, and why one is refused."""

import gc
import itertools
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from sidecar.checkpoints import CHECKPOINTS, FORMAT, Checkpoints
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.errors import LogGap, SnapshotInvalid, StateMismatch
from sidecar.limits import CHECKPOINT_PREFERRED_BLOCKS
from sidecar.node.block_records import block_digest
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.row_files import RowDirectory, RowFileHeader, RowFileReader
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import AccountRow, RestingRow, list_snapshots, write_snapshot
from sidecar.node.source import open_source
from sidecar.node.starts import Start
from sidecar.recovery.recover import recover
from sidecar.settings import SourceSettings
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows

BLOCKS, SEGMENT = 40, 10
pytestmark = pytest.mark.anyio


class Made:
    """A chain of 40 blocks in segments of 10, snapshots at 20 and 30, checkpoints at 15 and 25."""

    def __init__(self, root: Path) -> None:
        self.ipc = IpcDirectory(root / "ipc")
        self.own = RowDirectory(root / "checkpoints", CHECKPOINTS)
        self.own.path.mkdir()
        config = DevnetConfig(path=str(self.ipc.root), actions_per_block=15)
        chain, state = Chain(config), ChainState()
        self.ipc.create(config.chain, chain.time_ns, 100)
        with LogWriter(self.ipc.log, config.chain, segment_blocks=SEGMENT) as writer:
            for height in range(1, BLOCKS + 1):
                writer.append(chain.step())
                with LogReader(self.ipc.log, after=height - 1) as reader:
                    block = reader.next_block()
                assert block is not None
                state.apply(block)
                if height in (20, 30):
                    write_snapshot(self.ipc.snapshots, snapshot_header(chain), snapshot_rows(chain))
                if height in (15, 25):
                    self.write(state, config.chain)
        self.whole = list(checkpoint_rows(state))

    def write(self, state: ChainState, chain: str, height: int = 0, time_ns: int = 0) -> None:
        header = RowFileHeader(FORMAT, chain, height or state.height, time_ns or state.time_ns)
        self.own.form.write(self.own.path, header, checkpoint_rows(state))

    async def starts(self) -> Iterator[Start]:
        origin = await open_source(SourceSettings(path=str(self.ipc.root)), self.own)
        return origin.starts()

    async def origins(self) -> list[tuple[str, int]]:
        found = []
        for start in await self.starts():
            found.append((start.origin, start.height))
            start.reader.close()
        return found


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def finished(start: Start, state: ChainState) -> list[Any]:
    """The state's rows at the end of the log."""
    while (block := start.reader.next_block()) is not None:
        state.apply(block)
    start.reader.close()
    return list(checkpoint_rows(state))


def shared(rows: list[Any]) -> list[Any]:
    """Those that a snapshot has, too; accounts come in any order."""
    found = [row for row in rows if row.__struct_config__.tag < 32]
    accounts = [row for row in found if isinstance(row, AccountRow)]
    others = [row for row in found if not isinstance(row, AccountRow)]
    return others + sorted(accounts, key=lambda row: row.user)


ALL = [("checkpoint", 25), ("checkpoint", 15), ("snapshot", 30), ("snapshot", 20), ("log", 0)]


async def test_every_start_leads_to_the_same_exchange(made: Made) -> None:
    assert await made.origins() == ALL
    for start in await made.starts():
        rows = finished(*await recover(iter((start,))))
        if start.origin == "snapshot":  # the heights of users are not in it
            assert shared(rows) == shared(made.whole)
        else:
            assert rows == made.whole


async def test_an_old_checkpoint_comes_behind_a_much_newer_snapshot(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CHECKPOINT_PREFERRED_BLOCKS > 0
    monkeypatch.setattr("sidecar.node.native.CHECKPOINT_PREFERRED_BLOCKS", 0)
    assert [height for _, height in await made.origins()] == [30, 25, 20, 15, 0]
    state = ChainState()
    with LogReader(made.ipc.log) as reader:
        while state.height < 30 and (block := reader.next_block()) is not None:
            state.apply(block)
    made.write(state, "devnet-1")
    assert (await made.origins())[:2] == [("checkpoint", 30), ("snapshot", 30)]


async def test_a_missing_segment_leaves_what_lies_behind_it(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    list_segments(made.ipc.log)[2].unlink()  # 21 to 30
    starts = await made.starts()
    first = next(starts)
    assert (first.origin, first.height) == ("snapshot", 30)
    first.reader.close()
    with pytest.raises(LogGap, match=r"no checkpoint or snapshot .* no blocks 21 to 30"):
        next(starts)
    said = capsys.readouterr()
    assert (said.out + said.err).count("the log has no blocks 21 to 30") == 3


async def test_retired_segments_refuse_what_is_too_old(made: Made) -> None:
    for segment in list_segments(made.ipc.log)[:2]:
        segment.unlink()
    starts = await made.starts()
    kept = [("checkpoint", 25), ("snapshot", 30), ("snapshot", 20)]
    for expected in kept:
        start = next(starts)
        assert (start.origin, start.height) == expected
        start.reader.close()
    with pytest.raises(LogGap, match="the log starts at height 21; height 1 is needed"):
        next(starts)


async def test_a_damaged_file_is_passed_over(made: Made) -> None:
    newest = made.own.list()[0]
    newest.write_bytes(newest.read_bytes()[:-3])
    snapshot = list_snapshots(made.ipc.snapshots)[0]
    data = bytearray(snapshot.read_bytes())
    data[len(data) // 2] ^= 4
    snapshot.write_bytes(data)
    assert await made.origins() == [ALL[1], ALL[3], ALL[4]]


async def test_a_checkpoint_of_another_chain_is_refused(made: Made) -> None:
    made.write(ChainState(), "devnet-2", height=26, time_ns=5)
    assert ("checkpoint", 26) not in await made.origins()


async def test_a_checkpoint_above_the_logs_head_is_refused(made: Made) -> None:
    for segment in list_segments(made.ipc.log)[2:]:
        segment.unlink()
    assert await made.origins() == [("checkpoint", 15), ("snapshot", 20), ("log", 0)]


async def test_a_log_that_went_another_way_is_noticed_by_its_times(made: Made) -> None:
    made.write(ChainState(), "devnet-1", height=27, time_ns=5)
    assert ("checkpoint", 27) not in await made.origins()


@pytest.mark.parametrize("same", [True, False])
async def test_a_log_that_went_another_way_at_the_same_times_is_noticed_by_its_block(
    made: Made, *, same: bool
) -> None:
    with LogReader(made.ipc.log, after=26) as reader:
        block = reader.next_block()
    assert block is not None
    kept = block.transitions[0 if same else 1 :]
    mine = msgspec.structs.replace(block, written_ns=7, transitions=kept)  # the clock is no matter
    header = RowFileHeader(FORMAT, "devnet-1", 27, block.time_ns, block_digest(mine))
    made.own.form.write(made.own.path, header, [])
    assert (("checkpoint", 27) in await made.origins()) is same


@pytest.mark.parametrize(
    ("height", "same", "used"),
    [(24, True, True), (24, False, False), (5, False, True)],
    ids=["the same", "another", "another that was retired"],
)
async def test_another_way_is_noticed_by_blocks_below_too(
    made: Made, height: int, *, same: bool, used: bool
) -> None:
    """Both ways may have the same block of the checkpoint's height, a quiet one."""
    digests = {}
    with LogReader(made.ipc.log) as reader:
        while (block := reader.next_block()) is not None:
            digests[block.height] = (block.time_ns, block_digest(block))
    time_ns, own = digests[27]
    told = digests[height][1] ^ (not same)
    header = RowFileHeader(FORMAT, "devnet-1", 27, time_ns, own, ((height, told),))
    made.own.form.write(made.own.path, header, [])
    list_segments(made.ipc.log)[0].unlink()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    start = next(await made.starts())
    start.reader.close()
    assert ((start.origin, start.height) == ("checkpoint", 27)) is used
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


async def test_a_checkpoint_says_which_block_it_stands_behind(tmp_path: Path, made: Made) -> None:
    start, state = await recover(await made.starts())
    finished(start, state)
    own = RowDirectory(tmp_path / "new", CHECKPOINTS)
    own.path.mkdir()
    Checkpoints(own, start, state, blocks=1).write_last()
    with LogReader(made.ipc.log, after=BLOCKS - 1) as reader:
        block = reader.next_block()
    assert block is not None
    header = RowFileReader(own.list()[0], CHECKPOINTS).header
    assert header.digest == block_digest(block)
    assert [height for height, _ in header.telling] == list(range(BLOCKS - 7, BLOCKS))
    telling = [(one.height, block_digest(one)) for one in state.way]
    assert [*header.telling, (BLOCKS, header.digest)] == telling
    origin = await open_source(SourceSettings(path=str(made.ipc.root)), own)
    start, again = await recover(origin.starts())
    start.reader.close()
    assert (start.origin, list(again.way)) == ("checkpoint", list(state.way))


async def test_an_empty_log_refuses_checkpoints_and_takes_the_nodes_snapshots(made: Made) -> None:
    for segment in list_segments(made.ipc.log):
        segment.unlink()
    assert await made.origins() == ALL[2:]


async def test_what_stands_in_a_damaged_segment_gives_way_to_a_snapshot_behind_it(
    made: Made,
) -> None:
    segment = list_segments(made.ipc.log)[1]  # of 11 to 20
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    made.own.list()[0].unlink()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert await made.origins() == [("snapshot", 30), ("log", 0)]
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


async def test_a_checkpoint_whose_block_was_retired_is_refused(made: Made) -> None:
    """It was of a way that the node had left, as its block showed while it was there. Found by
    simulation.
    """
    made.write(ChainState(), "devnet-1", height=20, time_ns=5)
    assert ("checkpoint", 20) not in await made.origins()
    for segment in list_segments(made.ipc.log)[:2]:
        segment.unlink()
    starts = [next(starts) for starts in [await made.starts()] for _ in range(2)]
    for start in starts:
        start.reader.close()
    found = [(start.origin, start.height) for start in starts]
    assert found == [("snapshot", 30), ("snapshot", 20)]


async def test_what_an_earlier_process_told_of_another_way_is_known(made: Made) -> None:
    """A checkpoint that is refused for its block tells it to the start, and the next one on."""
    state = await doubting(made)
    assert state.doubted == 0
    made.write(ChainState(), "devnet-1", height=27, time_ns=5)
    state = await doubting(made)
    assert state.doubted == BLOCKS  # whatever the log has may have been told differently
    header = RowFileHeader(FORMAT, "devnet-1", 25, state.time_ns, None, (), 33)
    (path,) = (path for path in made.own.list() if int(path.stem) == 25)
    digest = RowFileReader(path, CHECKPOINTS).header
    header = msgspec.structs.replace(header, time_ns=digest.time_ns)
    rows = list(RowFileReader(path, CHECKPOINTS).rows())
    for one in made.own.list():
        one.unlink()
    made.own.form.write(made.own.path, header, rows)
    state = await doubting(made)
    assert state.doubted == 33
    assert state.height == 25


async def doubting(made: Made) -> ChainState:
    start, state = await recover(await made.starts())
    start.reader.close()
    return state


async def test_rows_that_make_no_state_lead_to_the_next_file(made: Made) -> None:
    broken = [RestingRow(1, 5, b"u" * 20, 0, 9, 9, 9)]  # of a market that is not listed
    newest = made.own.list()[0]
    header = RowFileReader(newest, CHECKPOINTS).header
    made.own.form.write(made.own.path, header, broken)
    start, state = await recover(await made.starts())
    assert (start.origin, start.height) == ("checkpoint", 15)
    assert finished(start, state) == made.whole


class _Reader:
    """A log of which only the closing matters."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def start_of(height: int, rows: Iterable[Any]) -> Start:
    reader: Any = _Reader()
    return Start("test", height, height, rows, reader)


def torn() -> Iterator[Any]:
    yield from ()
    raise SnapshotInvalid("the snapshot is torn")


@pytest.mark.parametrize(
    "rows", [lambda: [RestingRow(1, 5, b"u" * 20, 0, 9, 9, 9)], torn], ids=["mismatch", "torn"]
)
async def test_what_can_not_be_restored_is_dropped_and_the_next_one_taken(
    rows: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[weakref.ref[Any]] = []

    class Noted(ChainState):
        def __init__(self, *, strict: bool = True) -> None:
            super().__init__(strict=strict)
            built.append(weakref.ref(self))

    monkeypatch.setattr("sidecar.recovery.recover.ChainState", Noted)
    broken, good = start_of(7, rows()), start_of(5, ())
    start, state = await recover(iter((broken, good)))
    assert (start, state.height) == (good, 5)
    assert broken.reader.closed  # type: ignore[attr-defined]
    assert not good.reader.closed  # type: ignore[attr-defined]
    assert [one() is None for one in built] == [True, False]
    assert gc.isenabled()
    said = capsys.readouterr()
    assert "snapshot not used" in said.out + said.err


async def test_the_last_failure_comes_out_where_nothing_is_left() -> None:
    broken = [start_of(7, torn()), start_of(6, [RestingRow(1, 5, b"u" * 20, 0, 9, 9, 9)])]
    with pytest.raises(StateMismatch, match=r"uses market 1 before listing it .*height 6"):
        await recover(iter(broken))
    assert all(one.reader.closed for one in broken)  # type: ignore[attr-defined]


async def test_others_have_their_turn_while_a_state_is_restored() -> None:
    """Minutes, of a large exchange: signals, operators and the service manager are answered."""
    turned, told = anyio.Event(), list[int]()

    def rows() -> Iterator[Any]:
        deadline = time.monotonic() + 30
        while not turned.is_set():
            assert time.monotonic() < deadline
            yield None  # of a kind that is not known

    async def other() -> None:
        while not told:
            await checkpoint()
        turned.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await recover(iter((start_of(5, rows()),)), told.append)


async def test_the_end_in_the_middle_of_it_closes_the_log() -> None:
    start = start_of(5, itertools.repeat(None))
    with anyio.move_on_after(0.05):
        await recover(iter((start,)))
    assert start.reader.closed  # type: ignore[attr-defined]
    assert gc.isenabled()
