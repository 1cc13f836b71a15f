"""How long a start takes, beside what msgspec alone needs to decode the same bytes; what a
checkpoint costs the running pipeline.

    python benchmarks/recovery.py [--orders 500000] [--blocks 10000]

Builds a node's snapshot of 50 markets and a log behind it, then measures in processes of their own:
time to ready (restore and the log's tail) and peak memory, from the snapshot and from an own
checkpoint of the same state; the pause of the fork, and blocks applied while the child writes.
Ratios are what to quote. Progress is on stderr.
"""

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec

from sidecar.checkpoints import CHECKPOINTS, Checkpoints, open_directory
from sidecar.garbage import settle
from sidecar.node.block_records import decode_block
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.records import HEAD_BYTES, unpack_head
from sidecar.node.row_files import RowDirectory, RowFormat
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import (
    FORMAT,
    SNAPSHOTS,
    AccountRow,
    MarketRow,
    RestingRow,
    Row,
    SnapshotHeader,
    write_snapshot,
)
from sidecar.node.source import open_source
from sidecar.node.starts import Start
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    Leg,
    MarketListed,
    OrderStatus,
    PricesUpdated,
    Transition,
)
from sidecar.recovery import recover as recovery
from sidecar.settings import CheckpointSettings, SourceSettings
from sidecar.state.chain import ChainState
from sidecar.telemetry.logs import configure_logs

MARKETS, USERS, LEVELS = 50, 20_000, 500  # levels a side
ACTIONS = 30  # of a block: about 70 transitions
HEIGHT, CHAIN = 1_000_000, "synthetic"
TIME_NS, BLOCK_NS = 1_767_225_600 * 10**9, 100_000_000
UNIT = 10**8
MB = 1 << 20


class Resting:
    """A resting order of the synthetic exchange."""

    __slots__ = ("oid", "px", "side", "status", "sz")

    def __init__(self, status: OrderStatus) -> None:
        self.oid, self.side, self.status = status.oid, status.side, status
        self.px, self.sz = status.limit_px, status.sz


