"""Finds the coins in the text of an L4 snapshot without decoding it, so that each is read alone.

    [ 985148181 , [ ["BTC",[[...],[...]]] , ["ETH",[[...],[...]]] , ... ] ]
      height        └──── a coin ─────┘     └─────────────────────┘

Between two coins stands `]]],["NAME",[[`. Nothing else in a snapshot looks like that: within a
string quotes are escaped, and an order is an object. Should it ever happen, the coin before is cut
short and does not decode. A file that is not written to its end lacks the brackets that close it.
"""

import gzip
import os
import re
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from sidecar.errors import SnapshotInvalid, SourceMissing
from sidecar.limits import L4_INDEX_BYTES
from sidecar.node.regular import open_regular

_GZIP_MAGIC = b"\x1f\x8b"
_EDGE_BYTES = 4096  # room for the start of a coin, white space included
_WHITE_SPACE = b" \t\r\n"

_SYMBOL = rb'("(?:[^"\\]|\\.){0,256}")'
_HEAD = re.compile(rb"\s*\[\s*(?:([0-9]{1,20})\s*,\s*(\[)\s*)?")
_COIN = re.compile(rb"\[\s*" + _SYMBOL + rb"\s*,\s*\[\s*\[")
_BETWEEN = re.compile(rb"\]\s*\]\s*\](\s*,\s*)\[\s*" + _SYMBOL + rb"\s*,\s*\[\s*\[")
_decode_symbol = msgspec.json.Decoder(str).decode


class Coin(NamedTuple):
    """A coin, and where its text is: offset and number of bytes."""

    symbol: str
    offset: int
    size: int


class SnapshotText:
    """The text of a snapshot file: read in parts; a gzipped one is in memory as a whole.

    The file may be deleted meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Raises `SourceMissing`, `SnapshotInvalid`."""
        self.path = path
        self._content: bytes | None = None
        try:
            self._fd = open_regular(path)
            weakref.finalize(self, os.close, self._fd)
            self.size = os.fstat(self._fd).st_size
            if os.pread(self._fd, 2, 0) == _GZIP_MAGIC:
                self._content = _decompressed(path, self._fd)
                self.size = len(self._content)
        except OSError as error:
            what = f"can't read the snapshot: {error.strerror}"
            raise SourceMissing(what, path=path) from error

    def read(self, offset: int, size: int) -> bytes:
        """That part, less where the text ends. Raises `SnapshotInvalid`."""
        if self._content is not None:
            return self._content[offset : offset + size]
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise self.invalid(f"can't be read: {error.strerror}") from error

    def invalid(self, what: str) -> SnapshotInvalid:
        """An error that names the file."""
        return SnapshotInvalid(f"the snapshot {what}", path=self.path)


class SnapshotIndex:
    """Where the coins of a snapshot are. `height` is None where the text does not tell it."""

    def __init__(self, text: SnapshotText) -> None:
        """Looks at both ends of the text. Raises `SnapshotInvalid`. O(1)."""
        head = text.read(0, _EDGE_BYTES)
        match = _HEAD.match(head)
        if match is None:
            raise text.invalid("is not an L4 snapshot: it does not start as one")
        self.height = None if match[1] is None else int(match[1])
        self._text = text
        self._start = match.end()
        self._first = _COIN.match(head, self._start)
        self._end = self._closing(1 if match[1] is None else 2)
        if self._first is None and self._start < self._end:
            raise text.invalid("is not an L4 snapshot: it does not start with a coin")

    def coins(self) -> Iterator[Coin | None]:
        """The coins in their order, and None now and then: a moment to let others run. O(bytes),
        160 MB in 60 ms.
        """
        if self._first is None:
            return
        symbol, offset = self._first[1], self._start
        for position in range(self._start, self._end, L4_INDEX_BYTES):
            window = self._text.read(position, L4_INDEX_BYTES + _EDGE_BYTES)
            for match in _BETWEEN.finditer(window, max(offset - position, 0)):
                if match.start() >= L4_INDEX_BYTES:
                    break  # the next window's
                yield self._coin(symbol, offset, position + match.start(1))
                symbol, offset = match[2], position + match.end(1)
            yield None
        yield self._coin(symbol, offset, self._end)

    def _coin(self, symbol: bytes, offset: int, end: int) -> Coin:
        try:
            return Coin(_decode_symbol(symbol), offset, end - offset)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._text.invalid(f"has a coin without a name: {error}") from error

    def _closing(self, brackets: int) -> int:
        """Where the coins end: `brackets` are open around them, three more within the last one."""
        text = self._text
        tail_offset = max(text.size - _EDGE_BYTES, 0)
        tail = text.read(tail_offset, _EDGE_BYTES).rstrip(_WHITE_SPACE)
        wanted = brackets + (0 if self._first is None else 3)
        left, end = tail, len(tail)
        for closed in range(wanted):
            if not left.endswith(b"]"):
                raise text.invalid("is not an L4 snapshot, or not written to its end")
            left = left[:-1].rstrip(_WHITE_SPACE)
            if closed < brackets:
                end = len(left)
        return tail_offset + end


def _decompressed(path: Path, fd: int) -> bytes:
    try:
        with os.fdopen(fd, "rb", closefd=False) as file:
            return gzip.decompress(file.read())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SnapshotInvalid(f"the snapshot can't be decompressed: {error}", path=path) from error
