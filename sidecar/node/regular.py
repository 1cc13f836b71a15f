"""Opens files of the node's, whatever has got their names: one that is a pipe would hold up the
process until somebody writes into it.
"""

import errno
import os
import stat
from pathlib import Path

_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: Path) -> int:
    """A descriptor to read it from, at once. Raises `OSError`: EISDIR for a directory, EINVAL for
    what is no file at all.
    """
    fd = os.open(path, _READING)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is not a file", str(path))
