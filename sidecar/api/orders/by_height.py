"""What waits for a block to be applied, in whatever order it came."""

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class ByHeight(Generic[T]):
    """The lowest block first; of one block as it came."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._added = 0  # so far: no two entries are alike

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, height: int, thing: T) -> None:
        """It waits for that block. O(log n)."""
        self._added += 1
        heappush(self._heap, (height, self._added, thing))

    def take(self) -> T:
        """The first one, whose block may be applied or not. O(log n)."""
        return heappop(self._heap)[2]

    def take_up_to(self, height: int) -> list[T]:
        """Those of the blocks up to that height. O(log n) each."""
        heap, taken = self._heap, []
        while heap and heap[0][0] <= height:
            taken.append(heappop(heap)[2])
        return taken
