"""Run the development chain: five markets, synthetic traders, a block every 100 ms.

It writes the native log and snapshots into --path, where `sidecar serve --source-path` finds them,
and takes signed actions on submit.sock there. The same seed, flags and actions make the same chain;
started again on its directory it goes on where it was. docs/devnet.md has its rules.
"""

import argparse
import signal
from collections.abc import AsyncIterator

import anyio

from sidecar.cli.signals import end_signals
from sidecar.devnet.config import TRADERS, DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.devnet.producer import produce
from sidecar.telemetry.logs import LEVELS, configure_logs, get_log

_log = get_log("devnet")

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
    for kind, (least, most) in TRADERS.items():
        default = getattr(_DEFAULTS, kind)
        what = f"how many {kind} there are, {least} to {most}; default {default}"
        add(f"--{kind}", type=int, default=default, help=what)
    add("--burst", action="store_true", help="as busy as benchmarks need it")
    add(
        "--snapshot-blocks",
        type=int,
        default=_DEFAULTS.snapshot_blocks,
        help="a snapshot every so many blocks; default %(default)s",
    )
    add(
        "--prices-blocks",
        type=int,
        default=_DEFAULTS.prices_blocks,
        help="oracle and mark prices every so many blocks; default %(default)s",
    )
    add(
        "--funding-ms",
        type=int,
        default=_DEFAULTS.funding_ms,
        help="funding interval; default %(default)s, an hour",
    )
    add(
        "--move",
        action="append",
        default=[],
        metavar="MARKET:HEIGHT:PERCENT:BLOCKS",
        help="script the oracle: TOYOTA:600:-30:20 falls 30%% in 20 blocks; may be repeated",
    )
    add(
        "--hyperliquid",
        default=None,
        metavar="DIR",
        help="also write the blocks there as a Hyperliquid node does (by block)",
    )
    add(
        "--info-port",
        type=int,
        default=None,
        help="also answer fileSnapshot on this loopback port, as such a node does; 0: a free one",
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
        makers=options.makers,
        takers=options.takers,
        gamblers=options.gamblers,
        burst=options.burst,
        snapshot_blocks=options.snapshot_blocks,
        blocks=options.blocks,
        prices_blocks=options.prices_blocks,
        funding_ms=options.funding_ms,
        moves=tuple(Move.parse(move) for move in options.move),
        hyperliquid=options.hyperliquid,
        info_port=options.info_port,
    )
    anyio.run(_produce, config, backend_options={"use_uvloop": True})


async def _produce(config: DevnetConfig) -> None:
    """Produces until it is done, or until SIGINT or SIGTERM."""
    with end_signals() as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on, signals, tasks.cancel_scope)
            await produce(config)
            tasks.cancel_scope.cancel()


async def _end_on(signals: AsyncIterator[signal.Signals], everything: anyio.CancelScope) -> None:
    async for number in signals:
        _log.info("stopping", signal=number.name)
        everything.cancel()
