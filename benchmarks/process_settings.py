"""What the settings of `process` do: urgency and cores beside neighbours that take all there is,
and garbage collections with and without what lives on.

    python benchmarks/process_settings.py [--rounds 3] [--blocks 100]

A busy loop for each core is the neighbours. Latency is from the node's write to a client's read, as
in latency.py; rounds alternate. Then full garbage collections over a state with orders, in this
process. Ratios are what to quote.
"""

import argparse
import gc
import multiprocessing
import os
import statistics
import time
from contextlib import ExitStack

from latency import measure
from sidecar.garbage import settle
from sidecar.node.snapshot import MarketRow, RestingRow
from sidecar.node.transitions import MarketListed
from sidecar.state.chain import ChainState
from sidecar.state.restorer import Restorer

_context = multiprocessing.get_context("spawn")
_LAST = str(max(os.sched_getaffinity(0)))
_WAYS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "nice = -5": ("--process-nice", "-5"),
    f"cpus = {_LAST}": ("--process-cpus", _LAST),
    "both": ("--process-nice", "-5", "--process-cpus", _LAST),
}


def _burn() -> None:
    while True:
        pass


def beside_neighbours(rounds: int, blocks: int) -> None:
    """A line for each way."""
    times: dict[str, list[float]] = {name: [] for name in _WAYS}
    with ExitStack() as stack:
        for _ in os.sched_getaffinity(0):
            neighbour = _context.Process(target=_burn, daemon=True)
            neighbour.start()
            stack.callback(neighbour.join)
            stack.callback(neighbour.kill)
        for _ in range(rounds):
            for name, flags in _WAYS.items():
                times[name] += measure(1, blocks, busy_poll=False, flags=flags)[0]
    usual = statistics.median(times["as it is"])
    for name, found in times.items():
        cuts = statistics.quantiles(found, n=100, method="inclusive")
        print(
            f"{name:12} p50 {cuts[49]:6.0f} us ({cuts[49] / usual:.2f}), "
            f"p99 {cuts[98]:6.0f} us ({cuts[98] / usual:.2f})"
        )


def collections(orders: int) -> None:
    """How long a full one takes."""
    state = ChainState()
    restore_row = Restorer(state, 1, 1).row
    restore_row(MarketRow(MarketListed(1, "X")))
    for oid in range(1, orders + 1):
        user = (oid % 1000).to_bytes(20, "big")
        restore_row(RestingRow(1, oid, user, oid & 1, 1000 + oid % 500, 10, 1, None))
    found = []
    for frozen in (False, True):
        if frozen:
            settle()
        began = time.perf_counter()
        gc.collect()
        found.append((time.perf_counter() - began) * 1e3)
    print(
        f"a collection over {orders} orders: {found[0]:.1f} ms, "
        f"{found[1]:.1f} ms with process.gc_freeze"
    )
    assert state.markets


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--orders", type=int, default=500_000)
    options = parser.parse_args()
    collections(options.orders)
    beside_neighbours(options.rounds, options.blocks)


if __name__ == "__main__":
    main()
