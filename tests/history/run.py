"""A history: a chain, two sidecars and clients that write down what they are told, while processes
are killed and stalled; then everything that was written is judged.

    python tests/history/run.py --seconds 3600 --seed 7 [--directory D] [--clients 12]

Deeds and faults follow from the seed, in this order; what they meet is up to the machine. Exits
with 1 and keeps the directory where a promise is broken.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/integration"))
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.history.chain_log import read_blocks
from tests.history.checker import check
from tests.history.contents import walk
from tests.history.journal import Journal
from tests.history.recorder import Recorder, World
from tests.history.stand import CALM_S, Stand
from tests.history.topics import LATEST, RESUMABLE, Topic, text_of
from tests.history.traffic import WALLETS, Traffic
from tests.history.violations import Violations
from tests.history.words import hex_of

COINS = ("TOYOTA", "SONY")
TRADERS_READ = 3
FIRST_BLOCKS = 10
ARCHIVE_S = 5.0


class Options(argparse.Namespace):
    """Of a run."""

    seconds: float
    seed: int
    clients: int
    block_ms: int
    pace: float
    faults: list[str]
    directory: Path | None


def topics_of(users: list[str]) -> list[Topic]:
    """All channels, several coins and users, in the ways that there are."""
    topics = [Topic("allMids"), Topic("status"), Topic("blocks")]
    for coin in COINS:
        topics += [Topic(kind, coin) for kind in ("trades", "l4Book", "bookDelta", "bbo")]
        topics += [Topic("activeAssetCtx", coin), Topic("l2Book", coin)]
        topics.append(Topic("l2Book", coin, (("nSigFigs", 3),)))
        topics.append(Topic("l2Book", coin, (("mantissa", 5), ("nLevels", 7), ("nSigFigs", 5))))
        topics += [Topic("candle", coin, (("interval", one),)) for one in ("1m", "5m", "1h")]
    for user in users:
        kinds = ("orderUpdates", "userEvents", "userFills", "userFundings", "openOrders")
        topics += [Topic(kind, user) for kind in kinds]
        topics += [Topic("userNonFundingLedgerUpdates", user), Topic("clearinghouseState", user)]
        topics.append(Topic("userFills", user, (("aggregateByTime", True),)))
        topics += [Topic("webData2", user), Topic("activeAssetData", f"{user}/{COINS[0]}")]
    return topics


def run(options: Options, directory: Path) -> tuple[Violations, Counter[str]]:
    """A run from its start to its verdict."""
    stand = Stand(directory, options.seed, options.block_ms, options.pace)
    try:
        records = Journal(directory)
        asyncio.run(_live(options, stand, records))
        records.close()
    finally:
        stand.close()
    found, seen = check(directory)
    for trouble in stand.troubles:
        found.add("process", trouble)
    seen.update({f"fault: {name}": count for name, count in stand.done.items()})
    return found, seen


async def _live(options: Options, stand: Stand, records: Journal) -> None:
    traffic = Traffic(stand.ipc.parent, options.seed, stand.servers)
    await asyncio.to_thread(traffic.fund)
    topics = topics_of(await asyncio.to_thread(_users, stand))
    world = World(stand.endpoints, topics)
    world.pace_s = options.pace
    clients = [Recorder(i, options.seed, world, records) for i in range(options.clients)]
    trading = asyncio.create_task(asyncio.to_thread(traffic.run))
    living = [asyncio.create_task(client.run()) for client in clients]
    try:
        await asyncio.to_thread(_trouble, options, stand)
        traffic.ending.set()
        await trading
        await asyncio.to_thread(_end, stand, world)
        world.ending.set()
        await asyncio.gather(*living)
    finally:
        traffic.ending.set()
        for task in living:
            task.cancel()


def _trouble(options: Options, stand: Stand) -> None:
    """Fault after fault, until the time is over and each has been there."""
    rng = random.Random(f"{options.seed}:trouble")
    end = time.monotonic() + options.seconds
    names = options.faults or list(stand.faults())
    for name in _shuffled(rng, names):
        _wait(stand, rng.uniform(1.0, 5.0) * options.pace)
        if time.monotonic() > end and len(stand.done) == len(names):
            return
        stand.do(name)


def _shuffled(rng: random.Random, names: list[str]) -> Iterator[str]:
    while True:
        yield from rng.sample(names, len(names))


def _wait(stand: Stand, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, ARCHIVE_S))
        stand.archive()


def _end(stand: Stand, world: World) -> None:
    """The chain ends; what each topic has to end with is known from its log."""
    stand.end_chain()
    directory = stand.ipc.parent
    names = [text_of(topic) for topic in world.topics if topic.kind in RESUMABLE | LATEST]
    heights = walk(read_blocks(directory / "log"), names)
    world.last_heights = {name: found[-1] for name, found in heights.items() if found}
    world.last_height = max(block.height for block in read_blocks(directory / "log"))


def _users(stand: Stand) -> list[str]:
    """Our own accounts, and some that trade by themselves."""
    deadline = time.monotonic() + CALM_S
    while True:
        stand.archive()
        blocks = list(read_blocks(stand.ipc.parent / "log"))
        legs = [
            leg[0]
            for block in blocks
            for tag, *fields in block.transitions
            for leg in (fields[-2:] if tag == 6 else ())
            if leg is not None
        ]
        traders = [hex_of(user) for user, _ in Counter(legs).most_common(TRADERS_READ)]
        if len(traders) == TRADERS_READ and len(blocks) > FIRST_BLOCKS:
            return [*(wallet.address.lower() for wallet in WALLETS), *traders]
        assert time.monotonic() < deadline, "nobody trades"
        time.sleep(0.1)


def main() -> int:
    """A run, and its figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of trouble")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--block-ms", type=int, default=100)
    parser.add_argument("--pace", type=float, default=0.4, help="seconds between deeds")
    parser.add_argument("--faults", nargs="*", default=[], help="by name; all by default")
    parser.add_argument("--directory", type=Path, help="a new one; kept")
    options = parser.parse_args(namespace=Options())
    directory = options.directory or Path(tempfile.mkdtemp(prefix="history-"))
    found, seen = run(options, directory)
    for name, count in sorted(seen.items()):
        sys.stdout.write(f"{name:32} {count:>12,}\n")
    for line in found.lines():
        sys.stdout.write(f"VIOLATION {line}\n")
    count = sum(found.counts.values())
    sys.stdout.write(f"seed {options.seed}, {options.seconds:.0f} s: {count} violations\n")
    (directory / "run.json").write_text(json.dumps({"seed": options.seed, "seen": seen}))
    if found or options.directory:
        sys.stdout.write(f"kept: {directory}\n")
    else:
        shutil.rmtree(directory)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
