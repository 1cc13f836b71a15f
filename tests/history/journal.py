"""What recorders leave behind, and what the checker reads.

    client-03.jsonl         in order of receipt: connections, subscriptions, messages, gaps, ends
    contents/000004.jsonl   the data of every distinct message, by hundreds of heights
    orders.jsonl            answers to orders
    run.json                seed, endpoints, what was done to whom, the last height
    log/*.seg               the node's log, kept whole

A message's data is written once; `digest` in the client's file says which it was. So a file can be
judged without what was in the messages, and what was in them without who read it.
"""

import hashlib
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

HEIGHTS_PER_FILE = 500
_SEEN_MAX = 400_000
_FILES_OPEN_MAX = 16


class Opened(msgspec.Struct, tag="open", array_like=True):
    """A connection."""

    connection: int
    endpoint: str


class Subscribed(msgspec.Struct, tag="sub", array_like=True):
    """The answer to a subscription has come; `resume` is the height it asked to go on from."""

    topic: str
    resume: int | None


class Leaving(msgspec.Struct, tag="leave", array_like=True):
    """An unsubscription is asked for: what waits of the topic from here on is not sent any more."""

    topic: str


class Unsubscribed(msgspec.Struct, tag="unsub", array_like=True):
    """The answer to it has come."""

    topic: str


class Told(msgspec.Struct, tag="msg", array_like=True):
    """A message. `prev` is -1 where it has none at all, and `part` is (1, 1) where not said."""

    topic: str
    height: int
    prev: int | None
    part: tuple[int, int]
    snapshot: bool
    digest: str
    checksum: int | None = None
    state: str | None = None


class Gap(msgspec.Struct, tag="gap", array_like=True):
    """Messages of these heights are missing, the sidecar says."""

    topic: str
    first: int
    last: int
    reason: str


class Refused(msgspec.Struct, tag="error", array_like=True):
    """What was asked for is refused."""

    text: str


class Closed(msgspec.Struct, tag="close", array_like=True):
    """The connection has ended: `by` whom, the code, the reason."""

    by: str
    code: int
    reason: str


class Finished(msgspec.Struct, tag="finish", array_like=True):
    """The chain has ended at this height, and this connection was to have had everything."""

    height: int


Entry = Opened | Subscribed | Leaving | Unsubscribed | Told | Gap | Refused | Closed | Finished


class Content(msgspec.Struct, array_like=True):
    """What a message said."""

    height: int
    topic: str
    part: tuple[int, int]
    snapshot: bool
    digest: str
    data: msgspec.Raw


class Answer(msgspec.Struct):
    """What the exchange endpoint said of an order, and of which block."""

    user: str
    height: int
    statuses: list[Any]


class Key(NamedTuple):
    """What must be the same whoever reads it."""

    topic: str
    height: int
    part: tuple[int, int]
    snapshot: bool


_encode = msgspec.json.Encoder().encode
_decode_entry = msgspec.json.Decoder(Entry).decode
_decode_content = msgspec.json.Decoder(Content).decode


class Journal:
    """Writes one directory; of all clients of one process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._contents = directory / "contents"
        self._contents.mkdir(parents=True, exist_ok=True)
        self._files: dict[int, BufferedWriter] = {}
        self._seen: dict[tuple[Key, str], None] = {}

    def client(self, number: int) -> BufferedWriter:
        """A client's own file."""
        return (self.directory / f"client-{number:02}.jsonl").open("wb")

    def data(self, key: Key, data: bytes) -> str:
        """Keeps what a message said, once. Its digest."""
        digest = hashlib.blake2b(data, digest_size=10).hexdigest()
        if (key, digest) not in self._seen:
            self._seen[key, digest] = None
            if len(self._seen) > _SEEN_MAX:
                del self._seen[next(iter(self._seen))]
            content = Content(
                key.height, key.topic, key.part, key.snapshot, digest, msgspec.Raw(data)
            )
            self._file(key.height // HEIGHTS_PER_FILE).write(_encode(content) + b"\n")
        return digest

    def close(self) -> None:
        """Everything is on disk."""
        while self._files:
            self._files.popitem()[1].close()

    def _file(self, number: int) -> BufferedWriter:
        file = self._files.pop(number, None)
        if file is None:
            file = (self._contents / f"{number:06}.jsonl").open("ab")
        self._files[number] = file  # the newest at the end
        if len(self._files) > _FILES_OPEN_MAX:
            self._files.pop(next(iter(self._files))).close()
        return file


def write_entry(file: BufferedWriter, entry: Entry) -> None:
    """Appends it."""
    file.write(_encode(entry) + b"\n")


def read_entries(path: Path) -> Iterator[Entry]:
    """A client's file, in order."""
    with path.open("rb") as file:
        for line in file:
            yield _decode_entry(line)


def read_contents(directory: Path) -> Iterator[Content]:
    """All data, by height; each once, even if it was written twice."""
    for path in sorted((directory / "contents").glob("*")):
        with path.open("rb") as file:
            contents = [_decode_content(line) for line in file]
        contents.sort(key=lambda one: one.height)
        seen = set()
        for one in contents:
            which = (Key(one.topic, one.height, one.part, one.snapshot), one.digest)
            if which not in seen:
                seen.add(which)
                yield one


def read_answers(directory: Path) -> list[Answer]:
    """Answers to orders."""
    path = directory / "orders.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Answer) for line in lines]
