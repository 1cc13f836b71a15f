"""What each sidecar holds of its own feed, change by change, as it is set: what clients are told is
held against that. (Whether it is true is `watch.py`'s to judge.)
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from sidecar.state.health import RESYNCING, Condition, Health
from tests.simulation.beginnings import Incarnation
from tests.simulation.context import sidecar_of_task


@dataclass(frozen=True)
class Change:
    """From then on it held that, of this block or, where it was found out later, of an earlier one:
    that is the condition's own height.
    """

    condition: Condition
    height: int  # of the state
    looks: int  # how often the clocks had been looked at, and what was due been told


class Conditions:
    """Of all sidecars of a world."""

    def __init__(self) -> None:
        self._changes: dict[Incarnation, list[Change]] = defaultdict(list)
        self._looks: dict[Incarnation, int] = defaultdict(int)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While this holds, it is kept."""
        observe = Health.observe

        def look(health: Health, monotonic_ns: int, wall_ns: int) -> None:
            self._looks[sidecar_of_task.get().incarnation] += 1
            observe(health, monotonic_ns, wall_ns)

        def set_feed(health: Any, condition: Condition) -> None:
            vars(health)["feed"] = condition
            sidecar = sidecar_of_task.get().incarnation
            state = vars(health).get("_state")  # not yet, as it begins
            height = condition.height if state is None else state.height
            self._changes[sidecar].append(Change(condition, height, self._looks[sidecar]))

        feed = property(lambda health: vars(health)["feed"], set_feed)
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(Health, "observe", look))
            stack.enter_context(mock.patch.object(Health, "feed", feed, create=True))
            yield

    def of(self, sidecar: Incarnation) -> list[Change]:
        """All of one sidecar's, in their order."""
        return self._changes[sidecar]

    def is_told(self, sidecar: Incarnation, number: int) -> bool:
        """Whether the change of that number held for so long that whoever reads `status` has been
        told: over a whole look.
        """
        changes = self._changes[sidecar]
        last = number + 1 == len(changes)
        until = self._looks[sidecar] if last else changes[number + 1].looks
        return until - changes[number].looks >= 2

    def at_block(self, sidecar: Incarnation, height: int) -> set[str]:
        """What held as that block was told."""
        before = [one.condition.state for one in self.of(sidecar) if one.height < height]
        return set(before[-1:])

    def while_at(self, sidecar: Incarnation, height: int) -> set[str]:
        """What held at any moment from that block to the next."""
        here = {one.condition.state for one in self.of(sidecar) if one.height == height}
        return here | self.at_block(sidecar, height)

    def is_rebuilt(self, sidecar: Incarnation, height: int, reason: str) -> bool:
        """Whether all of it was known to be wrong at that height, for a reason which that has."""
        changes = self.of(sidecar)
        return any(
            one.condition.state == RESYNCING
            and one.condition.reason in reason
            and was_on(changes, number, height)
            for number, one in enumerate(changes)
        )


def was_on(changes: list[Change], number: int, height: int) -> bool:
    """Whether the change of that number held at any moment of a height."""
    behind = changes[number + 1].height if number + 1 < len(changes) else height
    return changes[number].height <= height <= behind
