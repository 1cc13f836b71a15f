"""Run the development chain: five markets, synthetic traders, a block every 100 ms.

It writes the native log and snapshots into --path, where `sidecar serve --source-path` finds them.
The same seed and flags make the same chain; started again on its directory it goes on where it was.
"""

import argparse

import anyio

from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.producer import produce
from sidecar.telemetry.logs import LEVELS, configure_logs

_DEFAULTS = DevnetConfig(path="ipc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What shapes the chain."""
    add = parser.add_argument
    add("--path", default=_DEFAULTS.path, help="IPC directory to write; default %(default)s")
    add("--seed", type=int, default=_DEFAULTS.seed, help="of all randomness; default %(default)s")
    add(
        "--block-ms",
        type=int,
        default=_DEFAULTS.block_ms,
        help="block interval; default %(default)s",
    )
    add(
        "--actions-per-block",
        type=int,
        default=_DEFAULTS.actions_per_block,
        help="how busy the traders are; default %(default)s",
    )
    add("--burst", action="store_true", help="as busy as benchmarks need it")
    add(
        "--snapshot-blocks",
        type=int,
        default=_DEFAULTS.snapshot_blocks,
        help="a snapshot every so many blocks; default %(default)s",
    )
    add("--blocks", type=int, default=None, help="stop after so many blocks; default: never")
    add("--log-level", choices=tuple(LEVELS), default="info", help="default %(default)s")


def run(options: argparse.Namespace) -> None:
    """Produces blocks until interrupted."""
    configure_logs(options.log_level, "auto")
    config = DevnetConfig(
        path=options.path,
        seed=options.seed,
        block_ms=options.block_ms,
        actions_per_block=options.actions_per_block,
        burst=options.burst,
        snapshot_blocks=options.snapshot_blocks,
        blocks=options.blocks,
    )
    anyio.run(produce, config, backend_options={"use_uvloop": True})
