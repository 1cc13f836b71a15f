"""What the kernel says of this machine: /proc, /sys and /run below a root, and system calls.

The root is `/`, the place where a container has its host's files, or a test's directory.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_UNSYNCHRONISED = 5  # adjtimex(2): TIME_ERROR
_ESCAPE = re.compile(r"\\([0-7]{3})")
_LISTENING = "0A"


class Mount(NamedTuple):
    """Where a file system is mounted, and of what kind it is."""

    point: str
    kind: str


class Machine:
    """Read when asked; what can't be read is None or empty."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        """The content of a file, stripped."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds one number; None also where it holds something else (`max`)."""
        text = self.text(path)
        return int(text) if text is not None and text.lstrip("-").isdigit() else None

    def field_kb(self, path: str, name: str) -> int | None:
        """Of lines such as `MemAvailable:  24 kB`, the bytes."""
        found = re.search(rf"^{name}:\s+(\d+) kB$", self.text(path) or "", re.MULTILINE)
        return None if found is None else int(found[1]) << 10

    def mount_of(self, path: Path) -> Mount | None:
        """The mount that holds a path: of those above it the deepest, the last of equals."""
        best: Mount | None = None
        for line in (self.text("proc/self/mountinfo") or "").splitlines():
            before, _, after = line.partition(" - ")
            point = _ESCAPE.sub(lambda one: chr(int(one[1], 8)), before.split()[4])
            above = path.is_relative_to(point)
            if above and (best is None or len(point) >= len(best.point)):
                best = Mount(point, after.split()[0])
        return best

    def processes(self) -> Iterator[tuple[int, Path]]:
        """Process ids and their directories."""
        with suppress(OSError):
            for path in (self.root / "proc").iterdir():
                if path.name.isdigit():
                    yield int(path.name), path

    def command(self, pid: int) -> list[str]:
        """A process's command line."""
        return (self.text(f"proc/{pid}/cmdline") or "").rstrip("\0").split("\0")

    def listener(self, port: int) -> str:
        """Who listens on a TCP port, as far as this user may know."""
        inodes = set(self._listening_inodes(port))
        for pid, path in self.processes():
            if any(link in inodes for link in links_of(path)):
                return f"process {pid}: {' '.join(self.command(pid))[:120]}"
        return "a process of another user, or of another namespace" if inodes else "unknown"

    def _listening_inodes(self, port: int) -> Iterator[str]:
        for table in ("proc/net/tcp", "proc/net/tcp6"):
            for line in (self.text(table) or "").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"

    def clock_synchronised(self) -> bool:
        """By systemd-timesyncd's mark, else by what the kernel was told."""
        if (self.root / "run/systemd/timesync/synchronized").exists():
            return True
        buffer = (ctypes.c_long * 64)()  # struct timex, of which nothing is set: it is only read
        return int(ctypes.CDLL(None).adjtimex(buffer)) not in (_UNSYNCHRONISED, -1)


def links_of(process: Path) -> Iterator[str]:
    """What the descriptors of a process are, as far as this user may know."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(descriptor.readlink())
