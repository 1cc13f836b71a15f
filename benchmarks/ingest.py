"""How fast blocks become state, beside the cost of decoding alone, in the same run.

    python benchmarks/ingest.py [--blocks 400] [--captured
    ../shared/fixtures/hyperliquid/btc-2026-05-05]

Native log: transitions per second through read + CRC + decode + apply, over msgspec decoding the
same payloads. Captured Hyperliquid files: events per second through read + join + decode + apply,
over a full typed msgspec decode of the same lines. Each figure is the best of several passes;
ratios are what to quote.
"""

import argparse
import gc
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.hyperliquid import HyperliquidReader, HyperliquidSnapshot
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.records import HEAD_BYTES, unpack_head
from sidecar.node.segments import list_segments
from sidecar.node.transitions import Logged
from sidecar.state.chain import ChainState

PASSES = 9
CAPTURED = Path("../shared/fixtures/hyperliquid/btc-2026-05-05")


def best_of(*works: Callable[[], Any]) -> list[float]:
    """Seconds of the fastest pass of each work; passes alternate, so that a noisy moment is shared.

    Garbage is collected before each pass and not during it.
    """
    best = [float("inf")] * len(works)
    for _ in range(PASSES):
        for index, work in enumerate(works):
            gc.collect()
            gc.disable()
            began = time.perf_counter()
            work()
            best[index] = min(best[index], time.perf_counter() - began)
            gc.enable()
    return best


def report(name: str, count: int, unit: str, seconds: float, floor: float, floor_name: str) -> None:
    """One line: rate, floor's rate, ratio."""
    print(
        f"{name}: {count} {unit}, {count / seconds:,.0f}/s; {floor_name} alone "
        f"{count / floor:,.0f}/s; ratio of cost {seconds / floor:.2f}"
    )


def native(blocks: int) -> None:
    """The development chain's burst profile."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory)
        count = write_native(log, blocks)
        payloads = list(read_payloads(log))
        decode = msgspec.msgpack.Decoder(tuple[int, int, int, list[Logged]]).decode

        def decode_only() -> None:
            for payload in payloads:
                decode(payload)

        def ingest() -> None:
            state = ChainState()
            with LogReader(log) as reader:
                while (block := reader.next_block()) is not None:
                    state.apply(block)

        ingested, decoded = best_of(ingest, decode_only)
        report("native log", count, "transitions", ingested, decoded, "decoding")


def write_native(log: Path, blocks: int) -> int:
    """Writes a burst log; returns its number of transitions."""
    chain = Chain(DevnetConfig(path=str(log), burst=True))
    count = 0
    with LogWriter(log, "bench") as writer:
        for _ in range(blocks):
            block = chain.step()
            count += len(block.transitions)
            writer.append(block)
    return count


def read_payloads(log: Path) -> list[bytes]:
    """The blocks' payloads, without the segment headers."""
    payloads = []
    for segment in list_segments(log):
        data, offset = segment.read_bytes(), 0
        while offset < len(data):
            length, _ = unpack_head(data[offset : offset + HEAD_BYTES])
            offset += HEAD_BYTES + length
            payloads.append(data[offset - length : offset])
    return [payload for payload in payloads if isinstance(msgspec.msgpack.decode(payload)[0], int)]


class _Order(msgspec.Struct, gc=False):
    coin: str
    side: str
    limitPx: str  # noqa: N815 - the wire's names, decoded as directly as can be
    sz: str
    oid: int
    timestamp: int
    triggerCondition: str  # noqa: N815
    isTrigger: bool  # noqa: N815
    triggerPx: str  # noqa: N815
    children: list[Any]
    isPositionTpsl: bool  # noqa: N815
    reduceOnly: bool  # noqa: N815
    orderType: str  # noqa: N815
    origSz: str  # noqa: N815
    tif: str | None
    cloid: str | None


class _Status(msgspec.Struct, gc=False):
    time: str
    user: str
    hash: str | None
    builder: Any
    status: str
    order: _Order


class _Diff(msgspec.Struct, gc=False):
    user: str
    oid: int
    coin: str
    side: str
    px: str
    raw_book_diff: dict[str, Any] | str


Event = TypeVar("Event")


class _Row(msgspec.Struct, Generic[Event]):
    local_time: str
    block_time: str
    block_number: int
    events: list[Event]


def captured(source: Path) -> None:
    """The 51 captured mainnet blocks."""
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(next(source.glob("by_block*.tar.gz"))) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(directory)
        data = Path(directory) / "hl" / "data"
        lines = {
            kind: path.read_bytes().splitlines()
            for kind in ("order_statuses", "raw_book_diffs", "fills")
            for path in (data / f"node_{kind}_by_block").glob("hourly/*/*")
        }
        decoders: dict[str, Callable[[bytes], _Row[Any]]] = {
            "order_statuses": msgspec.json.Decoder(_Row[_Status]).decode,
            "raw_book_diffs": msgspec.json.Decoder(_Row[_Diff]).decode,
            "fills": msgspec.json.Decoder(_Row[tuple[str, dict[str, Any]]]).decode,
        }
        count = sum(len(decoders[kind](line).events) for kind in lines for line in lines[kind])

        def decode_only() -> None:
            for kind, decode in decoders.items():
                for line in lines[kind]:
                    decode(line)

        snapshot = HyperliquidSnapshot(next(source.glob("snapshot_*.json.gz")))
        states = []
        for _ in range(PASSES):
            state = ChainState()
            state.restore(snapshot.height, 0, snapshot.rows())
            states.append(state)

        def ingest() -> None:
            state = states.pop()
            reader = HyperliquidReader(data, after=snapshot.height, markets=snapshot.markets)
            while (block := reader.next_block()) is not None:
                state.apply(block)
            reader.close()
            assert state.height == 985148232, state.height

        name = "full typed decoding"
        ingested, decoded = best_of(ingest, decode_only)
        report("captured files", count, "events", ingested, decoded, name)


def main() -> None:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=400, help="of the native log")
    parser.add_argument("--captured", type=Path, default=CAPTURED, help="captured node files")
    options = parser.parse_args()
    native(options.blocks)
    if options.captured.is_dir():
        captured(options.captured)
    else:
        print(f"captured files: not measured, {options.captured} is not here")


if __name__ == "__main__":
    main()
