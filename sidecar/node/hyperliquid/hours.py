"""The hour files of a stream: `hourly/{YYYYMMDD}/{H}`, H unpadded 0 to 23, no extension.

Listing two directories for each look at a quiet file would cost more than the look itself, so names
are kept for as long as the directory's mtime proves them right.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sidecar.node.unreadable import unreadable

_DATE = re.compile("[0-9]{8}")
_HOUR = re.compile("[0-9]{1,2}")
_SETTLED_NS = 1_000_000_000  # far above the resolution of an mtime
_KEPT_NS = 1_000_000_000  # in case an mtime lies (network file systems, clock steps)


class Hour(NamedTuple):
    """An hour file; they sort in order of time."""

    date: str
    hour: int
    path: Path


class Hours:
    """The hour files below a directory `hourly`."""

    def __init__(self, hourly: Path) -> None:
        self.hourly = hourly
        self._dates = _Names(hourly, _DATE)
        self._hours: dict[str, _Names] = {}

    def dates(self, since: str = "") -> list[str]:
        """The dates that have a directory, oldest first."""
        return sorted(date for date in self._dates.read() if date >= since)

    def after(self, last: Hour | None) -> Iterator[Hour]:
        """The files that follow `last` (all for None), oldest first. Raises `SourceMissing`."""
        dates = self.dates("" if last is None else last.date)
        for gone in self._hours.keys() - dates:
            del self._hours[gone]
        for date in dates:
            for hour in self._of(date):
                if last is None or (hour.date, hour.hour) > (last.date, last.hour):
                    yield hour

    def _of(self, date: str) -> list[Hour]:
        directory = self.hourly / date
        names = self._hours.setdefault(date, _Names(directory, _HOUR)).read()
        return sorted(Hour(date, int(name), directory / name) for name in names)


class _Names:
    """The names in a directory that match a pattern."""

    def __init__(self, directory: Path, pattern: re.Pattern[str]) -> None:
        self._directory = directory
        self._pattern = pattern
        self._names: list[str] = []
        self._mtime_ns = -1
        self._read_ns = 0
        self._settled = False

    def read(self) -> list[str]:
        """The names as of now; none where there is no such directory (yet)."""
        try:
            mtime_ns = self._directory.stat().st_mtime_ns
            if not self._holds(mtime_ns):
                self._list(mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable(self._directory, error) from error
        return self._names

    def _holds(self, mtime_ns: int) -> bool:
        fresh = time.monotonic_ns() - self._read_ns < _KEPT_NS
        return self._settled and fresh and mtime_ns == self._mtime_ns

    def _list(self, mtime_ns: int) -> None:
        # What is created in the same tick as the last change does not move the mtime: names may be
        # kept only once that tick is over.
        self._settled = time.time_ns() - mtime_ns > _SETTLED_NS
        self._mtime_ns = mtime_ns
        self._read_ns = time.monotonic_ns()
        names = (path.name for path in self._directory.iterdir())
        self._names = [name for name in names if self._pattern.fullmatch(name)]
