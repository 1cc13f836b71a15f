"""What the operating system says of a file of the node's that can't be read, as our error."""

import errno
from pathlib import Path

from sidecar.errors import SourceBusy, SourceMissing

_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def unreadable(path: Path, error: OSError) -> SourceMissing:
    """The error of the operating system, with what to do about it."""
    remedy = "; may this user read it?" if isinstance(error, PermissionError) else ""
    kind = SourceBusy if error.errno in _OUT_OF_RESOURCES else SourceMissing
    return kind(f"can't be read: {error.strerror}{remedy}", path=path)
