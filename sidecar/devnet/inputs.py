"""What went into the chain from outside, block by block: signed actions, its clock being set.

Everything else follows from the settings, so that a chain that starts again executes what its log
holds behind its newest snapshot, with these inputs. They are on disk before the block that used
them is in the log.

    ipc/inputs/00000000000000000001.inputs      records as the log's, one for each block that had
    ipc/inputs/00000000000000000601.inputs      any input; a new file behind every snapshot
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec

from sidecar.errors import LogUnwritable
from sidecar.node.records import HEAD_BYTES, crc32c, frame, unpack_head

_SUFFIX = ".inputs"


class Inputs(msgspec.Struct, array_like=True, frozen=True):
    """What block `height` was made of: `clock_ns` if its time was set, the bodies of the signed
    actions in the order of their execution.
    """

    height: int
    clock_ns: int | None
    bodies: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Inputs).decode


class InputsLog:
    """Appends inputs, and reads back those of an earlier process."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._fd: int | None = None

    def read(self, after: int, to: int) -> dict[int, Inputs]:
        """The inputs of the blocks above `after` up to `to`, by height; what is above `to` is cut
        off: no log holds it. Raises `LogUnwritable` where inputs above `after` are missing.
        """
        files = self._files()
        if files and _first_height(files[0]) > after + 1:
            what = f"the inputs of block {after + 1} are gone; use a fresh directory"
            raise LogUnwritable(what, path=files[0])
        found = {}
        for path in files:
            end = 0
            for end_of_record, inputs in _records(path):
                if inputs.height > to:
                    break
                end = end_of_record
                if inputs.height > after:
                    found[inputs.height] = inputs
            os.truncate(path, end)
        return found

    def append(self, inputs: Inputs) -> None:
        """Keeps the inputs of the next block; nothing where there are none. Raises `OSError`."""
        if inputs.clock_ns is None and not inputs.bodies:
            return
        if self._fd is None:
            files = self._files()
            self._open(files[-1] if files else self._path_of(inputs.height))
        assert self._fd is not None
        record = frame(_encode(inputs))
        if os.write(self._fd, record) < len(record):
            raise LogUnwritable("the inputs can't be written: is the disk full?", path=self._path)

    def rotate(self, height: int, oldest: int) -> None:
        """After a snapshot at `height`: a new file, and none that only serves those below
        `oldest`.
        """
        self.close()
        self._open(self._path_of(height + 1))
        for path, following in pairwise(self._files()):
            if _first_height(following) <= oldest + 1:
                path.unlink()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def _path_of(self, height: int) -> Path:
        return self.directory / f"{height:020d}{_SUFFIX}"

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob(f"*{_SUFFIX}"))


def _first_height(path: Path) -> int:
    return int(path.stem)


def _records(path: Path) -> Iterator[tuple[int, Inputs]]:
    """The whole records of a file, each with the offset behind it; a torn one is the end."""
    content = path.read_bytes()
    offset = 0
    while len(content) - offset >= HEAD_BYTES:
        length, crc = unpack_head(content[offset : offset + HEAD_BYTES])
        payload = content[offset + HEAD_BYTES : offset + HEAD_BYTES + length]
        if len(payload) < length or crc32c(payload) != crc:
            return
        offset += HEAD_BYTES + length
        yield offset, _decode(payload)
