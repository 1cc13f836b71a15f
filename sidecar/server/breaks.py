"""Up to which heights what was told of a topic may have been wrong: who comes back from there
begins anew, as those did who were there when it was found out.
"""

from collections import deque
from collections.abc import Callable

from sidecar.api.topics import Topic
from sidecar.limits import BREAKS_KEPT

Concerns = Callable[[Topic], bool]


class Breaks:
    """Where parts of a state were rebuilt; for all of it see `ChainState.doubted`."""

    def __init__(self) -> None:
        self._parts = deque[tuple[Concerns, int]]()
        self._older = 0  # the highest of those that are no longer told apart: of all topics

    def note(self, concerns: Concerns, height: int) -> None:
        """What was told of these topics up to a height may be wrong. O(1)."""
        self._parts.append((concerns, height))
        if len(self._parts) > BREAKS_KEPT:
            self._older = self._parts.popleft()[1]

    def height(self, topic: Topic) -> int:
        """Up to which height a client's messages of the topic may be wrong. O(parts kept)."""
        parts = (height for concerns, height in reversed(self._parts) if concerns(topic))
        return next(parts, self._older)
