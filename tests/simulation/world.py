"""What one seed makes: a clock, events, a network, files with faults; and what was seen in it."""

from random import Random
from typing import Any

from sidecar.devnet.chain import GENESIS_NS
from tests.simulation.clock import Clock
from tests.simulation.conditions import Conditions
from tests.simulation.events import Events
from tests.simulation.files import Faults
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network


class World:
    """Everything in it is drawn from `rng`, in an order that only the seed decides."""

    def __init__(self, seed: int, *, slow: float = 0.0, turn_s: float = 0.0) -> None:
        self.seed = seed
        self.turn_s = turn_s
        self.rng = Random(seed)
        self.clock = Clock(Random(seed + 1), GENESIS_NS, slow=slow)
        self.events = Events(self.clock)
        self.network = Network(self.clock, self.events, self.rng)
        self.faults = Faults(self.network)
        self.loop = SimulatedLoop(self.clock, self.events, self.network)
        self.conditions = Conditions()
        self.ending = False  # the troubles are over
        self.log: list[dict[str, Any]] = []  # the product's log lines

    def stall(self, seconds: float) -> None:
        """Everything stands still for so long, as under SIGSTOP."""
        self.clock.advance(seconds)

    def step_clock(self, seconds: float) -> None:
        """The wall clock jumps."""
        self.clock.wall_offset_ns += round(seconds * 1e9)
