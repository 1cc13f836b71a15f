"""Load and abuse at full size, against real processes on loopback.

    python -m tests.load [NAME ...] [--clients 10000] [--seconds 5] [--list]

Prints a line for each target: what was measured, what is wanted, and whether that is met. Exits
with 1 where one is not.
"""

import argparse
import sys
from collections.abc import Callable

from tests.load import hostile, polite, slow
from tests.load.world import Row

Scenario = Callable[[int, float], list[Row]]
SCENARIOS: dict[str, Scenario] = {
    "slow_consumers": slow.slow_consumers,
    "slowloris": slow.slowloris,
    "heads_and_bombs": hostile.heads_and_bombs,
    "ping_flood": hostile.ping_flood,
    "half_open": slow.half_open,
    "close_abuse": hostile.close_abuse,
    "descriptors": hostile.descriptors,
    "idle_memory": polite.idle_memory,
    "reconnect_storm": polite.reconnect_storm,
    "graceful_stop": polite.graceful_stop,
}


def main() -> int:
    """All scenarios, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *SCENARIOS], metavar="NAME")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--list", action="store_true", help="the scenarios")
    options = parser.parse_args()
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:16} {(scenario.__doc__ or '').strip()}")
        return 0
    met = True
    for name in options.names or SCENARIOS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for row in SCENARIOS[name](options.clients, options.seconds):
            met = met and row.met
            mark = "ok    " if row.met else "MISSED"
            print(f"{row.target:4} {mark} {row.what}: {row.measured} (wanted {row.wanted})",
                  flush=True)  # fmt: skip
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
