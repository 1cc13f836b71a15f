"""One growing file of lines, read without waiting.

    ... complete line \n complete line \n half li
        ▲ offset of a Line               ▲ held  ▲ `offset`: read up to here

Each byte is read once and scanned once for newlines, however often the file grows. It is read into
one buffer that stays: a fresh one for each read costs three times as much as the reading.
"""

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import LogCorrupt, SourceMissing
from sidecar.limits import LINE_BYTES_MAX, READ_BYTES
from sidecar.node.regular import open_regular
from sidecar.node.unreadable import unreadable


class Line(NamedTuple):
    """A complete line without its newline, and where it starts."""

    text: bytes
    path: Path
    offset: int

    def corrupt(self, what: str, height: int | None = None) -> LogCorrupt:
        """An error that names this line."""
        return LogCorrupt(what, path=self.path, offset=self.offset, height=height)


class LineFile:
    """Complete lines of a file from an offset on; `read()` adds to `lines` what is there."""

    def __init__(self, path: Path, fd: int, offset: int = 0) -> None:
        """Owns `fd` from here on. `offset` is where a line starts."""
        self.path = path
        self.offset = offset
        self.lines: deque[Line] = deque()
        self.half_bytes = 0  # of a line whose newline is not there yet
        self._fd = fd
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._half: list[bytes] = []
        self._line_offset = offset

    def close(self) -> None:
        os.close(self._fd)

    def read(self) -> bool:
        """Reads on, at most READ_BYTES. False at the end of the file.

        Raises `LogCorrupt` for a file that shrank and a line over LINE_BYTES_MAX, again and again.
        """
        size = self._fill_buffer()
        if not size:
            self._check_not_shrunk()
            return False
        start, end = 0, self._buffer.find(b"\n", 0, size)
        self._check_length(size if end < 0 else end)
        while end >= 0:
            self._hold(start, end)
            self._complete()
            start, end = end + 1, self._buffer.find(b"\n", end + 1, size)
        self._hold(start, size)
        self.offset += size
        return True

    def replaced(self) -> bool:
        """Whether the path leads to another file now. A deleted file is not replaced yet."""
        try:
            there = self.path.stat()
        except OSError:
            return False
        return not os.path.samestat(there, os.fstat(self._fd))

    def _hold(self, start: int, end: int) -> None:
        if start < end:
            self._half.append(self._view[start:end].tobytes())
            self.half_bytes += end - start

    def _complete(self) -> None:
        if self._half:  # an empty line says nothing
            self.lines.append(Line(b"".join(self._half), self.path, self._line_offset))
        self._line_offset += self.half_bytes + 1
        self._half = []
        self.half_bytes = 0

    def _fill_buffer(self) -> int:
        try:
            return os.preadv(self._fd, [self._buffer], self.offset)
        except OSError as error:
            what = f"can't read: {error.strerror}"
            raise SourceMissing(what, path=self.path, offset=self.offset) from error

    def _check_length(self, added: int) -> None:
        if self.half_bytes + added > LINE_BYTES_MAX:
            what = f"a line of more than {LINE_BYTES_MAX} bytes"
            raise LogCorrupt(what, path=self.path, offset=self._line_offset)

    def _check_not_shrunk(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < self.offset:
            raise LogCorrupt(f"the file shrank to {size} bytes", path=self.path, offset=self.offset)


def open_file(path: Path) -> int | None:
    """A descriptor, or None where there is no such file (any more). Raises `SourceMissing`."""
    try:
        return open_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
