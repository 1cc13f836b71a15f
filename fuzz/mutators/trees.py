"""Trees of dicts, lists and leaves, as JSON and msgpack hold them."""

import random
from collections.abc import Callable, Iterator
from typing import Any

Leaf = Callable[[random.Random], Any]

_INTS = (0, 1, -1, 2, 7, 127, 128, 255, 1 << 31, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63))
_TEXTS = (
    "",
    "0",
    "0.0",
    "-1",
    "1e5",
    "0x",
    "\u00e9",
    "x" * 70,
    "9" * 40,
    "\U0001f600",
    "@1",
    "a b",
)


def any_leaf(rng: random.Random) -> Any:
    """What is no list and no dict, and fits into any format."""
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice(_INTS)
    if kind == 1:
        return rng.choice(_TEXTS)
    if kind == 2:
        return rng.choice((True, False, None))
    return rng.choice(([], {}, 0.5, -0.0, 1e300)) if kind == 3 else rng.randint(-1000, 1 << 40)


def mutate_tree(tree: Any, rng: random.Random, leaf: Leaf = any_leaf) -> Any:
    """The same tree but for one place; the old one stays as it was."""
    places = list(_places(tree))
    path = rng.choice(places)
    other = _at(tree, rng.choice(places))
    return _with(tree, path, lambda value: _changed(value, other, rng, leaf))


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _places(value, (*path, key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _places(value, (*path, index))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _with(tree: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(tree)
    copied = dict(tree) if isinstance(tree, dict) else list(tree)
    copied[path[0]] = _with(copied[path[0]], path[1:], change)
    return copied


def _changed(value: Any, other: Any, rng: random.Random, leaf: Leaf) -> Any:
    kind = rng.randrange(4)
    if kind == 0:
        return leaf(rng)
    if kind == 1:
        return other
    if isinstance(value, dict):
        return _changed_dict(value, other, rng, leaf)
    if isinstance(value, list | tuple):
        return _changed_list(list(value), other, rng, leaf)
    return _changed_leaf(value, rng, leaf)


def _changed_dict(value: dict[Any, Any], other: Any, rng: random.Random, leaf: Leaf) -> Any:
    keys = list(value)
    if not keys or rng.random() < 0.2:
        return value | {rng.choice(("type", "user", "coin", "x", "")): leaf(rng)}
    key = rng.choice(keys)
    if rng.random() < 0.5:
        return {name: one for name, one in value.items() if name != key}
    return value | {key: other}


def _changed_list(value: list[Any], other: Any, rng: random.Random, leaf: Leaf) -> Any:
    at = rng.randrange(len(value) + 1)
    kind = rng.randrange(5)
    if kind == 0:
        value.insert(at, rng.choice((other, leaf(rng))))
    elif kind == 1:
        del value[at : at + 1]
    elif kind == 2:
        value[at:at] = value[at : at + 1] * rng.choice((1, 1, 3, 40))
    elif kind == 3 and value:
        one = rng.randrange(len(value))
        value.insert(min(at, len(value) - 1), value.pop(one))
    else:
        del value[at:]
    return value


def _changed_leaf(value: Any, rng: random.Random, leaf: Leaf) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 10, value // 2, value ^ 1))
    if isinstance(value, str):
        return _changed_text(value, rng)
    if isinstance(value, bytes) and value:
        at = rng.randrange(len(value))
        return value[:at] + rng.randbytes(rng.randint(0, 2)) + value[at + 1 :]
    return leaf(rng)


def _changed_text(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + rng.choice("0159.-xABab \u00e9\U0001f600\x00/@") + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + rng.choice("0123456789") + text[at:]
    return rng.choice((text.upper(), text.swapcase(), text + text, text + "0" * 30, text[:at]))
