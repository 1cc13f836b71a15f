"""Watches a node's files for a moment: do blocks come, and how late?"""

import os
import re
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import NodeError
from sidecar.limits import DOCTOR_LOOK_S, DOCTOR_SIGHTINGS, DOCTOR_WATCH_S, READ_BYTES
from sidecar.node.extent import LogExtent
from sidecar.node.hyperliquid.hours import Hours
from sidecar.node.hyperliquid.lines import LineFile, open_file
from sidecar.node.hyperliquid.reader import STREAMS
from sidecar.node.hyperliquid.texts import parse_time
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log import LogReader

_TIMES = re.compile(rb'\{"local_time":"([^"]{1,40})","block_time":"([^"]{1,40})"')


class Sighting(NamedTuple):
    """A block that came while it was watched; all are ns since the epoch."""

    time_ns: int  # consensus time
    written_ns: int  # by the node's clock
    seen_ns: int  # by ours


def watch_native(ipc: IpcDirectory, chain: str) -> list[Sighting]:
    """The first new block, for as long as it is worth waiting. Raises `NodeError`."""
    head = LogExtent(ipc.log).head
    deadline = time.monotonic() + DOCTOR_WATCH_S
    with closing(LogReader(ipc.log, after=head, chain=chain)) as reader:
        while time.monotonic() < deadline:
            if (block := reader.next_block()) is not None:
                return [Sighting(block.time_ns, block.written_ns, time.time_ns())]
            time.sleep(DOCTOR_LOOK_S)
    return []


def watch_hyperliquid(data: Path) -> dict[str, list[Sighting]]:
    """Some new rows of each stream that there is. Raises `NodeError`."""
    tails = {name: _Tail(data / name) for name in STREAMS if (data / name).is_dir()}
    deadline = time.monotonic() + DOCTOR_WATCH_S
    try:
        while time.monotonic() < deadline:
            for tail in tails.values():
                tail.look()
            if all(len(tail.seen) >= DOCTOR_SIGHTINGS for tail in tails.values()):
                break
            time.sleep(DOCTOR_LOOK_S)
    finally:
        for tail in tails.values():
            tail.close()
    return {name: tail.seen for name, tail in tails.items()}


class _Tail:
    """What is appended to the newest hour file of a stream."""

    def __init__(self, stream: Path) -> None:
        self.seen: list[Sighting] = []
        self._hours = Hours(stream / "hourly")
        self._file: LineFile | None = None
        self._enter(at_end=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def look(self) -> None:
        """Notes the rows that came."""
        if self._file is None or not self._file.read():
            self._enter(at_end=False)
            return
        now = time.time_ns()
        for line in self._file.lines:
            if (found := _TIMES.match(line.text)) is not None:
                local, block = (parse_time(text.decode()) for text in found.groups())
                self.seen.append(Sighting(block, local, now))
        self._file.lines.clear()

    def _enter(self, *, at_end: bool) -> None:
        """The newest file, where that is another one."""
        hours = list(self._hours.after(None))
        if not hours or (self._file is not None and self._file.path == hours[-1].path):
            return
        fd = open_file(hours[-1].path)
        if fd is not None:
            self.close()
            self._file = LineFile(hours[-1].path, fd, _last_line(fd) if at_end else 0)


def _last_line(fd: int) -> int:
    """Where the line starts that is not complete yet: a size that no line end is near stands."""
    size = os.fstat(fd).st_size
    offset = max(size - READ_BYTES, 0)
    end = os.pread(fd, size - offset, offset).rfind(b"\n")
    return size if end < 0 and offset else offset + end + 1


def newest_file(stream: Path) -> Path | None:
    """The newest hour file of a stream; None where there is none that can be seen."""
    try:
        hours = list(Hours(stream / "hourly").after(None))
    except NodeError:
        return None
    return hours[-1].path if hours else None
