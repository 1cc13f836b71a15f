"""Load and abuse at full size: a real sidecar beside a real chain, and thousands of clients.

    python tests/load/run.py [NAME ...] [--clients 10000] [--seconds 5] [--seed 1] [--list]

Prints a line for each target: what was measured, what is wanted, and whether that is met. Exits
with 1 where one is missed. Sizes are lowered, with a word about it, where the descriptor limit is.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.load import (
    close_handshake,
    deflate_bomb,
    descriptors,
    fragment_flood,
    graceful_stop,
    half_open,
    idle_memory,
    oversized_heads,
    ping_flood,
    reconnect_storm,
    slow_consumers,
    slowloris,
)
from tests.load.report import HEADER, Options, Row
from tests.load.stand import end_children, say

_MODULES = (
    *(slow_consumers, slowloris, oversized_heads, deflate_bomb, fragment_flood, ping_flood),
    *(half_open, close_handshake, descriptors, idle_memory, reconnect_storm, graceful_stop),
)
SCENARIOS: dict[str, Callable[[Options], list[Row]]] = {
    module.__name__.rpartition(".")[2]: module.run for module in _MODULES
}


def main() -> int:
    """All scenarios, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of --list; all by default")
    parser.add_argument("--clients", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--seed", type=int, default=1, help="of the chain and the clients")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also the result")
    parser.add_argument("--list", action="store_true", help="the scenarios")
    options = parser.parse_args()
    if options.list:
        for module in _MODULES:
            name = module.__name__.rpartition(".")[2]
            sys.stdout.write(f"{name:16} {(module.__doc__ or '').strip()}\n")
        return 0
    if unknown := set(options.names) - SCENARIOS.keys():
        known = ", ".join(SCENARIOS)
        parser.error(f"no scenario {min(unknown)}; there are {known}")
    signal.signal(signal.SIGTERM, _interrupt)  # so that what was started ends, too
    size = Options(options.clients, options.seconds, options.seed)
    try:
        rows = _run(options.names or list(SCENARIOS), size)
    except KeyboardInterrupt:
        return 130
    finally:
        end_children()
    if options.json is not None:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1))
    return 0 if all(row.met for row in rows) else 1


def _run(names: list[str], size: Options) -> list[Row]:
    rows: list[Row] = []
    _tell(HEADER)
    for name in names:
        say(f"{name} ...")
        began = time.monotonic()
        for row in SCENARIOS[name](size):
            rows.append(row)
            _tell(str(row))
        say(f"{name}: {time.monotonic() - began:.0f} s")
    return rows


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
