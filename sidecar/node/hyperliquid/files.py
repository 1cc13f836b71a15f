"""The tail of one stream of a Hyperliquid node: its hour files as one sequence of lines.

    17: ... row row row            the node's clock passes 18:00; the tail of 17 may still be on its
    18:                 row row    way to the disk, or cut for ever if the node died

The next file is entered once the old one is drained and the next one's first row is the wanted
one or one before it (a restarted node writes old heights again). If it is a later one, rows are
still to come: the old file gets a quiet period before it is given up, a half line at its end with
it.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from sidecar.errors import SourceMissing
from sidecar.limits import HALF_LINE_QUIET_S
from sidecar.node.hyperliquid.hours import Hour, Hours
from sidecar.node.hyperliquid.lines import Line, LineFile, open_file
from sidecar.node.hyperliquid.seek import find_height, first_height

_NS_PER_S = 1_000_000_000


class HourlyFiles:
    """The lines of one stream directory, `<data>/node_X_by_block`, without waiting."""

    def __init__(
        self,
        directory: Path,
        *,
        quiet_s: float = HALF_LINE_QUIET_S,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.directory = directory
        self.half_lines_dropped = 0
        self._hours = Hours(directory / "hourly")
        self._hour: Hour | None = None
        self._file: LineFile | None = None
        self._quiet_ns = int(quiet_s * _NS_PER_S)
        self._quiet_since: int | None = None
        self._clock = clock

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def position(self) -> tuple[Path, int] | None:
        """The file being read and the offset in it."""
        return None if self._file is None else (self._file.path, self._file.offset)

    def directories(self) -> list[Path]:
        """The directories to watch, whether or not they exist yet."""
        hourly = self._hours.hourly
        dates = self._hours.dates("" if self._hour is None else self._hour.date)
        return [self.directory, hourly, *(hourly / date for date in dates)]

    def is_missing(self) -> bool:
        """Whether the node has written no row of this stream so far."""
        return self._file is None

    def next_line(self, wanted: int) -> Line | None:
        """The next line, or None while the node has not written it.

        `wanted` is the lowest height not read yet. It decides where reading starts and when an hour
        file is done with; lines of other heights may come. Raises `LogCorrupt`, `SourceMissing`.
        """
        while True:
            if self._file is None:
                if not self._open_first(wanted):
                    return None
            elif self._file.lines:
                return self._file.lines.popleft()
            elif not self._read() and not self._move_on(self._file, wanted):
                return None

    def _read(self) -> bool:
        grown = self._file is not None and self._file.read()
        if grown:
            self._quiet_since = None
        return grown

    def _open_first(self, wanted: int) -> bool:
        """Opens the newest file that starts at or below the wanted height, else the oldest one.

        That file holds the height, or it comes after it: the next one starts above.
        """
        chosen: Hour | None = None
        for hour in reversed(list(self._hours.after(None))):
            first = first_height(hour.path)
            if first is not None:
                chosen = hour
                if first <= wanted:
                    break
        return chosen is not None and self._enter(chosen, wanted)

    def _move_on(self, file: LineFile, wanted: int) -> bool:
        """Leaves a drained file for what replaced it or for the next hour's. True: look again."""
        assert self._hour is not None
        if file.replaced():
            # What was appended before the replacement is still readable behind the old name.
            return self._read() or self._enter(self._hour, wanted)
        following = self._following(self._hour)
        if following is None:
            return False
        if self._read():
            return True  # written between the last read and the look at the directory
        hour, first = following
        if first > wanted and not self._was_quiet():
            return False
        return self._enter(hour, wanted)

    def _following(self, last: Hour) -> tuple[Hour, int] | None:
        for hour in self._hours.after(last):
            first = first_height(hour.path)
            if first is not None:
                return hour, first
        return None

    def _was_quiet(self) -> bool:
        now = self._clock()
        if self._quiet_since is None:
            self._quiet_since = now
        return now - self._quiet_since >= self._quiet_ns

    def _enter(self, hour: Hour, wanted: int) -> bool:
        fd = open_file(hour.path)
        if fd is None:
            return False  # deleted a moment ago
        try:
            entered = LineFile(hour.path, fd, find_height(fd, wanted))
        except OSError as error:
            os.close(fd)
            raise SourceMissing(f"can't be read: {error.strerror}", path=hour.path) from error
        if self._file is not None:
            self.half_lines_dropped += self._file.half_bytes > 0
            self._file.close()
        self._hour = hour
        self._file = entered
        self._quiet_since = None
        return True
