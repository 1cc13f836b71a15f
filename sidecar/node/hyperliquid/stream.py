"""One stream of a node: rows of contiguous heights, whatever the node did to its files.

A row at or below the last height is a re-emission: a restarted node goes back to its last saved
state, at a multiple of 10,000 blocks, and writes the numbers from there on again. If it died within
a line, what it writes next may be glued to the half line.
"""

from collections.abc import Callable

from sidecar.errors import LogGap
from sidecar.node.hyperliquid.draft import INVALID
from sidecar.node.hyperliquid.files import HourlyFiles
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.rows import Row
from sidecar.node.hyperliquid.seek import peek_height

_ROW_FRONT = b'{"local_time":'  # can't be within a row: its quotes would be escaped


class Stream:
    """The rows above a height, one at a time; errors leave it where it was."""

    def __init__(self, files: HourlyFiles, read_row: Callable[[Line], Row], after: int) -> None:
        self.files = files
        self.height = after  # of the last row taken
        self.row: Row | None = None  # the next one, once `fill()` found it
        self.rows_reemitted = 0
        self.half_lines_glued = 0
        self._read_row = read_row
        self._line: Line | None = None
        self._unread: tuple[Line, str] | None = None  # can't be read, and why
        self._started = False

    def fill(self) -> bool:
        """Whether the row after `height` is there. Raises `LogCorrupt`, `LogGap`."""
        while self.row is None:
            if self._line is None:
                self._line = self.files.next_line(self.height + 1)
            if self._line is None:
                self._check_unread()
                return False
            if not self._skip(peek_height(self._line.text)):
                self._decode(self._line)
        return True

    def take(self) -> None:
        """Goes past the row."""
        assert self.row is not None
        self.height = self.row.height
        self.row = None
        self._line = None
        self._started = True

    def _skip(self, height: int | None) -> bool:
        if height is None or height > self.height:
            return False
        self.rows_reemitted += self._started  # before the first row they are just old
        self._line = self._unread = None
        return True

    def _decode(self, line: Line) -> None:
        try:
            row = self._read_row(line)
        except INVALID as error:
            if not self._drop_glued(line):
                self._unread = self._unread or (line, f"not a row: {error}")
                self._line = None
            return
        if not self._skip(row.height):
            self._check_unread()
            self._check_next(row)
            self.row = row

    def _check_unread(self) -> None:
        if self._unread is not None:
            line, what = self._unread
            raise line.corrupt(what, self.height + 1)

    def _drop_glued(self, line: Line) -> bool:
        start = line.text.rfind(_ROW_FRONT, 1)
        if start < 0:
            return False
        self.half_lines_glued += 1
        self._line = Line(line.text[start:], line.path, line.offset + start)
        return True

    def _check_next(self, row: Row) -> None:
        wanted = self.height + 1
        if row.height == wanted:
            return
        if self._started:
            what = f"block {row.height} follows block {self.height}"
        else:
            what = (
                f"the files start at block {row.height}, and block {wanted} is needed: the "
                "snapshot is older than the files; take a newer one"
            )
        raise LogGap(what, path=row.line.path, offset=row.line.offset, height=wanted)
