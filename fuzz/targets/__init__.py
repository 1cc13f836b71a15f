"""Fuzz targets: each file takes any bytes and holds one invariant, which its header states. What it
lets pass is the specification.

A target has `check(data)`, which raises where the invariant does not hold; `AIMED_AT`, the modules
whose coverage counts; and where it needs them `TOKENS`, words of its language, `mutate(data, rng)`,
which makes other inputs that mean something, and `captured()`, what real nodes wrote, if that is
here.
"""

import random
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import NamedTuple

NAMES = (
    "http",
    "proxy",
    "websocket",
    "compressed",
    "requests",
    "actions",
    "answers",
    "records",
    "segments",
    "blocks",
    "row_files",
    "hyperliquid_lines",
    "hyperliquid_files",
    "hyperliquid_snapshots",
)


class Target(NamedTuple):
    """What a target's module says."""

    check: Callable[[bytes], None]
    aimed_at: tuple[str, ...]
    tokens: tuple[bytes, ...]
    mutate: Callable[[bytes, random.Random], bytes] | None
    captured: Callable[[], Iterable[bytes]]


def load(name: str) -> Target:
    """The target of that name; its module is imported now. Raises `KeyError` that names all."""
    if name not in NAMES:
        raise KeyError(",".join(NAMES))
    module = import_module(f"targets.{name}")
    return Target(
        module.check,
        module.AIMED_AT,
        getattr(module, "TOKENS", ()),
        getattr(module, "mutate", None),
        getattr(module, "captured", tuple),
    )
