"""Writes captured files of a Hyperliquid node again as the node did: growing, hour by hour.

    captured data directory or .tar.gz ─▶ plan(): lines in order of local_time ─▶ replay(): files

`plan` knows no clock. `replay` does what it says at the recorded pace, faster, or at once.
"""

import heapq
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple, Self

import anyio
from anyio.lowlevel import checkpoint

from sidecar.errors import LogCorrupt, LogUnwritable, SourceMissing
from sidecar.node.hyperliquid.hours import Hours
from sidecar.node.hyperliquid.reader import STREAMS
from sidecar.node.hyperliquid.texts import NS_PER_S, parse_time

_LOCAL_TIME = re.compile(rb'\s*\{\s*"local_time"\s*:\s*"([^"]{1,40})"')
_MEMBER = re.compile(rf"(?:.*/)?({'|'.join(STREAMS)})/hourly/([0-9]{{8}})/([0-9]{{1,2}})")


class Planned(NamedTuple):
    """A line as the file has it, newline included, and when (`local_time`) and where the node wrote
    it.
    """

    due_ns: int
    stream: str
    date: str
    hour: int
    line: bytes


def plan(source: Path) -> Iterator[Planned]:
    """The lines of the three streams, merged in order of their local_time.

    `source` is a data directory or a tar archive that holds one, unpacked to a temporary directory
    meanwhile. Raises `SourceMissing`, `LogCorrupt`.
    """
    with _unpacked(source) as data_dir:
        yield from heapq.merge(
            *(_lines(data_dir, stream) for stream in STREAMS), key=lambda planned: planned.due_ns
        )


async def replay(
    source: Path,
    target: Path,
    *,
    speed: float,
    cut_bytes: int | None = None,
    append: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Writes the files of `source` below `target` and returns how many lines that were.

    `speed` is in times of the recorded pace, 0 writes without waiting. With `cut_bytes` each file
    is written in pieces of that size, which cut lines anywhere, as a node with output buffering
    does; without it, line by line. `on_progress` is told the number of lines so far. Raises
    `LogUnwritable`, also where `target` has such files already and `append` is not set.
    """
    if speed < 0 or (cut_bytes is not None and cut_bytes < 1):
        raise ValueError("speed is at least 0, cut_bytes at least 1")
    _check_target(source, target, append=append)
    count = 0
    with _Writer(target, cut_bytes) as writer:
        start_s, start_ns = anyio.current_time(), 0
        for planned in plan(source):
            start_ns = start_ns or planned.due_ns  # lines before the first time are due at once
            if speed:
                due_s = start_s + (planned.due_ns - start_ns) / NS_PER_S / speed
                await anyio.sleep_until(due_s)
            else:
                await checkpoint()
            writer.write(planned)
            count += 1
            if on_progress is not None:
                on_progress(count)
    return count


class _Writer:
    """The growing files: one open hour file a stream, what is not written of it yet in a buffer."""

    def __init__(self, target: Path, cut_bytes: int | None) -> None:
        self._target = target
        self._cut_bytes = cut_bytes
        self._files: dict[str, tuple[Path, BinaryIO, bytearray]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with ExitStack() as closing:  # all of them, also where one fails
            for stream in self._files:
                closing.callback(self._close, stream)

    def write(self, planned: Planned) -> None:
        """Writes a line, or keeps it until there are enough bytes. Raises `LogUnwritable`."""
        path = self._target / planned.stream / "hourly" / planned.date / str(planned.hour)
        try:
            file, waiting = self._file(planned.stream, path)
            waiting += planned.line
            size = len(waiting) if self._cut_bytes is None else self._cut_bytes
            while len(waiting) >= size > 0:
                _write_all(file, waiting[:size])
                del waiting[:size]
        except OSError as error:
            raise LogUnwritable(f"can't write: {error.strerror}", path=path) from error

    def _file(self, stream: str, path: Path) -> tuple[BinaryIO, bytearray]:
        if stream in self._files and self._files[stream][0] != path:
            self._close(stream)
        if stream not in self._files:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[stream] = path, path.open("ab", buffering=0), bytearray()
        _, file, waiting = self._files[stream]
        return file, waiting

    def _close(self, stream: str) -> None:
        path, file, waiting = self._files.pop(stream)
        try:
            with file:
                _write_all(file, waiting)
        except OSError as error:
            raise LogUnwritable(f"can't write: {error.strerror}", path=path) from error


def _write_all(file: BinaryIO, content: bytearray) -> None:
    rest = memoryview(content)
    while rest:  # an unbuffered write may be short
        rest = rest[file.write(rest) :]


def _lines(data_dir: Path, stream: str) -> Iterator[Planned]:
    due_ns = 0
    for hour in Hours(data_dir / stream / "hourly").after(None):
        with hour.path.open("rb") as file:
            for line in file:
                # A line cut at its front is due with the one before it; a clock that stepped back
                # does not reorder a file.
                due_ns = max(due_ns, _local_time(line, hour.path))
                yield Planned(due_ns, stream, hour.date, hour.hour, line)


def _local_time(line: bytes, path: Path) -> int:
    match = _LOCAL_TIME.match(line)
    try:
        return 0 if match is None else parse_time(match[1].decode())
    except ValueError as error:
        raise LogCorrupt(f"not a row: {error}", path=path) from error


_DRAIN_BYTES = 1 << 20


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    if source.is_dir():
        _check_source(source, source)
        yield source
        return
    with TemporaryDirectory(prefix="sidecar-replay-") as name:
        directory = Path(name)
        try:
            _unpack(source, directory)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
            raise SourceMissing(
                f"not a data directory or tar archive: {error}", path=source
            ) from error
        _check_source(directory, source)
        yield directory


def _unpack(archive: Path, directory: Path) -> None:
    """Copies the hour files of the three streams. Their paths are built here, never taken over."""
    with tarfile.open(archive) as tar:
        for member in tar:
            match = _MEMBER.fullmatch(member.name)
            content = tar.extractfile(member) if match is not None and member.isreg() else None
            if match is None or content is None:
                continue
            path = directory / match[1] / "hourly" / match[2] / str(int(match[3]))
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
        while tar.fileobj is not None and tar.fileobj.read(_DRAIN_BYTES):
            pass  # the checksum of the compression is behind the last byte


def _check_source(data_dir: Path, source: Path) -> None:
    if not any(_has_files(data_dir, stream) for stream in STREAMS):
        what = f"holds no hour files of {', '.join(STREAMS)}"
        raise SourceMissing(what, path=source)


def _check_target(source: Path, target: Path, *, append: bool) -> None:
    if target.resolve() == source.resolve():
        raise LogUnwritable("the target is the source", path=target)
    for stream in STREAMS:
        if not append and _has_files(target, stream):
            raise LogUnwritable(
                "the target has node files already; take an empty directory",
                path=target / stream,
            )


def _has_files(data_dir: Path, stream: str) -> bool:
    return any(True for _ in Hours(data_dir / stream / "hourly").after(None))
