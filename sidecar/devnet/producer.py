"""Produces the chain: a block every so many milliseconds into the log, now and then a snapshot.

    submit.sock ─▶ mempool ─▶ inputs on disk ─▶ Chain.step ─▶ log ─▶ answers ─▶ snapshot if due

One loop: take what waits, step, append, answer, sleep until the next block is due. The log is whole
whenever the loop waits, so a producer may be cancelled at any time; killed, it loses at most the
block that was being written, and whoever sent an action of it has had no answer yet.
"""

import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from anyio.from_thread import BlockingPortal

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.hyperliquid.files import HyperliquidFiles
from sidecar.devnet.hyperliquid.info_server import InfoServer
from sidecar.devnet.inputs import Inputs, InputsLog
from sidecar.devnet.mempool import Mempool
from sidecar.devnet.recipe import Recipe, read_recipe, write_recipe
from sidecar.devnet.resume import resume
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.devnet.submission import SubmissionServer
from sidecar.errors import LogUnwritable, SidecarError
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.snapshot import RestingRow, Row, SnapshotHeader, list_snapshots, write_snapshot
from sidecar.node.transitions import Block
from sidecar.telemetry.logs import get_log

_log = get_log("devnet")

_CATCH_UP_S = 2.0  # a producer that is later than this does not make up for what it missed
_NS_PER_MS = 1_000_000


async def produce(config: DevnetConfig, *, on_block: Callable[[Block], None] | None = None) -> None:
    """Writes the chain into `config.path` until cancelled, or for `config.blocks` blocks; takes
    signed actions on `submit.sock` there.

    `on_block` is called with each block once it is in the log. Raises `LogUnwritable` (also where
    another producer writes this directory, or the chain there can't be continued) and
    `ConfigInvalid` where the chain there was made with other settings.
    """
    ipc = IpcDirectory(Path(config.path))
    with _locked(ipc.root), ExitStack() as stack:
        producer = await _open(config, ipc, stack)
        try:
            await _serve(config, ipc, producer, on_block)
        finally:
            _log.info("stopped", height=producer.writer.height)


async def _serve(
    config: DevnetConfig,
    ipc: IpcDirectory,
    producer: "_Producer",
    on_block: Callable[[Block], None] | None,
) -> None:
    """Runs the producer with what may be asked of it while it runs."""
    submission = SubmissionServer(ipc.submit_socket, producer.mempool.accept)
    failure: SidecarError | None = None  # out of the groups, as it was raised
    async with BlockingPortal() as portal, anyio.create_task_group() as tasks:
        try:
            listener = await submission.listen()
            tasks.start_soon(submission.serve, listener)
            async with _info_server(config, producer, portal):
                await producer.run(on_block)
        except SidecarError as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _info_server(
    config: DevnetConfig, producer: "_Producer", portal: BlockingPortal
) -> AsyncIterator[None]:
    if config.info_port is None:
        yield
        return
    server = InfoServer(
        config.info_port,
        lambda: portal.call(producer.snapshot),
        lambda: producer.chain.time_ns // _NS_PER_MS,
    )
    server.start()
    _log.info("info server", port=server.port)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):  # its requests may wait for us
            await anyio.to_thread.run_sync(server.stop)


async def _open(config: DevnetConfig, ipc: IpcDirectory, stack: ExitStack) -> "_Producer":
    path = ipc.root / "devnet.json"
    recipe = read_recipe(path)
    if recipe is None:
        if ipc.chain_file.exists():
            what = "no record of how the chain here was made; use a fresh directory"
            raise LogUnwritable(what, path=path)
        recipe = Recipe.of(config)
        write_recipe(path, recipe)
    recipe.check(config, path)
    with _translated(ipc.root):
        ipc.create(config.chain, time.time_ns(), config.block_ms)
        inputs = InputsLog(ipc.root / "inputs")
        stack.callback(inputs.close)
        writer = LogWriter(ipc.log, config.chain, segment_blocks=config.segment_blocks)
        stack.callback(writer.close)
        chain = await resume(config, ipc, inputs, writer.height)
    _log.info("producing", path=str(ipc.root), chain=config.chain, after_height=chain.height)
    return _Producer(config, ipc, inputs, writer, chain, _open_files(config, chain, stack))


