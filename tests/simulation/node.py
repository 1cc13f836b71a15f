"""The simulated node: a development chain that writes a real log, and has troubles.

run ─▶ block after block, some with a trouble (`troubles.py`) ─▶ calm: what leads on from anything
"""

import pickle
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.mempool import Mempool, Submitted
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.node.block_records import block_digest
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.snapshot import list_snapshots, write_snapshot
from sidecar.node.transitions import Block
from tests.simulation.submission_end import Answerer, SubmissionEnd
from tests.simulation.weights import Weights
from tests.simulation.world import World

BLOCK_MS = 100
Trouble = Callable[["SimulatedNode", str], Awaitable[None]]


class SimulatedNode:
    """One chain, its directory, and what has become of it."""

    def __init__(self, world: World, path: Path, weights: Weights, trouble: Trouble) -> None:
        """`trouble` lets one happen, by its name."""
        self.world = world
        self._trouble = partial(trouble, self)
        self.ipc = IpcDirectory(path)
        self.weights = weights
        self.config = DevnetConfig(
            path=path,
            seed=1,
            block_ms=BLOCK_MS,
            markets=("TOYOTA", "SONY"),
            makers=2,
            takers=6,
            gamblers=2,
            actions_per_block=weights.actions,
            funding_ms=3_000,
        )
        self.chain = Chain(self.config)
        self.blocks: dict[int, Block] = {}  # of the way that the chain goes now
        self.branches: list[dict[int, Block]] = []  # of ways that it has left
        self.written: dict[int, float] = {}  # when a block was whole in the log
        self.executed: dict[bytes, set[int]] = {}  # heights at which a block had a body
        self.troubles: list[str] = []
        self._inputs: dict[int, list[Submitted]] = {}
        self._replaying: dict[int, list[Submitted]] = {}  # what the same blocks are made of again
        self._late_ns = 0  # what makes the next block another one than it was
        self.damaged: tuple[Path, int, bytes] | None = None  # a record, as it should be
        self.unanswered: list[tuple[Answerer, Any]] = []
        self._mempool = Mempool(self.chain.exchange.markets)
        self.submission = SubmissionEnd(world, self.ipc.submit_socket, self._accept)
        self.ipc.create(self.config.chain, self.chain.time_ns, BLOCK_MS)
        self.open()

    @property
    def height(self) -> int:
        return self.chain.height

    def begin(self) -> None:
        """Some blocks, a snapshot, and some more, before anybody looks; the same in every world.
        Soon a minute begins, and with it candles that are whole.
        """
        self.world.clock.advance(_BEGINNING_S)
        beginning = _BEGINNINGS.get(self.config.actions_per_block)
        if beginning is None:
            blocks = []
            for _ in range(_BEGINNING):
                self.world.clock.advance(BLOCK_MS / 1000)
                blocks.append(self.make())
            beginning = blocks, pickle.dumps(self.chain)
            _BEGINNINGS[self.config.actions_per_block] = beginning
        else:
            self.world.clock.advance(_BEGINNING * BLOCK_MS / 1000)
            self.chain = pickle.loads(beginning[1])
            self._mempool = Mempool(self.chain.exchange.markets)
        for block in beginning[0]:
            self.blocks[block.height], self._inputs[block.height] = block, []
            self.log(block)
        self.snapshot()
        for _ in range(3):
            self.log(self.make())

    async def run(self) -> None:
        """Until the world's story ends; then all is well again, and stays so for a while."""
        world = self.world
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.submission.serve, tasks)
            while not world.ending:
                await anyio.sleep(BLOCK_MS / 1000 * (0.2 + 1.6 * world.rng.random()))
                await self._block()
            tasks.cancel_scope.cancel()
        self.submission.drop()

    async def calm_down(self, is_enough: Callable[[], bool]) -> None:
        """A snapshot that leads on from anything, then blocks until it is enough, and some more."""
        self.close_segment()
        self.log(self.make())
        self.snapshot()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.submission.serve, tasks)
            more = CALM_BLOCKS
            while more:
                await anyio.sleep(BLOCK_MS / 1000)
                if is_enough():
                    more -= 1
                    self.log(self.make())
                elif self.height % 5 == 0 or self.world.rng.random() < 0.3:
                    self.log(self.make())
            await anyio.sleep(2.0)  # it is read by all
            tasks.cancel_scope.cancel()
        self.submission.drop()

    async def _block(self) -> None:
        trouble = self.weights.trouble(self.world.rng)
        if trouble is not None:
            self.troubles.append(f"{trouble} at {self.height}")
            await self._trouble(trouble)
        self.log(self.make())
        if self.height % self.weights.snapshot_blocks == 0:
            self.snapshot()

    def make(self) -> Block:
        """The next block; what was asked for is in it."""
        chain, world = self.chain, self.world
        height = chain.height + 1
        taken = self._mempool.take()
        submitted = self._replaying.pop(height, None)
        if submitted is None:
            submitted = [one for one, _ in taken]
        else:
            for _, answer in taken:
                answer(False, 0, "the node is busy")
            taken = []
        before = self.blocks.get(height)
        if before is None:
            chain.set_time(world.clock.true_ns() + self._late_ns)
            self._late_ns = 0
        else:  # it comes again
            chain.set_time(before.time_ns)
        block = chain.step(submitted, world.clock.wall_ns())
        assert before is None or block_digest(before) == block_digest(block)
        self._inputs[height] = submitted
        self.blocks[height] = block
        for one in submitted:
            self.executed.setdefault(one.body, set()).add(height)
        self.unanswered = [
            (answer, result) for (_, answer), result in zip(taken, chain.results, strict=False)
        ]
        return block

    def log(self, block: Block) -> None:
        """Writes it; whoever sent an action of it is answered."""
        self.writer.append(block)
        self.world.faults.touched(self.ipc.log)
        if self.world.faults.rest is None:
            self.written[block.height] = self.world.clock.now
        self.answer(block.height)

    def _accept(self, body: bytes, answer: Answerer) -> None:
        self._mempool.accept(body, answer)

    def answer(self, height: int) -> None:
        """Whoever sent an action of the newest block hears what became of it."""
        for answer, result in self.unanswered:
            answer(result.ok, height, result.response)
        self.unanswered = []

    def snapshot(self) -> Path:
        """The state as it is now."""
        header, rows = snapshot_header(self.chain), snapshot_rows(self.chain)
        path = write_snapshot(self.ipc.snapshots, header, rows)
        if self.world.rng.random() < self.weights.retire:
            self.writer.retire(int(list_snapshots(self.ipc.snapshots)[-1].stem))
        return path

    def open(self) -> None:
        """The log goes on behind its last whole block."""
        blocks = self.weights.segment_blocks
        self.writer = LogWriter(self.ipc.log, self.config.chain, segment_blocks=blocks)

    def close_segment(self) -> None:
        """The next block begins a new one."""
        self.world.faults.write_rest()
        self.writer.close()

    def set_back(self, back: int, *, fork: bool) -> None:
        """The state is as it was after block `back`; the same blocks come again, or others."""
        before = self.height
        for height in range(back + 1, before + 1):
            self.written.pop(height, None)
        chain = Chain(self.config)
        for height in range(1, back + 1):
            chain.set_time(self.blocks[height].time_ns)
            chain.step(self._inputs[height])
        self.chain = chain
        self._mempool = Mempool(chain.exchange.markets)
        if fork:
            self.branches.append(dict(self.blocks))
            self._late_ns = 1_000_000
            gone = range(back + 1, before + 1)
        else:
            self._replaying = {h: self._inputs[h] for h in range(back + 1, before + 1)}
            gone = range(0)
        for height in gone:
            del self.blocks[height], self._inputs[height]


CALM_BLOCKS = 8
_BEGINNING_S = 57.0
_BEGINNING = 12  # blocks
_BEGINNINGS: dict[int, tuple[list[Block], bytes]] = {}  # by the chain's activity: what is alike
