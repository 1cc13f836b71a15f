"""From where on each sidecar knows the chain, as its own log says: what it may not know of, it may
leave out (docs/api.md).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Incarnation = tuple[int, int]  # which sidecar, and which of its starts
_BEGUN, _REBUILT, _REPAIRED = "state restored", "rebuilt", "repaired"


class Beginnings:
    """Of all sidecars of a world."""

    def __init__(self, log: Iterable[dict[str, Any]]) -> None:
        self._since: dict[Incarnation, list[int]] = defaultdict(list)
        self._ran_again: set[tuple[Incarnation, int]] = set()
        self._rebuilt: set[tuple[Incarnation, int]] = set()
        for line in log:
            self._note(line["sidecar"], line)

    def _note(self, sidecar: Incarnation | None, line: dict[str, Any]) -> None:
        if sidecar is None:
            return
        if line["event"] == _BEGUN:
            self._since[sidecar].append(self._of_start(sidecar, line["origin"], line["height"]))
        elif line["event"] in (_REBUILT, _REPAIRED):
            self._since[sidecar].append(line["snapshot"])
            self._rebuilt.add((sidecar, line["height"]))
        elif line["room"] == "recovery" and "start" in line:  # a run, to its end or not
            self._ran_again.add((sidecar, line["start"]))

    def _of_start(self, sidecar: Incarnation, origin: str, height: int) -> int:
        """A checkpoint keeps all that was known by who wrote it."""
        if origin != "checkpoint":
            return height
        number, start = sidecar
        return max((self.before((number, one), height) for one in range(1, start)), default=0)

    def before(self, sidecar: Incarnation, height: int) -> int:
        """Behind which height it knows all that led to `height`."""
        return max((one for one in self._since[sidecar] if one <= height), default=0)

    def was_rebuilt(self, sidecar: Incarnation, height: int) -> bool:
        """Whether it began anew there, in all or in part: what it has told is told again."""
        return (sidecar, height) in self._rebuilt

    def ran_again_from(self, sidecar: Incarnation, height: int) -> bool:
        """Whether it has made messages again from its state of that very height."""
        return (sidecar, height) in self._ran_again
