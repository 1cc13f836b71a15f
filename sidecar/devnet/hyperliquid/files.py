"""The chain's blocks as the files of a Hyperliquid node that runs with --batch-by-block.

    <root>/node_fills_by_block/hourly/20260505/17             one file an hour, by the clock of the
           node_raw_book_diffs_by_block/hourly/20260505/17    writer; the hour is not padded
           node_order_statuses_by_block/hourly/20260505/17
           misc_events_by_block/hourly/20260505/17

    {"local_time": ..., "block_time": ..., "block_number": ..., "events": [...]}

One line a block in each, whether or not anything happened, in one write.
"""

import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from sidecar.devnet.hyperliquid.ledger import ledger_update
from sidecar.devnet.hyperliquid.rows import (
    NS_PER_S,
    SIDES,
    WireChange,
    WireDiff,
    WireFunding,
    WireNew,
    WireNewSize,
    WireSizes,
    WireUpdate,
    address_text,
    misc_event,
    time_text,
    wire_fills,
    wire_status,
)
from sidecar.errors import LogUnwritable
from sidecar.fixed import to_text
from sidecar.node.snapshot import RestingRow
from sidecar.node.transitions import (
    Block,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    FundingSettled,
    LedgerChanged,
    MarketListed,
    OrdersRefused,
    OrderStatus,
)

FILLS = "node_fills_by_block"
DIFFS = "node_raw_book_diffs_by_block"
STATUSES = "node_order_statuses_by_block"
MISC = "misc_events_by_block"
STREAMS = (FILLS, DIFFS, STATUSES, MISC)  # in the order in which the node writes them

_HOUR_NS = 3600 * NS_PER_S


