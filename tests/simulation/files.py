"""The files of a simulated world: real ones, of a memory file system, with faults in the calls in
front of them, and inotify that may say nothing.
"""

import errno
import os
import selectors
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from sidecar.node import extent, follow, log_writer, regular, segments
from tests.simulation.context import sidecar_of_task
from tests.simulation.network import Network


class Faults:
    """How likely a call on a log's files fails; the writer is cut where it is told to."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.open_fails = 0.0
        self.read_fails = 0.0
        self.events_lost = 0.0
        self.cut: int | None = None  # so many bytes of the next write arrive now
        self.rest: tuple[int, bytes] | None = None  # what is left of it: its descriptor, its bytes
        self.watches: list[SimulatedInotify] = []

    def touched(self, directory: Path) -> None:
        """The node has written there."""
        for watch in self.watches:
            watch.touched(directory)

    def write_rest(self) -> None:
        """What was cut off arrives."""
        if self.rest is not None:
            (fd, data), self.rest = self.rest, None
            os.write(fd, data)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While this holds, the product's calls go through here."""
        with ExitStack() as stack:
            for module in (segments, extent, regular):
                stack.enter_context(mock.patch.object(module, "os", _ReaderOs(self)))
            stack.enter_context(mock.patch.object(log_writer, "os", _WriterOs(self)))
            inotify = lambda nonblocking: SimulatedInotify(self)  # noqa: E731
            stack.enter_context(mock.patch.object(follow, "INotify", inotify))
            yield


class _ReaderOs:
    """`os` for who reads logs."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int) -> int:
        if self._fails(self._faults.open_fails):
            raise OSError(errno.EMFILE, "too many open files", str(path))
        return os.open(path, flags)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if self._fails(self._faults.read_fails):
            raise OSError(errno.EIO, "input/output error")
        return os.pread(fd, size, offset)

    def _fails(self, likelihood: float) -> bool:
        """In sidecars only: the node has troubles of its own."""
        return sidecar_of_task.get() is not None and self._faults.network.happens(likelihood)


class _WriterOs:
    """`os` for the node: a write may be seen in two pieces."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, fd: int, data: bytes) -> int:
        cut = self._faults.cut
        if cut is None or len(data) <= _HEADER_BYTES_MAX:
            return os.write(fd, data)
        self._faults.cut = None
        cut = cut % (len(data) - 1) + 1
        os.write(fd, data[:cut])
        self._faults.rest = fd, data[cut:]
        return len(data)


_HEADER_BYTES_MAX = 64  # of a segment: blocks are cut, not those


class _Event(NamedTuple):
    wd: int
    mask: int


class SimulatedInotify:
    """An inotify instance whose events may be lost."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._watched: dict[Path, int] = {}
        self._waiting: list[_Event] = []
        self.fd = faults.network.register(self)
        faults.watches.append(self)

    def fileno(self) -> int:
        return self.fd

    def add_watch(self, path: Path, mask: int) -> int:
        return self._watched.setdefault(Path(path), len(self._watched) + 1)

    def touched(self, directory: Path) -> None:
        wd = self._watched.get(directory)
        if wd is not None and not self._faults.network.happens(self._faults.events_lost):
            self._waiting.append(_Event(wd, 0))
            self._faults.network.changed()

    def read(self, timeout: int | None = None) -> list[_Event]:
        found, self._waiting = self._waiting, []
        return found

    def ready(self) -> int:
        return selectors.EVENT_READ if self._waiting else 0

    def close(self) -> None:
        self._faults.network.unregister(self.fd)
        self._faults.watches.remove(self)
