"""Where to start reading: finds a height in files of tens of GB without reading them.

Rows carry their height right at their front. From one row to the next heights go up by exactly 1
or, after a restart of the node, back. So between a row below the wanted height and a later one at
or above it lies the wanted one: bisection over offsets works in spite of the restarts.
"""

import os
import re
from pathlib import Path

from sidecar.errors import SourceMissing
from sidecar.limits import READ_BYTES
from sidecar.node.hyperliquid.lines import open_file

_HEAD_BYTES = 4096
_ROW_HEAD = re.compile(
    rb'\s*\{"local_time":"[^"]{1,40}","block_time":"[^"]{1,40}","block_number":([0-9]{1,20}),'
)
_ANY_NUMBER = re.compile(rb'"block_number"\s*:\s*([0-9]{1,20})\s*[,}]')


def peek_height(text: bytes, start: int = 0) -> int | None:
    """The height of the row that starts there, from its front alone. None if that looks unusual."""
    match = _ROW_HEAD.match(text, start)
    return None if match is None else int(match[1])


def first_height(path: Path) -> int | None:
    """The height of a file's first row; None while it is not there, 0 if its front tells none.

    Raises `SourceMissing`.
    """
    fd = open_file(path)
    if fd is None:
        return None
    try:
        head = os.pread(fd, _HEAD_BYTES, 0)
    except OSError as error:  # a directory, a broken disk
        raise SourceMissing(f"can't read: {error.strerror}", path=path) from error
    finally:
        os.close(fd)
    match = _ANY_NUMBER.search(head)
    if match is not None:
        return int(match[1])
    return 0 if b"\n" in head or len(head) == _HEAD_BYTES else None


def find_height(fd: int, height: int) -> int:
    """The offset of a row at or somewhat before the first one of `height`. O(log bytes) reads."""
    low, high = 0, os.fstat(fd).st_size
    first = peek_height(os.pread(fd, _HEAD_BYTES, 0))
    if first is None or first >= height:
        return 0
    while high - low > 2 * READ_BYTES:
        middle = (low + high) // 2
        found = _row_after(fd, middle)
        if found is None or found[0] >= high:
            break  # rows about as long as what is left
        if found[1] < height:
            low = found[0]
        else:
            high = middle
    return low


def _row_after(fd: int, offset: int) -> tuple[int, int] | None:
    chunk = os.pread(fd, READ_BYTES, offset)
    start = chunk.find(b"\n") + 1
    row_height = peek_height(chunk, start) if start else None
    return None if row_height is None else (offset + start, row_height)