class HyperliquidFiles:
    """Writes a chain's blocks below `root`; files that are there already are appended to."""

    def __init__(
        self,
        root: Path,
        listings: Iterable[MarketListed],
        resting: Iterable[RestingRow],
        *,
        local_time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`listings` and `resting`: the chain's markets and resting orders before the next block.

        `local_time_ns` is the clock of the node (ns since the epoch).
        """
        self.root = root
        self._events = _Events(listings, resting)
        self._clock = local_time_ns
        self._files = {stream: _HourFile(root / stream / "hourly") for stream in STREAMS}
        self._encode_into = msgspec.json.Encoder().encode_into
        self._buffer = bytearray()
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def write(self, block: Block) -> None:
        """Appends a line to each stream. Raises `LogUnwritable`, and from then on always.

        The streams may then differ by a line, and one may end in half a line, as when a node dies.
        O(transitions).
        """
        if self._broken:
            raise LogUnwritable("a write failed before; start again", path=self.root)
        block_time = time_text(block.time_ns)
        try:
            for stream, events in self._events.of(block).items():
                local_ns = self._clock()
                line = _Line(time_text(local_ns), block_time, block.height, events)
                self._encode_into(line, self._buffer)
                self._buffer += b"\n"
                self._files[stream].append(self._buffer, local_ns)
        except LogUnwritable:
            self._broken = True
            raise

    def close(self) -> None:
        """Closes the files. What was written is there without it."""
        for file in self._files.values():
            file.close()


class _Line(msgspec.Struct):
    local_time: str
    block_time: str
    block_number: int
    events: list[Any]


class _Resting(msgspec.Struct, gc=False):
    user: str
    coin: str
    side: str
    px: str
    sz: int


class _Events:
    """The events of one block after another. Knows what rests, as every diff repeats it."""

    def __init__(self, listings: Iterable[MarketListed], resting: Iterable[RestingRow]) -> None:
        self._symbols = {listing.market: listing.symbol for listing in listings}
        self._resting: dict[int, _Resting] = {}
        for row in resting:
            self._rest(row)
        self._time_ns = 0
        self._streams: dict[str, list[Any]] = {}
        self._funding: list[WireFunding] | None = None
        self._makers: dict[type, Callable[[Any], None]] = {
            MarketListed: self._listed,
            OrderStatus: self._status,
            OrdersRefused: self._refused,
            BookAdded: self._added,
            BookChanged: self._changed,
            BookRemoved: self._removed,
            Fill: self._fill,
            FundingSettled: self._funded,
            LedgerChanged: self._ledger,
        }

    def of(self, block: Block) -> dict[str, list[Any]]:
        """The events by stream, in the order of execution. O(transitions)."""
        self._time_ns = block.time_ns
        self._streams = {stream: [] for stream in STREAMS}
        self._funding = None
        makers = self._makers
        for transition in block.transitions:
            make = makers.get(type(transition))
            if make is not None:
                make(transition)
        return self._streams

    def _listed(self, listing: MarketListed) -> None:
        self._symbols[listing.market] = listing.symbol

    def _status(self, status: OrderStatus) -> None:
        coin = self._symbols[status.market]
        self._streams[STATUSES].append(wire_status(status, coin, self._time_ns))

    def _refused(self, refused: OrdersRefused) -> None:
        for status in refused.statuses():
            self._status(status)

    def _added(self, added: BookAdded) -> None:
        self._rest(added)
        new = WireNewSize(to_text(added.sz), added.before_oid or msgspec.UNSET)
        self._diff(added.oid, WireNew(new))

    def _changed(self, changed: BookChanged) -> None:
        resting = self._resting[changed.oid]
        before, resting.sz = resting.sz, changed.sz
        self._diff(changed.oid, WireUpdate(WireSizes(to_text(before), to_text(changed.sz))))

    def _removed(self, removed: BookRemoved) -> None:
        self._diff(removed.oid, "remove")
        del self._resting[removed.oid]

    def _rest(self, order: BookAdded | RestingRow) -> None:
        user, coin = address_text(order.user), self._symbols[order.market]
        px = to_text(order.px)
        self._resting[order.oid] = _Resting(user, coin, SIDES[order.side], px, order.sz)

    def _diff(self, oid: int, change: WireChange) -> None:
        of = self._resting[oid]
        self._streams[DIFFS].append(WireDiff(of.user, oid, of.coin, of.side, of.px, change))

    def _fill(self, fill: Fill) -> None:
        self._streams[FILLS] += wire_fills(fill, self._symbols[fill.market], self._time_ns)

    def _funded(self, settled: FundingSettled) -> None:
        if self._funding is None:
            self._funding = []
            event = misc_event("Funding", {"deltas": self._funding}, self._time_ns)
            self._streams[MISC].append(event)
        coin, rate = self._symbols[settled.market], to_text(settled.rate)
        self._funding += (
            WireFunding(address_text(user), coin, to_text(amount), to_text(position), rate)
            for user, position, amount in settled.payments
        )

    def _ledger(self, changed: LedgerChanged) -> None:
        update = ledger_update(changed, self._symbols)
        if update is not None:
            self._streams[MISC].append(misc_event("LedgerUpdate", update, self._time_ns))


class _HourFile:
    """One stream's file of the hour. A clock that steps back does not lead to an older one:
    readers are past it.
    """

    def __init__(self, hourly: Path) -> None:
        self._hourly = hourly
        self._path = hourly
        self._fd: int | None = None
        self._end_ns = 0  # of the hour

    def append(self, line: bytearray, local_ns: int) -> None:
        try:
            if self._fd is None or local_ns >= self._end_ns:
                self._fd = self._enter(local_ns)
            written = os.write(self._fd, line)
        except OSError as error:
            raise LogUnwritable(f"can't be written: {error.strerror}", path=self._path) from error
        if written < len(line):
            what = f"only {written} of {len(line)} bytes could be written: is the disk full?"
            raise LogUnwritable(what, path=self._path)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _enter(self, local_ns: int) -> int:
        self.close()
        when = datetime.fromtimestamp(local_ns // NS_PER_S, UTC)
        self._path = self._hourly / f"{when:%Y%m%d}" / str(when.hour)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._end_ns = local_ns - local_ns % _HOUR_NS + _HOUR_NS
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
