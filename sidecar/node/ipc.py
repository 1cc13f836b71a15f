"""The node's IPC directory: where its parts lie, and `chain.json`, which says what chain it is.

ipc/chain.json   ipc/log/*.seg   ipc/snapshots/*.snap   ipc/submit.sock
"""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sidecar.errors import LogCorrupt, SourceMissing
from sidecar.node.block_records import UNDECODABLE
from sidecar.node.regular import open_regular
from sidecar.node.segments import FORMAT
from sidecar.node.unreadable import unreadable


class ChainInfo(msgspec.Struct, frozen=True):
    """`chain.json`: `genesis_ns` is the consensus time of genesis, `block_ms` the intended block
    interval.
    """

    format: str
    chain: str
    genesis_ns: int
    block_ms: int


@dataclass(frozen=True)
class IpcDirectory:
    """The paths inside a node's IPC directory."""

    root: Path

    @property
    def chain_file(self) -> Path:
        return self.root / "chain.json"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def submit_socket(self) -> Path:
        return self.root / "submit.sock"

    def read_chain(self) -> ChainInfo:
        """Raises `SourceMissing` where the node has not started yet, `LogCorrupt` where the file
        can't be.
        """
        try:
            with os.fdopen(open_regular(self.chain_file), "rb") as file:
                info = msgspec.json.decode(file.read(), type=ChainInfo)
        except FileNotFoundError as error:
            raise SourceMissing(
                "no chain.json; start the node, or point `source.path` at its IPC directory",
                path=self.chain_file,
            ) from error
        except OSError as error:
            raise unreadable(self.chain_file, error) from error
        except UNDECODABLE as error:
            raise LogCorrupt(f"not a chain description: {error}", path=self.chain_file) from error
        if info.format != FORMAT:
            what = f"format {info.format!r}; this version reads {FORMAT!r}"
            raise LogCorrupt(what, path=self.chain_file)
        return info

    def create(self, chain: str, genesis_ns: int, block_ms: int) -> ChainInfo:
        """Makes the directories and `chain.json`, or returns what is there already. The node's
        side.
        """
        for directory in (self.log, self.snapshots):
            directory.mkdir(parents=True, exist_ok=True)
        if self.chain_file.exists():
            return self.read_chain()
        info = ChainInfo(FORMAT, chain, genesis_ns, block_ms)
        replace_file(self.chain_file, msgspec.json.encode(info))
        return info


def is_served(path: Path) -> bool:
    """Whether a process listens on a unix socket: only then is a connection not refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(os.fspath(path)) not in (errno.ECONNREFUSED, errno.ENOENT)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, even after a power failure."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes renames and removals in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
