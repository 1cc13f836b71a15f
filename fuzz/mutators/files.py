"""Sets of files: their order, names and contents."""

import random
from collections.abc import Callable

import filesets
from filesets import File
from mutators.bits import mutate_list

Change = Callable[[bytes, random.Random], bytes]


def mutate_files(data: bytes, rng: random.Random, change: Change, only: str) -> bytes:
    """Other files; `change` makes another content."""
    files = filesets.decode(data, only)
    for _ in range(rng.randint(1, 2)):
        kind = rng.randrange(10)
        if not files or kind == 0:
            files = mutate_list([*files, File(only, b"")], rng)
        elif kind == 1:
            files = mutate_list(files, rng)
        else:
            at = rng.randrange(len(files))
            files[at : at + 1] = _changed(files[at], files, rng, change)
    return filesets.encode(files)


def _changed(file: File, others: list[File], rng: random.Random, change: Change) -> list[File]:
    name, content = file
    kind = rng.randrange(8)
    if kind == 0:
        return [File(_renamed(name, rng), content)]
    if kind == 1:  # torn
        return [File(name, content[: rng.randrange(len(content) + 1)])]
    if kind == 2:  # goes on in another one
        at = rng.randrange(len(content) + 1)
        return [File(name, content[:at]), File(rng.choice(others).name, content[at:])]
    if kind == 3:
        return [File(name, content + rng.choice(others).content)]
    return [File(name, change(content, rng))]


def _renamed(name: str, rng: random.Random) -> str:
    digits = [at for at, char in enumerate(name) if char.isdigit()]
    if not digits or rng.random() < 0.1:
        return name[: rng.randrange(len(name) + 1)]
    at = rng.choice(digits[-3:])
    return name[:at] + rng.choice("0123456789") + name[at + 1 :]
