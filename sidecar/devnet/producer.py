"""Produces the chain: a block every so many milliseconds into the log, now and then a snapshot.

One task, one loop: step, append, snapshot if due, sleep until the next block is due. The log is
whole whenever the loop waits, so a producer may be cancelled at any time.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.recipe import Recipe, read_recipe, write_recipe
from sidecar.devnet.resume import resume, step
from sidecar.errors import LogUnwritable
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.snapshot import list_snapshots, write_snapshot
from sidecar.node.transitions import Block
from sidecar.telemetry.logs import get_log

_log = get_log("devnet")

_CATCH_UP_S = 2.0  # a producer that is later than this does not make up for what it missed


async def produce(config: DevnetConfig, *, on_block: Callable[[Block], None] | None = None) -> None:
    """Writes the chain into `config.path` until cancelled, or for `config.blocks` blocks.

    `on_block` is called with each block once it is in the log. Raises `LogUnwritable` (also where
    another producer writes this directory, or the chain there can't be continued) and
    `ConfigInvalid` where the chain there was made with other settings.
    """
    ipc = IpcDirectory(Path(config.path))
    with _locked(ipc.root):
        producer = await _open(config, ipc)
        try:
            await producer.run(on_block)
        finally:
            producer.writer.close()
            _log.info("stopped", height=producer.writer.height)


async def _open(config: DevnetConfig, ipc: IpcDirectory) -> "_Producer":
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
        writer = LogWriter(ipc.log, config.chain, segment_blocks=config.segment_blocks)
    try:
        with _translated(ipc.root):
            chain = await resume(config, recipe, ipc, writer.height)
    except BaseException:
        writer.close()
        raise
    _log.info("producing", path=str(ipc.root), chain=config.chain, after_height=chain.height)
    return _Producer(config, ipc, recipe, writer, chain)


class _Producer:
    """A chain with the log that it is written to."""

    def __init__(
        self,
        config: DevnetConfig,
        ipc: IpcDirectory,
        recipe: Recipe,
        writer: LogWriter,
        chain: Chain,
    ) -> None:
        self.writer = writer
        self._config = config
        self._ipc = ipc
        self._recipe = recipe
        self._chain = chain

    async def run(self, on_block: Callable[[Block], None] | None) -> None:
        """Produces blocks on an absolute schedule: one that is late makes the next one no later."""
        interval_s = self._config.block_ms / 1000
        left = self._config.blocks
        self._start_clock()
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
                self._start_clock()
            left = None if left is None else left - 1

    def _start_clock(self) -> None:
        """The next block's consensus time is now, on record before the block is made."""
        self._recipe.starts[self._chain.height + 1] = time.time_ns()
        write_recipe(self._ipc.root / "devnet.json", self._recipe)

    def _produce(self) -> Block:
        block = step(self._chain, self._recipe)
        block = msgspec.structs.replace(block, written_ns=time.time_ns())
        self.writer.append(block)
        return block

    async def _snapshot(self) -> None:
        """Writes the state in a thread while the chain stands still, then retires old segments.

        A segment goes only when no snapshot that is kept needs it: a reader may have to fall back
        to the older one.
        """
        header, rows = self._chain.snapshot_header(), list(self._chain.snapshot_rows())
        with _translated(self._ipc.snapshots):
            await anyio.to_thread.run_sync(write_snapshot, self._ipc.snapshots, header, rows)
            oldest = list_snapshots(self._ipc.snapshots)[-1]
            self.writer.retire(int(oldest.stem))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Holds the lock of the IPC directory, which is made where it is not there yet.

    The lock is free again when the process ends, however it ends.
    """
    path = root / "devnet.lock"
    with _translated(path):
        root.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
