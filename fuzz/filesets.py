"""Several files in one input: `[[name, content], ...]` in msgpack, in the order in which they were
written. Any other bytes are one file.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

_NAME_CHARS_MAX = 100
_FILES_MAX = 12


class File(NamedTuple):
    """A file below the directory of the input."""

    name: str
    content: bytes


_decode = msgspec.msgpack.Decoder(list[File]).decode


def decode(data: bytes, only: str) -> list[File]:
    """The files, of names that can be; `only` is the name of one that comes alone."""
    try:
        files = _decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return [File(only, data)]
    return [file for file in files if _is_name(file.name)][:_FILES_MAX]


def encode(files: list[File]) -> bytes:
    """The input."""
    return msgspec.msgpack.encode(files)


def write(directory: Path, files: list[File], then: Callable[[], None], pieces: "Pieces") -> None:
    """Writes them one behind the other in pieces; after each, `then`. A name that comes again is
    written on.
    """
    for name, content in files:
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as file:
                for piece in pieces(content):
                    file.write(piece)
                    then()
        except OSError:  # a file where a directory has to be
            continue


Pieces = Callable[[bytes], list[bytes]]


def _is_name(name: str) -> bool:
    parts = PurePosixPath(name).parts
    usable = name.isprintable() and len(name.encode()) <= _NAME_CHARS_MAX
    return bool(parts) and usable and ".." not in parts and not name.startswith("/")
