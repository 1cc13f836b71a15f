"""Makes the seeds of `fuzz/corpus` from a development chain's own output. What real nodes
wrote is read where it is when a target runs, and is not kept.

    python fuzz/make_corpus.py            seeds of all targets
    python fuzz/make_corpus.py http       of one

`fuzz/minimise.py` then keeps what is worth keeping of these and of what a run found.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import seeds_hyperliquid
import seeds_node
import seeds_peers
from targets import NAMES

CORPUS = Path(__file__).parent / "corpus"
SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    **seeds_peers.SEEDS,
    **seeds_node.SEEDS,
    **seeds_hyperliquid.SEEDS,
}


def main() -> None:
    """All targets, or those that are named."""
    for name in sys.argv[1:] or NAMES:
        directory = CORPUS / name
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("seed-*"):
            old.unlink()
        for number, seed in enumerate(SEEDS[name]()):
            (directory / f"seed-{number:02d}").write_bytes(seed)


if __name__ == "__main__":
    main()
