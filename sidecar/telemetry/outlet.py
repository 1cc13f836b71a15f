"""A way out for lines: a descriptor that may be a full disk, a pipe that nobody reads, or gone. To
write there never raises and never waits (but at the end of a process, a moment): what finds no room
at once is lost, and counted.

    line ─▶ room at once? ─▶ write ─▶ all of it is out
               └ no: lost      └ an error, or a part only: lost; the next one begins a line of its
                                 own
"""

import errno
import io
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from sidecar.limits import LAST_WORDS_S

_PIPE_BUF = 4096  # there is room for as much where `poll` says that there is some
_OWN = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Outlet(io.TextIOBase):
    """Text to a descriptor, a line at a time. `lost` counts lines, `why` is the last one's reason.
    `patience_s` is how long room is waited for in all by one write: at the end of a process, where
    nothing else waits.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int) -> None:
        """The descriptor stays the caller's; its flags, too, which other processes share. Before
        `open` it is written to as it is.
        """
        self.lost = 0
        self.why = ""
        self.failing = False
        self.patience_s = 0.0
        self._fd = self._out = fd
        self._untold = 0  # of those that are lost
        self._torn = False
        self._sending = False
        self._begun = ""  # a line that is not complete yet
        self._at_once = _PIPE_BUF
        self._lock = threading.RLock()  # a finalizer may complain at any moment
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def open(self) -> Self:
        """Looks at what it is. A pipe or terminal is opened once more, not to block there even if
        somebody else takes the room; where that can't be, asking for room is all there is.
        """
        with suppress(OSError):
            mode = os.fstat(self._fd).st_mode
            if stat.S_ISREG(mode):
                self._at_once = sys.maxsize  # has no reader to wait for
            elif stat.S_ISFIFO(mode) or os.isatty(self._fd):
                self._out = os.open(f"/proc/self/fd/{self._fd}", _OWN)
                self._poll = select.poll()
                self._poll.register(self._out, select.POLLOUT)
        return self

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Lines leave when they are complete. O(length), about 2 us more than a bare write."""
        with self._lock:
            complete, newline, rest = (self._begun + text).rpartition("\n")
            self._begun = rest
            if newline:
                self._send(complete + newline)
        return len(text)

    def flush(self) -> None:
        """What is not a line yet leaves, too."""
        with self._lock:
            text, self._begun = self._begun, ""
            if text:
                self._send(text)

    def close(self) -> None:
        """Nothing of the caller's."""
        self.flush()
        if self._out != self._fd:
            with suppress(OSError):
                os.close(self._out)
        self._out = self._fd

    def tell_lost(self, say: Callable[[int, str], object]) -> None:
        """Has `say` tell how many lines were lost since the last time and why, once lines are
        written again; it returns something true where that has become a line.
        """
        if self.failing or not self._untold:
            return
        with self._lock:
            lost, self._untold = self._untold, 0
        if not say(lost, self.why) or self.failing:
            self._untold += lost

    def forked(self) -> None:
        """In a child, which closes what is its parent's: nothing is held, nothing but the
        descriptor itself is written to.
        """
        self._lock = threading.RLock()
        self._sending = False
        self._out = self._fd
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def _send(self, text: str) -> None:
        if self._sending:  # a signal's or a finalizer's, while this very thread waits for room
            self._lose(text, "in the middle of another line")
            return
        self._sending = True
        data = memoryview((f"\n{text}" if self._torn else text).encode("utf-8", self.errors))
        sent, until = 0, time.monotonic() + self.patience_s
        try:
            while sent < len(data):
                if not self._poll.poll(max(until - time.monotonic(), 0) * 1000):
                    self.patience_s = 0.0  # it was in vain
                    raise BlockingIOError(errno.EAGAIN, "nobody reads it")
                sent += os.write(self._out, data[sent : sent + self._at_once])
        except OSError as error:
            self._lose(text, error.strerror or str(error))
            self.failing = True
            self._torn = self._torn or sent > 0
        else:
            self.failing = self._torn = False
        finally:
            self._sending = False

    def _lose(self, text: str, why: str) -> None:
        lines = text.count("\n") or 1
        self.lost += lines
        self._untold += lines
        self.why = why


STDERR = Outlet(2)


def stand_in_for_stderr() -> None:
    """Whatever this process prints to stderr from now on goes through `STDERR`: logs, tracebacks,
    last words, complaints of libraries. Where a standard descriptor is closed, the next file that
    is opened would get its number, and what is printed: nothing is there instead.
    """
    if sys.stderr is not sys.__stderr__:
        return  # a test looks at it
    with suppress(OSError):
        while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
            os.set_inheritable(fd, True)
        os.close(fd)
    STDERR.open().patience_s = LAST_WORDS_S
    os.register_at_fork(after_in_child=STDERR.forked)
    sys.stderr = STDERR
