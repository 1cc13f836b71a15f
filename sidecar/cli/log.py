"""Inspect or verify a native node log.

sidecar log verify ipc               reads every record of every segment and snapshot
sidecar log inspect ipc --from 17    prints blocks as lines of JSON; --transitions for all of it
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sidecar.api.messages import hex_text
from sidecar.errors import ConfigInvalid, LogGap, SnapshotInvalid, SourceMissing
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.segments import first_height, list_segments
from sidecar.node.snapshot import SnapshotReader, list_snapshots
from sidecar.node.transitions import Block

_PROGRESS_BLOCKS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two actions over one directory."""
    parser.add_argument("action", choices=("inspect", "verify"), help="what to do")
    parser.add_argument(
        "path", type=Path, help="the node's IPC directory (the one with chain.json)"
    )
    parser.add_argument("--from", dest="first", type=int, metavar="HEIGHT", help="first block")
    parser.add_argument("--to", dest="last", type=int, metavar="HEIGHT", help="last block")
    parser.add_argument(
        "--transitions", action="store_true", help="inspect: print every transition, not counts"
    )


def run(options: argparse.Namespace) -> None:
    """Reads what is there now; a half-written last record is not an error."""
    ipc = IpcDirectory(options.path)
    info = ipc.read_chain()
    segments = list_segments(ipc.log)
    if not segments:
        raise SourceMissing("the log has no segment yet", path=ipc.log)
    first = options.first if options.first is not None else first_height(segments[0])
    if first < 1 or (options.last is not None and options.last < first):
        raise ConfigInvalid("--from and --to are heights, from 1 on, in this order")
    with LogReader(ipc.log, after=first - 1, chain=info.chain) as reader:
        blocks = _blocks(reader, options.last)
        if options.action == "inspect":
            for block in blocks:
                _print_block(block, every=options.transitions)
            return
        counts = _count(blocks)
    if reader.height < first:
        raise LogGap(f"the log has no block {first}", path=segments[-1], height=first)
    for path in list_snapshots(ipc.snapshots):
        _verify_snapshot(path, info.chain)
    print(
        f"chain {info.chain}: {len(segments)} segments, blocks {first} to {reader.height}, verified"
    )
    for kind, count in sorted(counts.items()):
        print(f"  {kind:16} {count}")


def _verify_snapshot(path: Path, chain: str) -> None:
    try:
        snapshot = SnapshotReader(path, chain=chain)
        rows = sum(1 for _ in snapshot.rows())
    except SnapshotInvalid:
        if path.exists():
            raise
        return  # the node has retired it since we looked
    print(f"snapshot at height {snapshot.header.height}: {rows} rows")


def _blocks(reader: LogReader, last: int | None) -> Iterator[Block]:
    while (last is None or reader.height < last) and (block := reader.next_block()) is not None:
        yield block


def _count(blocks: Iterator[Block]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for index, block in enumerate(blocks, 1):
        counts.update(type(transition).__name__ for transition in block.transitions)
        counts["(unknown)"] += block.unknown
        if index % _PROGRESS_BLOCKS == 0 and sys.stderr.isatty():
            print(f"\r{index} blocks", end="", file=sys.stderr, flush=True)
    return +counts


def _print_block(block: Block, *, every: bool) -> None:
    line: dict[str, Any] = {
        "height": block.height,
        "time_ns": block.time_ns,
        "written_ns": block.written_ns,
    }
    if every:
        line["transitions"] = [
            {"type": type(transition).__name__} | _plain(transition)
            for transition in block.transitions
        ]
    else:
        line["transitions"] = Counter(type(one).__name__ for one in block.transitions)
    print(msgspec.json.encode(line).decode())


def _plain(value: Any) -> Any:
    """Structs as objects, bytes as hex: for reading, not for parsing back."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return hex_text(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return value if isinstance(value, int | float | str | None) else repr(value)