def _open_files(config: DevnetConfig, chain: Chain, stack: ExitStack) -> HyperliquidFiles | None:
    if config.hyperliquid is None:
        return None
    listings = [market.listing() for market in config.listed] if chain.height else []
    resting = [row for row in snapshot_rows(chain) if isinstance(row, RestingRow)]
    files = HyperliquidFiles(Path(config.hyperliquid), listings, resting)
    stack.callback(files.close)
    return files


class _Producer:
    """A chain with the log that it is written to."""

    def __init__(
        self,
        config: DevnetConfig,
        ipc: IpcDirectory,
        inputs: InputsLog,
        writer: LogWriter,
        chain: Chain,
        files: HyperliquidFiles | None,
    ) -> None:
        self.writer = writer
        self.chain = chain
        self.mempool = Mempool(chain.exchange.markets)
        self._config = config
        self._ipc = ipc
        self._inputs = inputs
        self._files = files
        self._clock_ns: int | None = None  # of the next block, where its time is to be set

    async def run(self, on_block: Callable[[Block], None] | None) -> None:
        """Produces blocks on an absolute schedule: one that is late makes the next one no later."""
        interval_s = self._config.block_ms / 1000
        left = self._config.blocks
        self._clock_ns = time.time_ns()
        due = anyio.current_time()
        while left is None or left > 0:
            await anyio.sleep_until(due)
            block = self._produce()
            if on_block is not None:
                on_block(block)
            if block.height % self._config.snapshot_blocks == 0:
                await self._snapshot()
            due += interval_s
            if anyio.current_time() - due > _CATCH_UP_S:
                due = anyio.current_time()
                self._clock_ns = time.time_ns()
            left = None if left is None else left - 1

    def snapshot(self) -> tuple[SnapshotHeader, list[Row]]:
        """The state as it is between two blocks."""
        return snapshot_header(self.chain), list(snapshot_rows(self.chain))

    def _produce(self) -> Block:
        """One block, whose inputs are on disk before it is made, and whose senders have their
        answers once it is in the log.
        """
        chain, taken = self.chain, self.mempool.take()
        submitted = [one for one, _ in taken]
        bodies = [one.body for one in submitted]
        with _translated(self._inputs.directory):
            self._inputs.append(Inputs(chain.height + 1, self._clock_ns, bodies))
        if self._clock_ns is not None:
            chain.set_time(self._clock_ns)
            self._clock_ns = None
        block = chain.step(submitted)
        block = msgspec.structs.replace(block, written_ns=time.time_ns())
        self.writer.append(block)
        if self._files is not None:
            self._files.write(block)
        for (_, answer), result in zip(taken, chain.results, strict=True):
            answer(result.ok, block.height, result.response)
        return block

    async def _snapshot(self) -> None:
        """Writes the state in a thread while the chain stands still, then retires old segments.

        A segment goes only when no snapshot that is kept needs it: a reader may have to fall back
        to the older one.
        """
        header, rows = self.snapshot()
        with _translated(self._ipc.snapshots):
            await anyio.to_thread.run_sync(write_snapshot, self._ipc.snapshots, header, rows)
            kept = [int(path.stem) for path in list_snapshots(self._ipc.snapshots)]
            self.writer.retire(kept[-1])
            self._inputs.rotate(header.height, kept[-1] if kept[1:] else 0)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Holds the lock of the IPC directory, which is made where it is not there yet.

    The lock is free again when the process ends, however it ends.
    """
    path = root / "devnet.lock"
    with _translated(path):
        root.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # nobody else's lock
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = "another development chain writes here; stop it, or use another directory"
            raise LogUnwritable(what, path=path) from error
        yield
    finally:
        os.close(fd)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogUnwritable(f"can't be written: {error.strerror}", path=path) from error