class Synthetic:
    """An exchange that never checks anything: books deep and busy at their best price, positions
    that follow from the fills.
    """

    def __init__(self, orders: int) -> None:
        self.random = random.Random(7)
        self.users = [self.random.randbytes(20) for _ in range(USERS)]
        self.oid, self.tid, self.time_ns = 10**10, 10**9, TIME_NS
        self.positions: dict[tuple[bytes, int], int] = {}
        self.resting: list[list[Resting]] = []
        self.best: dict[tuple[int, int], dict[int, Resting]] = {}
        for market in range(MARKETS):
            self.resting.append([])
            for side in (BID, ASK):
                self.best[market, side] = {}
                for number in range(orders // MARKETS // 2):
                    self.rest(market, side, number * LEVELS // (orders // MARKETS // 2))

    def rest(self, market: int, side: int, level: int) -> Resting:
        """A new order, `level` ticks behind the best price."""
        chance, tick, mid = self.random, UNIT // 100, (100 + market) * UNIT
        px = mid - tick * (level + 1) if side == BID else mid + tick * (level + 1)
        self.oid += chance.randint(1, 50)
        sz = chance.randint(1, 5_000) * UNIT // 1000
        cloid = chance.randbytes(16) if chance.random() < 0.7 else None
        order = Resting(
            OrderStatus(
                self.oid, chance.choice(self.users), market, side, px, sz, sz,
                chance.choice(("Alo", "Gtc")), False, None, cloid, "open",
                self.time_ns, self.time_ns, "Limit", chance.randbytes(32),
            )
        )  # fmt: skip
        self.resting[market].append(order)
        if level == 0:
            self.best[market, side][order.oid] = order
        return order

    def rows(self) -> Iterator[Row]:
        """The exchange as it is before its first block."""
        for market in range(MARKETS):
            listing = MarketListed(market, f"COIN{market}", 3, 20)
            yield MarketRow(listing, (100 + market) * UNIT, (100 + market) * UNIT, HEIGHT, HEIGHT)
            for order in self.resting[market]:
                status = order.status
                yield RestingRow(
                    market, order.oid, status.user, order.side, order.px, order.sz,
                    status.placed_ns, status,
                )  # fmt: skip
        for user in self.users:
            yield AccountRow(user, self.random.randint(1, 10**6) * UNIT)

    def block(self, height: int) -> Block:
        """Orders placed, cancelled and filled; now and then new prices."""
        self.time_ns += BLOCK_NS
        out: list[Transition] = []
        if height % 5 == 0:
            prices = tuple((m, (100 + m) * UNIT, (100 + m) * UNIT) for m in range(MARKETS))
            out.append(PricesUpdated(prices))
        for _ in range(ACTIONS):
            act = self.random.choices((self.place, self.cancel, self.trade), (48, 45, 7))[0]
            act(self.random.randrange(MARKETS), out)
        return Block(height, self.time_ns, self.time_ns, out)

    def place(self, market: int, out: list[Transition]) -> None:
        side, level = self.random.randint(0, 1), min(int(self.random.expovariate(0.05)), LEVELS - 1)
        order = self.rest(market, side, level)
        out.append(order.status)
        out.append(BookAdded(market, order.oid, order.status.user, side, order.px, order.sz))

    def cancel(self, market: int, out: list[Transition]) -> None:
        orders = self.resting[market]
        index = self.random.randrange(len(orders))
        order, orders[index] = orders[index], orders[-1]
        orders.pop()
        self.best[market, order.side].pop(order.oid, None)
        out.append(BookRemoved(market, order.oid))
        if order.sz:
            out.append(self.later(order, "canceled"))

    def trade(self, market: int, out: list[Transition]) -> None:
        """Somebody takes a part of the first order at the best price."""
        side = self.random.randint(0, 1)
        queue = self.best[market, side]
        maker = next((order for order in queue.values() if order.sz), None)
        if maker is None:
            queue.clear()
            return
        sz = min(maker.sz, self.random.randint(1, 2_000) * UNIT // 1000)
        taker = self.random.choice(self.users)
        self.oid, self.tid = self.oid + 1, self.tid + 1
        resting, taking = (
            self.leg(maker.status.user, maker.oid, market, sz if side == BID else -sz),
            self.leg(taker, self.oid, market, -sz if side == BID else sz),
        )
        buyer, seller = (resting, taking) if side == BID else (taking, resting)
        tx = self.random.randbytes(32)
        out.append(Fill(self.tid, market, maker.px, sz, 1 - side, tx, buyer, seller))
        out.append(BookChanged(market, maker.oid, maker.sz - sz, maker.sz))
        maker.sz -= sz
        if not maker.sz:
            del queue[maker.oid]
            out.append(self.later(maker, "filled"))

    def leg(self, user: bytes, oid: int, market: int, change: int) -> Leg:
        before = self.positions.get((user, market), 0)
        self.positions[user, market] = before + change
        return Leg(user, oid, None, before, 0, 100, None, "Open Long")

    def later(self, order: Resting, status: str) -> OrderStatus:
        return msgspec.structs.replace(
            order.status, status=status, sz=order.sz, time_ns=self.time_ns, hash=None
        )


def build(directory: Path, orders: int, blocks: int) -> dict[str, Any]:
    """The snapshot and the log behind it."""
    exchange, ipc = Synthetic(orders), IpcDirectory(directory / "ipc")
    ipc.create(CHAIN, TIME_NS, 100)
    header = SnapshotHeader(FORMAT, CHAIN, HEIGHT, TIME_NS)
    path = write_snapshot(ipc.snapshots, header, exchange.rows())
    transitions = size = 0
    with LogWriter(ipc.log, CHAIN, first_height=HEIGHT + 1) as writer:
        for height in range(HEIGHT + 1, HEIGHT + 1 + blocks):
            block = exchange.block(height)
            transitions += len(block.transitions)
            size += writer.append(block)
    return {"snapshot_mb": path.stat().st_size / MB, "log_mb": size / MB, "count": transitions}


def start_and_follow(directory: Path, own: RowDirectory[Any] | None) -> dict[str, Any]:
    """From nothing to the head of the log."""
    before = memory("VmRSS")
    began = time.perf_counter()
    start, state = take(directory, own)
    restored = time.perf_counter()
    held, peak = memory("VmRSS") - before, memory("VmHWM") - before
    follow(start, state)
    return {
        "origin": start.origin,
        "restore_s": restored - began,
        "ready_s": time.perf_counter() - began,
        "height": state.height,
        "state_mb": held,
        "peak_ratio": peak / held,
        "peak_at_head_ratio": (memory("VmHWM") - before) / held,
        "orders": sum(len(market.book.orders) for market in state.markets.values()),
    }


def take(directory: Path, own: RowDirectory[Any] | None) -> tuple[Start, ChainState]:
    async def recover() -> tuple[Start, ChainState]:
        origin = await open_source(SourceSettings(path=str(directory / "ipc")), own)
        return await recovery.recover(origin.starts())

    return anyio.run(recover)


def follow(start: Start, state: ChainState) -> None:
    while (block := start.reader.next_block()) is not None:
        state.apply(block)
    start.reader.close()


def from_snapshot(directory: Path) -> dict[str, Any]:
    return start_and_follow(directory, None)


def from_checkpoint(directory: Path) -> dict[str, Any]:
    return start_and_follow(directory, checkpoints(directory))


def checkpoints(directory: Path) -> RowDirectory[Any]:
    opened = open_directory(CheckpointSettings(str(directory / "checkpoints")))
    assert opened is not None
    return opened


def decode_snapshot(directory: Path) -> dict[str, Any]:
    return decode(directory, SNAPSHOTS, directory / "ipc" / "snapshots")


def decode_checkpoint(directory: Path) -> dict[str, Any]:
    return decode(directory, CHECKPOINTS, directory / "checkpoints")


def decode(directory: Path, form: RowFormat[Any], rows: Path) -> dict[str, Any]:
    """msgspec alone over the payloads, which are in memory."""
    chunks = payloads(form.list(rows)[0])[1:-1]
    blocks = [
        one for path in list_segments(directory / "ipc" / "log") for one in payloads(path)[1:]
    ]
    gc.disable()
    began = time.perf_counter()
    for chunk in chunks:
        form.decode_chunk(chunk)
    decoded = time.perf_counter()
    for block in blocks:
        decode_block(block)
    return {"rows_s": decoded - began, "decode_s": time.perf_counter() - began}


def payloads(path: Path) -> list[bytes]:
    data, offset, found = path.read_bytes(), 0, []
    while offset < len(data):
        length, _ = unpack_head(data[offset : offset + HEAD_BYTES])
        offset += HEAD_BYTES + length
        found.append(data[offset - length : offset])
    return found


def write_beside(directory: Path) -> dict[str, Any]:
    """A checkpoint of the restored state, written by a child while blocks are applied."""
    start, state = take(directory, None)
    kept = Checkpoints(checkpoints(directory), start, state, blocks=1)
    began = time.perf_counter()
    child = kept._fork()  # noqa: SLF001 - what is measured
    forked = time.perf_counter()
    private: list[tuple[float, float]] = []

    def writing() -> bool:
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not ended and len(private) < (time.perf_counter() - forked) / 0.25:
            with suppress(OSError):  # it may have ended by now
                private.append((dirty(child), dirty(os.getpid())))
        return not ended

    beside, count = apply(start, state, writing)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, status
    seconds = time.perf_counter() - forked
    until = state.height + 1_000
    alone, _ = apply(start, state, lambda: state.height < until)
    start.reader.close()
    settle()
    frozen = seconds_of(gc.collect)
    gc.unfreeze()
    gc.collect()
    return {
        "fork_ms": (forked - began) * 1e3,
        "child_s": seconds,
        "child_cpu_s": usage.ru_utime + usage.ru_stime,
        "size_mb": kept._file(start.height).stat().st_size / MB,  # noqa: SLF001
        "apply_alone_us": alone * 1e6,
        "apply_beside_us": beside * 1e6,
        "blocks_beside": count,
        "child_private_mb": max((one for one, _ in private), default=0.0),
        "parent_rss_mb": memory("VmRSS"),
        "collect_frozen_ms": frozen * 1e3,
        "collect_unfrozen_ms": seconds_of(gc.collect) * 1e3,
    }


def apply(start: Start, state: ChainState, going: Callable[[], bool]) -> tuple[float, int]:
    """Mean seconds a block, and how many, until there are no more or it is time to stop."""
    spent, count = 0.0, 0
    while going() and (block := start.reader.next_block()) is not None:
        began = time.perf_counter()
        state.apply(block)
        spent += time.perf_counter() - began
        count += 1
    return spent / max(count, 1), count


def restore_collecting(directory: Path) -> dict[str, Any]:
    """What leaving the garbage collector on would cost."""
    recovery._uncollected = nullcontext  # type: ignore[assignment]  # noqa: SLF001
    return {"restore_s": seconds_of(lambda: take(directory, None))}


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def memory(key: str) -> float:
    """MB, of this process alone: ru_maxrss would begin with that of whoever started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(key)) / 1024


def dirty(pid: int) -> float:
    """MB of pages of a process that nobody shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


MEASURES: tuple[Callable[[Path], dict[str, Any]], ...] = (
    from_snapshot,
    decode_snapshot,
    restore_collecting,
    write_beside,
    from_checkpoint,
    decode_checkpoint,
)


def in_its_own_process(name: str, directory: Path, *more: str) -> dict[str, Any]:
    began = time.perf_counter()
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    command = (sys.executable, __file__, "--measure", name, "--path", str(directory), *more)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout
    print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured


def report(built: dict[str, Any], found: dict[str, dict[str, Any]]) -> None:
    print(
        f"{found['from_snapshot']['orders']} resting orders at the head; snapshot "
        f"{built['snapshot_mb']:.0f} MB, tail {built['log_mb']:.0f} MB of {built['count']} "
        "transitions"
    )
    for origin in ("snapshot", "checkpoint"):
        ready, alone = found[f"from_{origin}"], found[f"decode_{origin}"]
        assert ready["origin"] == origin, ready
        print(
            f"start from {origin}: ready in {ready['ready_s']:.2f} s (restore "
            f"{ready['restore_s']:.2f} s), msgspec alone {alone['decode_s']:.2f} s (rows "
            f"{alone['rows_s']:.2f} s): ratio {ready['ready_s'] / alone['decode_s']:.1f}; state "
            f"{ready['state_mb']:.0f} MB, peak of the restore {ready['peak_ratio']:.2f} times that"
        )
    assert found["from_snapshot"]["height"] == found["from_checkpoint"]["height"]
    beside = found["write_beside"]
    print(
        f"checkpoint: fork {beside['fork_ms']:.1f} ms, {beside['size_mb']:.0f} MB in "
        f"{beside['child_s']:.2f} s (cpu {beside['child_cpu_s']:.2f} s); a block "
        f"{beside['apply_beside_us']:.0f} us beside it, {beside['apply_alone_us']:.0f} us alone; "
        f"the child's own pages {beside['child_private_mb']:.0f} MB beside a process of "
        f"{beside['parent_rss_mb']:.0f} MB"
    )
    print(
        f"garbage collection: restore with it on {found['restore_collecting']['restore_s']:.2f} s; "
        f"a full collection {beside['collect_frozen_ms']:.0f} ms with the state frozen, "
        f"{beside['collect_unfrozen_ms']:.0f} ms else"
    )


def main() -> None:
    """Builds, then every measure in its turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=500_000, help="resting in the snapshot")
    parser.add_argument("--blocks", type=int, default=10_000, help="of the log behind it")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    configure_logs("error", "text")
    if options.measure == "build":
        print(json.dumps(build(options.path, options.orders, options.blocks)))
    elif options.measure:
        measure = next(one for one in MEASURES if one.__name__ == options.measure)
        print(json.dumps(measure(options.path)))
    else:
        with tempfile.TemporaryDirectory(prefix="sidecar-recovery-") as name:
            sizes = (f"--orders={options.orders}", f"--blocks={options.blocks}")
            built = in_its_own_process("build", Path(name), *sizes)
            found = {one.__name__: in_its_own_process(one.__name__, Path(name)) for one in MEASURES}
        report(built, found)


if __name__ == "__main__":
    main()
