"""Actions that were sent and whose fate is not known: they may still be executed, for a while."""

from collections import OrderedDict

from sidecar.limits import SENT_ACTIONS_KEPT, SUBMIT_LATE_S


class Adrift:
    """What they touch, by the number of the flight. Pure: time is told."""

    def __init__(self) -> None:
        self._until: OrderedDict[int, tuple[float, tuple[bytes, ...]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, number: int, touches: tuple[bytes, ...], now: float) -> None:
        """Nobody knows what becomes of it. O(1)."""
        self._until[number] = (now + SUBMIT_LATE_S, touches)

    def found(self, number: int) -> tuple[bytes, ...] | None:
        """What it touches, once its answer came after all; None where that is no news. O(1)."""
        known = self._until.pop(number, None)
        return None if known is None else known[1]

    def given_up(self, now: float) -> list[tuple[bytes, ...]]:
        """What those touch that nobody waits for any more. O(given up)."""
        found, until = [], self._until
        while until:
            number, (end, touches) = next(iter(until.items()))
            if end > now and len(until) <= SENT_ACTIONS_KEPT:
                break
            del until[number]
            found.append(touches)
        return found
