"""Which way a chain went, as its last blocks tell: a node that is set back may go another one."""

from collections import deque
from collections.abc import Iterable, Iterator

from sidecar.limits import TELLING_BLOCKS
from sidecar.node.transitions import Block


class Way:
    """The last block that was read, and before it the newest that changed anything: the others are
    the same on every way, but for their times.
    """

    __slots__ = ("_telling", "last")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        """`blocks`: oldest first."""
        self.last: Block | None = None
        self._telling = deque[Block](maxlen=TELLING_BLOCKS)
        for block in blocks:
            self.add(block)

    def __bool__(self) -> bool:
        return self.last is not None

    def __iter__(self) -> Iterator[Block]:
        """Oldest first."""
        yield from (block for block in self._telling if block is not self.last)
        if self.last is not None:
            yield self.last

    def add(self, block: Block) -> None:
        """The next one. O(1)."""
        self.last = block
        if block.transitions:
            self._telling.append(block)
