"""One seed from beginning to end: a world, the node, sidecars, clients; troubles; then calm, in
which all has to be well again within bounds; then the judgement.
"""

import gc
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, chdir, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import anyio
import structlog

from tests.simulation import answers, candour, checks, ways
from tests.simulation.beginnings import Beginnings
from tests.simulation.client import Client, Reading
from tests.simulation.context import sidecar_of_task
from tests.simulation.habits import behave
from tests.simulation.node import SimulatedNode
from tests.simulation.oracle import Oracle
from tests.simulation.sidecar_process import Process, simulated_sockets
from tests.simulation.troubles import trouble
from tests.simulation.watch import Watch
from tests.simulation.weights import Weights, draw
from tests.simulation.world import World

_MEMORY = Path("/dev/shm")
SETTLED_WITHIN_S = 40.0  # after the last trouble: the feed's longest pause is 15 s
GONE_WITHIN_S = (
    15.0  # who left without a word: 2 s ping, 2 s pong, 5 s close, a second of a look each
)
DRAINED_WITHIN_S = 12.0


@dataclass
class Verdict:
    """What came of a seed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    digest: str = ""  # of everything that clients were told, and when
    messages: int = 0
    blocks: int = 0
    seconds: float = 0.0  # virtual
    troubles: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)


Planted = Callable[[], AbstractContextManager[None]]


def tell(seed: int, weights: Weights | None = None, planted: Planted = nullcontext) -> Verdict:
    """Plays a seed, the same way every time. `planted`: a bug that the product has meanwhile.
    O(blocks · clients).
    """
    weights = weights or draw(seed)
    world = World(seed, slow=weights.slow, turn_s=weights.turn_s)
    memory = _MEMORY if _MEMORY.is_dir() else None
    # Paths are told to clients, so they are the same every time: relative ones.
    with tempfile.TemporaryDirectory(prefix="sim-", dir=memory) as directory, chdir(directory):
        try:
            with _installed(world):
                return world.loop.run_until_complete(_Story(world, weights, planted).run())
        except Exception as error:
            error.add_note(f"again: python tests/simulation/run.py {seed}")
            raise
        finally:
            world.loop.close()
            _forget(seed)


def _installed(world: World) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(world.clock.installed())
    stack.enter_context(world.faults.installed())
    stack.enter_context(world.conditions.installed())
    stack.enter_context(simulated_sockets(world))
    masks = Random(world.seed + 2)
    stack.enter_context(mock.patch.object(secrets, "token_bytes", masks.randbytes))
    stack.enter_context(mock.patch.object(os, "urandom", masks.randbytes))
    before = structlog.get_config()
    stack.callback(lambda: structlog.configure(**before))

    def keep(_logger: Any, method: str, event: Any) -> Any:
        process = sidecar_of_task.get()
        sidecar = None if process is None else process.incarnation
        world.log.append({"level": method, "sidecar": sidecar, **event})
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    return stack


class _Story:
    def __init__(self, world: World, weights: Weights, planted: Planted) -> None:
        self.world = world
        self.weights = weights
        self.verdict = Verdict(world.seed)
        self.node = SimulatedNode(world, Path("ipc"), weights, trouble)
        self.processes = [
            Process(world, number, Path("ipc"), Path("own"), weights)
            for number in range(weights.sidecars)
        ]
        self.clients = [
            Client(world, number, weights, Random(world.seed * 31 + number), behave)
            for number in range(weights.clients)
        ]
        self.watch = Watch(world, self.node, self.processes, self.clients)
        self.bugs: list[str] = []
        self._settled = False
        self._planted = planted
        self._bug = ExitStack()

    async def run(self) -> Verdict:
        world, verdict = self.world, self.verdict
        world.loop.set_exception_handler(lambda _, context: self.bugs.append(str(context)))
        began = world.clock.now
        self.node.begin()
        with self._bug:
            self._bug.enter_context(self._planted())
            await self._live()
        self._judge_logs()
        verdict.violations += self.watch.violations[:5]
        verdict.seconds = world.clock.now - began
        verdict.blocks = self.node.height
        verdict.troubles = self.node.troubles
        verdict.digest = self._digest()
        return verdict

    async def _live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch.run)
            async with anyio.create_task_group() as sidecars:
                for process in self.processes:
                    sidecars.start_soon(process.run)
                async with anyio.create_task_group() as around:
                    for client in self.clients:
                        around.start_soon(client.run, self.processes)
                    await self._troubles()
                    await self._calm()
                    self._judge_streams()
                    around.cancel_scope.cancel()
                await self._all_gone()
                await self._drained()
                sidecars.cancel_scope.cancel()
            tasks.cancel_scope.cancel()

    async def _troubles(self) -> None:
        world, weights = self.world, self.weights
        network, faults = world.network, world.faults
        network.accept_fails = weights.accept_fails
        faults.open_fails, faults.read_fails = weights.open_fails, weights.read_fails
        faults.events_lost = weights.events_lost
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.node.run)
            tasks.start_soon(self._outside)
            while self.node.height < weights.blocks:
                await anyio.sleep(0.05)
            world.ending = True
        network.calm = True
        network.accept_fails = faults.open_fails = faults.read_fails = 0.0

    async def _outside(self) -> None:
        """What happens to the machine and to the processes on it."""
        world, weights, rng = self.world, self.weights, self.world.rng
        while not world.ending:
            await anyio.sleep(0.25)
            if rng.random() < weights.stalls / 4:
                world.stall(rng.random() * 4)
                self.watch.disturbed()
            if rng.random() < weights.steps / 4:
                world.step_clock(rng.uniform(-20, 20))
                self.watch.disturbed()
            process = rng.choice(self.processes)
            if rng.random() < weights.crashes / 4:
                process.kill()
            elif process.ready and rng.random() < weights.drains / 4:
                await process.drain()

    async def _calm(self) -> None:
        """No more troubles: within a bound everything is live, at the head, and read by all."""
        world = self.world
        world.clock.wall_offset_ns = world.clock.true_ns() - world.clock.now_ns
        until = world.clock.now + SETTLED_WITHIN_S
        await self.node.calm_down(lambda: self._is_settled() or world.clock.now > until)
        if not self._settled:
            self._say(4, f"not well {SETTLED_WITHIN_S:.0f} s after the last trouble: {self._how()}")

    def _is_settled(self) -> bool:
        self._settled = self._settled or self._is_all_well()
        return self._settled

    def _is_all_well(self) -> bool:
        return all(self.watch.is_well(one) for one in self.processes) and all(
            client.connection is not None and client.connection.is_up for client in self.clients
        )

    def _how(self) -> str:
        states = [self.watch.describe(process) for process in self.processes]
        waiting = [
            (one.number, None if one.connection is None else one.connection.describe())
            for one in self.clients
            if one.connection is None or not one.connection.is_up
        ]
        return f"{states}, the node at {self.node.height}, clients that wait: {waiting}"

    def _judge_streams(self) -> None:
        self._bug.close()  # who judges does not have it
        readings = [reading for client in self.clients for reading in client.readings]
        oracle, keys = Oracle(), sorted({reading.key for reading in readings})
        wanted, asked = checks.wanted(readings), answers.asked(self.clients)
        for blocks in (*self.node.branches, self.node.blocks):
            oracle.follow(blocks, keys, wanted, asked)
        self.verdict.messages = sum(len(reading.texts) for reading in readings)
        beginnings = Beginnings(self.world.log)
        self._say(3, *oracle.against(self.node.chain))
        self.verdict.violations += checks.streams(readings, oracle, beginnings)[:8]
        self._say(3, *ways.mixed((one.readings for one in self.clients), oracle)[:5])
        self._say(2, *checks.ends(self.clients, oracle, self.node.height)[:5])
        self._say(1, *checks.orders(self.clients, self.node)[:5])
        self._say(2, *[f"client {c.number}: {w}" for c in self.clients for w in c.broken[:3]])
        self._say(1, *self.watch.witness_closes())
        self._say(3, *answers.answers(self.clients, oracle, self.world.conditions)[:5])
        self._judge_candour(readings)
        self._bug.enter_context(self._planted())

    def _judge_candour(self, readings: list[Reading]) -> None:
        conditions = self.world.conditions
        wrong = candour.marks(readings, conditions)
        self._say(5, *wrong[:5])
        self._say(5, *candour.statuses(readings, self.clients, conditions)[:5])

    async def _all_gone(self) -> None:
        """Nobody is left behind by clients that have gone, however they went."""
        until = self.world.clock.now + GONE_WITHIN_S
        while self.world.clock.now < until:
            if not any(map(self.watch.leftovers, self.processes)):
                return
            await anyio.sleep(0.25)
        self._say(4, *[left for one in self.processes for left in self.watch.leftovers(one)])

    async def _drained(self) -> None:
        for process in self.processes:
            starts = process.starts
            await process.drain()
            until = self.world.clock.now + DRAINED_WITHIN_S
            while process.app is not None and process.starts == starts:
                if self.world.clock.now > until:
                    self._say(4, "it does not end though it was told to")
                    return
                await anyio.sleep(0.05)

    def _judge_logs(self) -> None:
        """Promises 1 and 5: no bug was logged, and processes ended for good reasons only."""
        for event in self.world.log:
            if str(event.get("event", "")).startswith(("bug", "task died")):
                self._say(1, f"{event['event']}: {event.get('reason', event.get('exc_info'))!r}")
        for process in self.processes:
            self._say(5, *[f"it ended with {type(one).__name__}: {one}" for one in process.bugs])
            self.verdict.ends += process.ends
        self._say(1, *self.bugs[:3])

    def _say(self, promise: int, *whats: str) -> None:
        self.verdict.violations += [f"promise {promise}: {what}" for what in whats]

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for client in self.clients:
            for reading in client.readings:
                digest.update(f"{reading.key}@{reading.since}:".encode())
                for text in reading.texts:
                    digest.update(text)
            digest.update(repr(client.closes).encode())
        digest.update(repr(self.world.clock.now_ns).encode())
        return digest.hexdigest()[:16]


def _forget(seed: int) -> None:
    """The product freezes what lives at a start, which is the whole world here, and it is over."""
    gc.unfreeze()
    if seed % 10 == 0:
        gc.collect()
