"""A pipe, a directory or a socket in the place of a file of the node's: named at once, never waited
for.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.errors import SnapshotInvalid, SourceMissing
from sidecar.node.extent import last_height
from sidecar.node.hyperliquid.lines import open_file
from sidecar.node.hyperliquid.seek import first_height
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot
from sidecar.node.ipc import IpcDirectory
from sidecar.node.regular import open_regular
from sidecar.node.row_files import RowFileReader
from sidecar.node.segments import SegmentReader
from sidecar.node.snapshot import SNAPSHOTS

READERS: list[tuple[str, Callable[[Path], object], type[Exception]]] = [
    ("00000000000000000003.seg", SegmentReader, SourceMissing),
    ("00000000000000000003.seg", last_height, SourceMissing),
    ("00000000000000000003.snap", lambda path: RowFileReader(path, SNAPSHOTS), SnapshotInvalid),
    ("chain.json", lambda path: IpcDirectory(path.parent).read_chain(), SourceMissing),
    ("17", open_file, SourceMissing),
    ("17", first_height, SourceMissing),
    ("l4.json", HyperliquidSnapshot, SourceMissing),
]


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return "it is not a file"


def directory(path: Path) -> str:
    path.mkdir()
    return "Is a directory"


def listening(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return "No such device or address"


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("make", [pipe, directory, listening])
@pytest.mark.parametrize(("name", "read", "error"), READERS, ids=lambda one: str(one)[:20])
def test_what_is_no_file_is_named(
    tmp_path: Path,
    name: str,
    read: Callable[[Path], object],
    error: type[Exception],
    make: Callable[[Path], str],
) -> None:
    taken = descriptors()
    reason = make(tmp_path / name)
    with pytest.raises(error, match=rf"can't (be )?read.*: {reason}.*{name}"):
        read(tmp_path / name)
    assert descriptors() <= taken


def test_a_file_is_read_through_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    with os.fdopen(open_regular(tmp_path / "link"), "rb") as file:
        assert file.read() == b"text"
