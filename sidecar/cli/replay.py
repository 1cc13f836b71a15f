"""Write captured Hyperliquid node files again, as the node did: line by line, hour by hour.

SOURCE is a data directory (with node_fills_by_block and its siblings) or a .tar.gz that holds one.
A sidecar that serves TARGET (--source-kind hyperliquid --source-path TARGET) sees what it would
have seen beside the node.
"""

import argparse
import math
import sys
from pathlib import Path

import anyio

from sidecar.node.replay import replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where, to where, how fast."""
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="captured data directory or .tar.gz")
    add("target", type=Path, metavar="TARGET", help="data directory to write")
    add(
        "--speed",
        type=_speed,
        default=1.0,
        help="times the recorded pace; 0 writes everything at once; default 1",
    )
    add(
        "--cut-bytes",
        type=_cut,
        default=None,
        help="write in pieces of so many bytes, which cut lines anywhere, as buffering nodes do",
    )


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < math.inf:
        raise argparse.ArgumentTypeError("0 or more")
    return speed


def _cut(text: str) -> int:
    cut = int(text)
    if cut < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return cut


def run(options: argparse.Namespace) -> None:
    """Replays until done or interrupted."""
    anyio.run(_replay, options, backend_options={"use_uvloop": True})


async def _replay(options: argparse.Namespace) -> None:
    def report(lines: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{lines} lines", end="", file=sys.stderr, flush=True)

    lines = await replay(
        options.source,
        options.target,
        speed=options.speed,
        cut_bytes=options.cut_bytes,
        on_progress=report,
    )
    print(f"{lines} lines written to {options.target}")
