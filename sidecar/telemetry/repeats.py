"""Keeps one cause from filling the log: of the same event for the same reason a few lines are
shown, then how many more there were. Reasons that differ in numbers only are the same.
"""

import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from structlog import DropEvent

from sidecar.limits import LOG_REPEATS_KEPT, LOG_REPEATS_S, LOG_REPEATS_SHOWN

Event = MutableMapping[str, Any]
_ALIKE = ("level", "room", "event", "reason")  # what makes two lines the same
_VARIES = re.compile(r"(?:0x[0-9a-fA-F]+|[^a-zA-Z])+")


class _Seen:
    __slots__ = ("event", "left_out", "shown", "until")

    def __init__(self, until: float, event: Event) -> None:
        self.until = until
        self.event = event
        self.shown = 0
        self.left_out = 0


class Repeats:
    """A processor of structlog. What was left out is said by the next line of its kind, or by
    `tell`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[Any, ...], _Seen] = {}

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """The event, or `DropEvent`. O(1), but O(kinds) once there are too many kinds."""
        if event.get("level") == "debug" or "repeated" in event:
            return event
        now, key = self._clock(), tuple(map(_said, map(event.get, _ALIKE)))
        seen = self._seen.get(key)
        if seen is None or now >= seen.until:
            if len(self._seen) >= LOG_REPEATS_KEPT:
                self._forget(now)
            left_out = 0 if seen is None else seen.left_out
            seen = self._seen[key] = _Seen(now + LOG_REPEATS_S, event)
            if left_out:
                event["repeated"] = left_out
        seen.shown += 1
        if seen.shown > LOG_REPEATS_SHOWN:
            seen.left_out += 1
            raise DropEvent
        return event

    def tell(self, say: Callable[[Event], None]) -> None:
        """Says what was left out of kinds that have not come again since, with how often."""
        now = self._clock()
        for key, seen in list(self._seen.items()):
            if now >= seen.until:
                del self._seen[key]
                if seen.left_out:
                    say(
                        {name: seen.event.get(name) for name in _ALIKE}
                        | {"repeated": seen.left_out}
                    )

    def clear(self) -> None:
        """Begins anew."""
        self._seen.clear()

    def _forget(self, now: float) -> None:
        """Kinds whose time is up and that owe nothing; if there are none, the older half."""
        over = [key for key, one in self._seen.items() if now >= one.until and not one.left_out]
        for key in over or list(self._seen)[: LOG_REPEATS_KEPT // 2]:
            del self._seen[key]


def _said(value: Any) -> Any:
    """Without heights, offsets, amounts and addresses."""
    return _VARIES.sub(" ", value) if isinstance(value, str) else value
