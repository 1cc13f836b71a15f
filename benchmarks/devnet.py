"""How fast the development chain makes blocks, on one core, beside the cost of encoding them alone.

    python benchmarks/devnet.py [--blocks 150]

Per profile: blocks and transitions per second of the chain alone (execution, nothing written), and
with every block encoded and appended to a log on disk; and the latter's cost in times of encoding
and appending blocks that were made before. The chain is warm: 60 blocks of it go by uncounted.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.log_writer import LogWriter
from sidecar.node.transitions import Block

WARM_BLOCKS = 60
PASSES = 5
PROFILES = {
    "40 actions a block": DevnetConfig("unused"),
    "400 actions a block": DevnetConfig("unused", actions_per_block=400),
    "--burst": DevnetConfig("unused", burst=True),
}


def main() -> None:
    """Prints a line a profile."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=150)
    blocks = parser.parse_args().blocks
    for name, config in PROFILES.items():
        alone = written = floor = float("inf")
        for _ in range(PASSES):
            gc.collect()
            seconds, made = execute(config, blocks)
            alone = min(alone, seconds)
            written = min(written, execute(config, blocks, write=True)[0])
            floor = min(floor, append(made))
        transitions = sum(len(block.transitions) for block in made)
        print(
            f"{name}: {transitions / blocks:,.0f} transitions a block; alone "
            f"{blocks / alone:,.0f} blocks/s, {transitions / alone:,.0f} transitions/s; with its "
            f"log {blocks / written:,.0f} blocks/s, {transitions / written:,.0f} transitions/s, "
            f"{written / floor:.1f} times the cost of encoding and appending alone"
        )


def execute(config: DevnetConfig, blocks: int, *, write: bool = False) -> tuple[float, list[Block]]:
    """Seconds for so many blocks of a warm chain, and the blocks."""
    chain = Chain(config)
    for _ in range(WARM_BLOCKS):
        chain.step()
    with tempfile.TemporaryDirectory() as directory:
        writer = LogWriter(Path(directory), config.chain, first_height=WARM_BLOCKS + 1)
        made = []
        began = time.perf_counter()
        for _ in range(blocks):
            block = chain.step()
            made.append(block)
            if write:
                writer.append(block)
        seconds = time.perf_counter() - began
        writer.close()
    return seconds, made


def append(made: list[Block]) -> float:
    """Seconds for encoding and appending blocks."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LogWriter(Path(directory), "bench", first_height=made[0].height) as writer,
    ):
        began = time.perf_counter()
        for block in made:
            writer.append(block)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
