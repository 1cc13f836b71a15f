"""Which part of a sidecar a process is."""

import msgspec

from sidecar.telemetry.metrics import Samples


class Role(msgspec.Struct, frozen=True):
    """Worker `number`, from 0, of so many; the only one if it is not told otherwise."""

    number: int = 0
    workers: int = 1
    hands_over: bool = False  # the listening socket is kept by the service manager

    @property
    def is_alone(self) -> bool:
        """Nobody looks after it, and it answers operators itself."""
        return self.workers == 1

    @property
    def is_first(self) -> bool:
        """The one that writes what all read."""
        return self.number == 0


class Report(msgspec.Struct, frozen=True):
    """What a worker says of itself, a few times a second."""

    health: dict[str, object]  # as in `/readyz`
    address: tuple[str, int] | None = None  # where clients can connect, once they can
    samples: Samples = {}
    progress: int = 0  # of its start
