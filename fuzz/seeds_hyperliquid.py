"""Seeds of a Hyperliquid node's output: the development chain writes the same files."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

import chain_case
import filesets
from filesets import File
from scratch import scratch
from sidecar.devnet.hyperliquid.files import HyperliquidFiles
from sidecar.node.hyperliquid.reader import DIFFS, FILLS, STATUSES
from sidecar.node.transitions import Block, BookAdded, BookChanged, BookRemoved, MarketListed
from targets.hyperliquid_files import AFTER

_HOUR_NS = 3_600_000_000_000
_START_NS = 1_777_999_000_000_000_000  # 2026-05-05, 16:36 UTC
_STREAMS = (FILLS, DIFFS, STATUSES)
_FEW = 2
_USER = "0x" + "0a" * 20
_HASH = "0x" + "5c" * 32


def lines() -> Iterator[bytes]:
    """A row of each stream as the development chain writes it, and forms that it never writes."""
    written = _written(_chosen(2), hours=1)
    for file in written:
        yield file.content
    yield _line(1, [_status(1, "open"), _status(2, "badAloPxRejected"), _status(3, "newKind")])
    yield _line(1, [["0x" + "0b" * 20, _fill("B", crossed=True)], [_USER, _fill("A")]])
    diffs = [{"update": {"origSz": "2.0", "newSz": "1.5"}}, {"modified": {"sz": "1"}}, "remove"]
    diffs += [{"new": {"sz": "1.5", "insertBefore": 7}}]
    yield _line(1, [_diff(oid, one) for oid, one in enumerate(diffs)])


def files() -> Iterator[bytes]:
    """Three streams in one hour, over two hours, with rows that come again, glued, torn."""
    one, two = _written(_chosen(2), hours=1), _written(_chosen(2), hours=2)
    yield filesets.encode(one)
    yield filesets.encode(two)
    again = [File(name, content + content) for name, content in one]
    yield filesets.encode(again)
    glued = [File(name, content[:-9] + content) for name, content in one]
    yield filesets.encode(glued)
    yield filesets.encode([*two[:-1], File(two[-1].name, two[-1].content[:-5])])
    yield filesets.encode(two[1:])
    first, second = _chosen(2)
    later = msgspec.structs.replace(second, height=second.height + 1)
    yield filesets.encode(_written([first, later], hours=1))
    yield filesets.encode(_written([second], hours=1))


def snapshots() -> Iterator[bytes]:
    """With and without height, users, children and waiting orders; no coin; an empty book."""
    order = _order(7, "B") | {"children": [_order(9, "A") | _WAITS]}
    book = [[[_USER, order], [_USER, _order(8, "B")]], [[_USER, _order(10, "A")]]]
    waiting = [[], [[_USER, _order(11, "A") | _WAITS]]]
    yield _json([AFTER, [["BTC", book], ["ETH", waiting], ["@107", [[], []]]]])
    yield _json([["BTC", [[_order(7, "B")], []]]])
    yield _json([AFTER, []])
    plain = _order(7, "B") | {"isTrigger": True}
    yield _json([AFTER, [["BTC", [[[_USER, plain]], [[_USER, _order(8, "A")]]]]]])
    yield b'[ 100 , [ ["BTC" , [ [ ] , [ ] ] ] ,\n ["E\\u0054H",[[],[]]] ] ]\n'


_WAITS = {"isTrigger": True, "triggerPx": "90000.0", "triggerCondition": "Price above 90000"}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _line(height: int, events: list[Any]) -> bytes:
    moment = "2026-05-05T17:39:13.394723455"
    return _json(
        {"local_time": moment, "block_time": moment, "block_number": height, "events": events}
    )


def _order(oid: int, side: str) -> dict[str, Any]:
    order = {"coin": "BTC", "side": side, "limitPx": "81307.0", "sz": "0.5", "oid": oid}
    order |= {"timestamp": 1_777_000_000_123, "triggerCondition": "N/A", "isTrigger": False}
    order |= {"triggerPx": "0.0", "children": [], "isPositionTpsl": False, "reduceOnly": False}
    return order | {"orderType": "Limit", "origSz": "0.75", "tif": "Alo", "cloid": None}


def _status(oid: int, status: str) -> dict[str, Any]:
    order = _order(oid, "B") | {"cloid": "0x" + "00" * 15 + "ff"}
    builder = {"b": _USER, "f": 10}
    event = {"time": "2026-05-05T17:39:13.394", "user": _USER, "hash": _HASH, "builder": builder}
    return event | {"status": status, "order": order}


def _fill(side: str, *, crossed: bool = False) -> dict[str, Any]:
    fill = {"coin": "BTC", "px": "81307.0", "sz": "0.1", "side": side, "time": 1_777_000_000_123}
    fill |= {"startPosition": "-0.000000000000000001", "dir": "Open Long", "closedPnl": "0.0"}
    fill |= {
        "hash": _HASH,
        "oid": 7,
        "crossed": crossed,
        "fee": "0.1",
        "tid": 5,
        "feeToken": "USDC",
    }
    liquidation = {"liquidatedUser": _USER, "markPx": "80000.0", "method": "market"}
    return fill | {"liquidation": liquidation, "twapId": None, "cloid": None}


def _diff(oid: int, change: Any) -> dict[str, Any]:
    diff = {"user": _USER, "oid": oid, "coin": "BTC", "side": "B", "px": "81307.0"}
    return diff | {"raw_book_diff": change}


def _chosen(count: int) -> list[Block]:
    """Small blocks behind `AFTER`, with steps that a book of nothing can take."""
    found = sorted(chain_case.blocks()[1:40], key=lambda one: len(one.transitions))[:count]
    return [_behind(block, index) for index, block in enumerate(found)]


def _behind(block: Block, index: int) -> Block:
    steps: list[Any] = [one for one in block.transitions if isinstance(one, BookAdded)][:3]
    steps += [BookChanged(one.market, one.oid, 1, one.sz) for one in steps[:1]]
    steps += [BookRemoved(one.market, one.oid) for one in steps[:1]]
    others: dict[type, list[Any]] = {}
    for one in block.transitions:
        others.setdefault(type(one), []).append(one)
    for kind in (BookAdded, BookChanged, BookRemoved, MarketListed):
        others.pop(kind, None)
    few = [one for kind in others.values() for one in kind[:_FEW]]
    return msgspec.structs.replace(block, height=AFTER + 1 + index, transitions=[*few, *steps])


def _written(blocks: list[Block], *, hours: int) -> list[File]:
    """The files that the development chain's writer makes of the blocks, `hours` of them."""
    clock = {"now": _START_NS}
    listings = [one for one in chain_case.blocks()[0].transitions if isinstance(one, MarketListed)]
    with scratch() as root:
        writer = HyperliquidFiles(root, listings, [], local_time_ns=lambda: clock["now"])
        for index, block in enumerate(blocks):
            clock["now"] = _START_NS + index * hours // len(blocks) * _HOUR_NS
            writer.write(block)
        writer.close()
        found = sorted(path for name in _STREAMS for path in (root / name).rglob("*"))
        return sorted(
            (
                File(str(path.relative_to(root)), path.read_bytes())
                for path in found
                if path.is_file()
            ),
            key=lambda file: file.name.split("/")[-2:],
        )


SEEDS = {"hyperliquid_lines": lines, "hyperliquid_files": files, "hyperliquid_snapshots": snapshots}
