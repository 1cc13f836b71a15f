"""Which heights a native log holds, found without reading its blocks."""

import os
from pathlib import Path

from sidecar.limits import RECORD_BYTES_MAX
from sidecar.node.block_records import PEEK_BYTES, peek_height
from sidecar.node.records import HEAD_BYTES, unpack_head
from sidecar.node.regular import open_regular
from sidecar.node.segments import first_height, list_segments
from sidecar.node.unreadable import unreadable


class LogExtent:
    """The heights of a log directory as it is now; a node may append while this is looked at.

    `first` is None for a log without a segment, `head` the last block that is whole on disk.
    """

    def __init__(self, directory: Path) -> None:
        """O(segments + records of the newest). Raises `SourceMissing`, `LogCorrupt` (a name)."""
        self._segments = list_segments(directory)
        self._firsts = [first_height(segment) for segment in self._segments]
        self.first = self._firsts[0] if self._firsts else None
        self.head = last_height(self._segments[-1]) if self._segments else 0

    def why_not_after(self, height: int) -> str | None:
        """Why a state of that height can't go on from this log; None where it can, because the
        block after it and all that follow are there, or it is the next to come. Raises
        `SourceMissing`.

        O(records of the segments behind `height`); their payloads are not read.
        """
        if self.first is None:
            return None
        if height + 1 < self.first:
            return f"the log starts at height {self.first}; height {height + 1} is needed"
        if height > self.head:
            return f"the log ends at height {self.head}, below it: it was cut or replaced"
        return self._gap_after(height)

    def _gap_after(self, height: int) -> str | None:
        firsts = self._firsts
        holding = max(i for i, first in enumerate(firsts) if first <= height + 1)
        for index in range(holding, len(firsts) - 1):
            last, following = last_height(self._segments[index]), firsts[index + 1]
            if last + 1 != following:
                return f"the log has no blocks {last + 1} to {following - 1}"
        return None


def last_height(segment: Path) -> int:
    """The height of a segment's last whole block, by the fronts of its records alone. One that is
    torn or has an impossible length is the end.

    Raises `SourceMissing`, `LogCorrupt` (a name).
    """
    try:
        fd = open_regular(segment)
    except OSError as error:
        raise unreadable(segment, error) from error
    try:
        size, offset, last = os.fstat(fd).st_size, 0, first_height(segment) - 1
        while len(front := os.pread(fd, HEAD_BYTES + PEEK_BYTES, offset)) >= HEAD_BYTES:
            length, _ = unpack_head(front[:HEAD_BYTES])
            offset += HEAD_BYTES + length
            if not 0 < length <= RECORD_BYTES_MAX or offset > size:
                break
            height = peek_height(front[HEAD_BYTES : HEAD_BYTES + length])
            last = last if height is None else height  # the header tells none
    except OSError as error:  # a bad disk, a network that is gone
        raise unreadable(segment, error) from error
    finally:
        os.close(fd)
    return last
