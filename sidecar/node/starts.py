"""Where a state can start: the snapshots that there are, and the log behind each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.node.follow import Reader
from sidecar.node.transitions import Block


@dataclass(frozen=True)
class Start:
    """A state to start from: the rows of a snapshot or checkpoint (none at height 0) and the reader
    of what follows. `origin` says what the rows are from: "checkpoint", "snapshot" or "log".
    `way`: the last blocks up to that height, oldest first, where the node's output holds them.
    `doubted`: up to which height what was told of the chain may be wrong, or of another way.
    """

    chain: str
    height: int
    time_ns: int
    rows: Iterable[Any]
    reader: Reader
    origin: str = "snapshot"
    way: Sequence[Block] = ()
    doubted: int = 0

    @property
    def whole(self) -> bool:
        """Whether the past is known, too: candles, histories. A snapshot says what is, only."""
        return self.origin != "snapshot"


class Origin(Protocol):
    """A node's output, as far as it reaches back."""

    def starts(self, at_most: int | None = None) -> Iterator[Start]:
        """The states that there are, of heights up to `at_most`, the best first; the beginning of
        the chain is among them where the log reaches back to it. Whoever takes one closes its
        reader. Raises `NodeError` where there is none (left).
        """

    def know(self, markets: Mapping[str, int]) -> None:
        """The ids that symbols have in the state, for a node that tells none."""

    async def refresh(self) -> bool:
        """Asks the node for a newer state to start from; False where it can't be asked. Raises
        `NodeError`.
        """

    def reader(self, after: int) -> Reader:
        """A reader of the blocks above a height, of its own. Raises `NodeError`."""

    def reader_behind(self, way: Sequence[Block]) -> Reader:
        """A reader of the blocks behind some that were read before, oldest first. Raises
        `NodeError`: `LogForked` where the node has another one of such a height.
        """
