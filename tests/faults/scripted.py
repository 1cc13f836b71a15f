"""Nodes that play a recording, block by block as a test says, and do it wrong where it says so."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from sidecar.node.hyperliquid.reader import STREAMS
from sidecar.node.ipc import IpcDirectory
from sidecar.node.records import frame
from sidecar.node.segments import FORMAT, SegmentHeader, segment_name
from sidecar.node.snapshot import write_snapshot
from tests.faults.recording import START, Recording
from tests.faults.scripted_info import ScriptedInfo

SEGMENT = 100  # blocks of one
DATE, HOUR = "20260424", 3
Write = tuple[str, bytes]  # to which file, what


class ScriptedNode(ABC):
    """What both kinds share: a height, and blocks from a recording."""

    kind: str

    def __init__(self, path: Path, recording: Recording) -> None:
        self.path = path
        self.recording = recording
        self.height = 0  # of the block that was played last
        self._plan: list[Write] | None = None

    def put(self, path: Path, content: bytes) -> None:
        """Appends to a file, now or when the plan is carried out."""
        if self._plan is not None:
            self._plan.append((str(path), content))
            return
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)

    @contextmanager
    def planning(self) -> Iterator[list[Write]]:
        """What is written meanwhile is for a player to write (player.py)."""
        plan = self._plan = list[Write]()
        yield plan
        self._plan = None

    def play(self, count: int = 1) -> int:
        """So many blocks, as they should be; the height."""
        for _ in range(count):
            self.write(self.height + 1)
        return self.height

    def skip(self, count: int) -> None:
        """Leaves blocks out."""
        self.height += count

    @abstractmethod
    def write(self, height: int) -> None:
        """The block of that height, as it should be."""

    @abstractmethod
    def snapshot(self) -> None:
        """There is a snapshot of the last mark to go on from."""

    @abstractmethod
    def flags(self) -> list[str]:
        """By which a sidecar finds it."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is left open."""


class NativeNode(ScriptedNode):
    """Writes the native log."""

    kind = "native"

    def __init__(self, path: Path, recording: Recording) -> None:
        super().__init__(path, recording)
        self.ipc = IpcDirectory(path)
        self.ipc.create(recording.name, recording.genesis_ns, 100)
        self.ipc.log.mkdir(exist_ok=True)
        self.ipc.snapshots.mkdir(exist_ok=True)
        self._begins = 0  # the newest segment
        self.play(START)

    def flags(self) -> list[str]:
        return [f"--source-path={self.path}"]

    def write(self, height: int) -> None:
        self.height = height
        self.append(self.recording.record(height))

    def append(self, content: bytes) -> None:
        """To the segment of the height that it is at, whatever it is."""
        self.put(self.segment(), content)

    def segment(self) -> Path:
        """The newest one; begun where the height has come to the next."""
        begins = self.height - (self.height - 1) % SEGMENT
        if self._begins < begins:
            self._begins = self.height
            header = SegmentHeader(FORMAT, self.recording.name, self.height, self.height - 1)
            self.put(self._newest, frame(msgspec.msgpack.encode(header)))
        return self._newest

    @property
    def _newest(self) -> Path:
        return self.ipc.log / segment_name(self._begins)

    def close(self) -> None:
        """Nothing was."""

    def snapshot(self) -> None:
        write_snapshot(self.ipc.snapshots, *self.recording.rows(self.height))


class FilesNode(ScriptedNode):
    """Writes a Hyperliquid node's files."""

    kind = "hyperliquid"

    def __init__(self, path: Path, recording: Recording) -> None:
        super().__init__(path, recording)
        self.date, self.hour = DATE, HOUR
        self.snapshots = path.with_name(path.name + "-snapshots")
        self.info = ScriptedInfo(recording, lambda: self.height)
        self.play(START)

    def close(self) -> None:
        self.info.close()

    def flags(self) -> list[str]:
        return [
            "--source-kind=hyperliquid", f"--source-path={self.path}",
            f"--source-info-url={self.info.url}", f"--source-snapshot-directory={self.snapshots}",
            "--source-verify-interval-s=0",
        ]  # fmt: skip

    def write(self, height: int, streams: Iterable[str] = STREAMS) -> None:
        self.height = height
        for stream in streams:
            self.append(stream, self.recording.line(stream, height))

    def file(self, stream: str) -> Path:
        path = self.path / stream / "hourly" / self.date / str(self.hour)
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True)
        return path

    def append(self, stream: str, content: bytes) -> None:
        self.put(self.file(stream), content)

    def event(self, stream: str, height: int) -> dict[str, Any]:
        """The row of a block, to be changed."""
        row: dict[str, Any] = msgspec.json.decode(self.recording.line(stream, height))
        return row

    def snapshot(self) -> None:
        """It writes one whenever it is asked."""


NODES: dict[str, type[NativeNode] | type[FilesNode]] = {
    node.kind: node for node in (NativeNode, FilesNode)
}
