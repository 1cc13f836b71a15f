"""What a seed is about. Each switches some troubles off and others up (swarm testing, Groce et al.,
ISSTA 2012): a world in which everything goes wrong all the time finds less than many that are each
wrong in one way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.simulation.network import CALM, Quirks

NODE_TROUBLES = (
    *("pause", "burst", "torn", "die", "hole", "corrupt", "doubled"),
    *("rewind", "fork", "bad_snapshot"),
)
CLIENT_HABITS = (
    *(
        "leave",
        "reset",
        "vanish",
        "stall",
        "crawl",
        "garbage",
        "nonsense",
        "unsubscribe",
        "resubscribe",
    ),
    *("ask", "order", "net", "ping", "half_close", "flood"),
)


@dataclass
class Weights:
    """Of one seed."""

    blocks: int = 40  # about, before the calm
    actions: int = 6  # orders of an average block
    snapshot_blocks: int = 25
    segment_blocks: int = 15
    retire: float = 0.0
    trouble_rate: float = 0.0  # of a block
    troubles: dict[str, float] = field(default_factory=dict)
    clients: int = 3
    habits: dict[str, float] = field(default_factory=dict)
    quirks: Quirks = CALM
    accept_fails: float = 0.0
    open_fails: float = 0.0
    read_fails: float = 0.0
    events_lost: float = 0.0
    slow: float = 0.0
    stalls: float = 0.0  # of all processes, a second
    steps: float = 0.0  # of the wall clock, a second
    crashes: float = 0.0  # of the sidecar, a second
    drains: float = 0.0
    sidecars: int = 1
    checkpoint_blocks: int = 1 << 40  # between checkpoints that are not a sidecar's last
    turn_s: float = 0.0  # of others, at most, between any two deliveries of a block

    def trouble(self, rng: Random) -> str | None:
        """What happens to the node at the next block."""
        if not self.troubles or rng.random() >= self.trouble_rate:
            return None
        return rng.choices(list(self.troubles), list(self.troubles.values()))[0]

    def habit(self, rng: Random) -> str | None:
        """What a client does next, if anything beside reading."""
        if not self.habits:
            return None
        return rng.choices(list(self.habits), list(self.habits.values()))[0]


def draw(seed: int) -> Weights:
    """The weights of a seed."""
    rng = Random(seed * 7_919 + 17)
    calm = rng.random() < 0.1  # nothing goes wrong: what is found then is plain wrong
    some = _some(rng, 0.0 if calm else 0.5)
    quirky = not calm and rng.random() < 0.7
    weights = Weights(
        blocks=rng.choice((15, 30, 30, 60)),
        actions=rng.choice((2, 6, 6, 20)),
        snapshot_blocks=rng.choice((7, 25, 25, 60)),
        segment_blocks=rng.choice((3, 15, 50)),
        retire=rng.choice((0.0, 0.5, 1.0)),
        trouble_rate=0.0 if calm else rng.choice((0.0, 0.05, 0.15, 0.3)),
        troubles={name: rng.random() for name in NODE_TROUBLES if some()},
        clients=rng.choice((1, 3, 3, 5)),
        habits={name: rng.random() for name in CLIENT_HABITS if some()},
        quirks=_quirks(rng) if quirky else CALM,
        accept_fails=rng.choice((0.0, 0.0, 0.2)) * quirky,
        open_fails=rng.choice((0.0, 0.0, 0.1)) * (not calm),
        read_fails=rng.choice((0.0, 0.0, 0.0, 0.01)) * (not calm),
        events_lost=rng.choice((0.0, 0.0, 0.3, 1.0)) * (not calm),
        slow=rng.choice((0.0, 0.001, 0.05)),
        stalls=rng.choice((0.0, 0.0, 0.0, 0.2)) * (not calm),
        steps=rng.choice((0.0, 0.0, 0.0, 0.3)) * (not calm),
        crashes=rng.choice((0.0, 0.0, 0.2)) * (not calm),
        drains=rng.choice((0.0, 0.0, 0.2)) * (not calm),
        sidecars=1 if rng.random() < 0.8 else 2,
    )
    if rng.random() < 0.15:  # blocks go out slowly, to clients that come and go meanwhile
        weights.clients, weights.turn_s = 5, 0.03
        weights.habits["anew"] = 3.0
        if not calm and rng.random() < 0.5:  # connections that nothing waits for are lost, too
            weights.quirks = Quirks(reset=0.01)
    if "ask" in weights.habits:  # it costs little
        weights.habits["ask"] += 2.0
    weights.checkpoint_blocks = rng.choice((5, 20, 1 << 40))
    return weights


def _some(rng: Random, share: float) -> Callable[[], bool]:
    return lambda: rng.random() < share


def _quirks(rng: Random) -> Quirks:
    return Quirks(
        short=rng.choice((0.0, 0.1, 0.9)),
        again=rng.choice((0.0, 0.1, 0.5)),
        reset=rng.choice((0.0, 0.0, 0.001, 0.02)),
        delay_s=rng.choice((0.0, 0.001, 0.05, 0.5)),
        capacity=rng.choice((600, 4_096, 1 << 16, 1 << 18)),
    )
