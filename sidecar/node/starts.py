"""Where a state can start: the snapshots that there are, and the log behind each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sidecar.node.follow import Reader
from sidecar.node.snapshot import Row


@dataclass(frozen=True)
class Start:
    """The state to start from: the rows of a snapshot (none at height 0) and the reader of what
    follows.
    """

    chain: str
    height: int
    time_ns: int
    rows: Iterable[Row]
    reader: Reader
    whole: bool = False  # the rows hold the past, too: candles, histories


class Origin(Protocol):
    """A node's output, as far as it reaches back."""

    def starts(self, at_most: int | None = None) -> Iterator[Start]:
        """The states that there are, newest first, of heights up to `at_most`; the beginning of the
        chain is among them where the log reaches back to it. Whoever takes one closes its reader.
        """

    def reader(self, after: int) -> Reader:
        """A reader of the blocks above a height, of its own. Raises `NodeError`."""
