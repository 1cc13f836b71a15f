"""Reads blocks from the files of a Hyperliquid node that runs with --batch-by-block: three streams,
joined by height.

    statuses  ... [n-1] [n] [n+1]            a block is there when all three streams have its row;
    diffs     ... [n-1] [n]                  until then each stream is read one row ahead at most,
    fills     ... [n-1] [n] [n+1] [n+2]      so a stream that lags costs no memory, only time
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from sidecar.limits import HALF_LINE_QUIET_S
from sidecar.node.hyperliquid.draft import Draft
from sidecar.node.hyperliquid.files import HourlyFiles
from sidecar.node.hyperliquid.lines import Line
from sidecar.node.hyperliquid.rows import Row, read_diffs, read_fills, read_statuses
from sidecar.node.hyperliquid.stream import Stream
from sidecar.node.transitions import Block

STATUSES = "node_order_statuses_by_block"
DIFFS = "node_raw_book_diffs_by_block"
FILLS = "node_fills_by_block"
# In the order in which a block takes them: diffs may need the sides that statuses know.
_ROW_READERS: dict[str, Callable[[Line], Row]] = {
    STATUSES: read_statuses,
    DIFFS: read_diffs,
    FILLS: read_fills,
}
STREAMS = tuple(_ROW_READERS)


class HyperliquidReader:
    """Reads blocks above a height from a node's data directory, without waiting."""

    def __init__(
        self,
        data_dir: Path,
        *,
        after: int,
        markets: Mapping[str, int],
        quiet_s: float = HALF_LINE_QUIET_S,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`after`: the height of the last block that is already known, the snapshot's. `markets`:
        by symbol, those that the snapshot listed.
        """
        self.data_dir = data_dir
        self.height = after
        self.markets = dict(markets)
        self.statuses_unknown = 0  # status strings that this version does not know; they pass
        self._next_market = max(self.markets.values(), default=-1) + 1
        self._streams = [
            Stream(HourlyFiles(data_dir / name, quiet_s=quiet_s, clock=clock), read_row, after)
            for name, read_row in _ROW_READERS.items()
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        for stream in self._streams:
            stream.files.close()

    def directories(self) -> list[Path]:
        """The directories to watch for new blocks; some may not exist yet."""
        watched = (one for stream in self._streams for one in stream.files.directories())
        return [self.data_dir, *watched]

    def missing(self) -> list[Path]:
        """The stream directories in which the node has written nothing so far."""
        return [one.files.directory for one in self._streams if one.files.is_missing()]

    def is_at_head(self) -> bool:
        """Rows that the node writes again are skipped: there is nothing to tell it by."""
        return True

    def behind(self) -> list[Path]:
        """The stream directories without a row that another stream has: what the next block waits
        for.
        """
        if all(stream.row is None for stream in self._streams):
            return []
        return [one.files.directory for one in self._streams if one.row is None]

    @property
    def rows_reemitted(self) -> int:
        """Rows skipped because a restarted node wrote them again."""
        return sum(stream.rows_reemitted for stream in self._streams)

    @property
    def half_lines_dropped(self) -> int:
        """Lines that a dying node never finished."""
        return sum(one.half_lines_glued + one.files.half_lines_dropped for one in self._streams)

    def next_block(self) -> Block | None:
        """The block after `height`, or None while a stream has not got it.

        Raises `LogCorrupt`, `LogGap` and `SourceMissing` with file, offset and height; the reader
        stays where it was.
        """
        if not all([stream.fill() for stream in self._streams]):  # noqa: C419 - fill them all
            return None
        rows = [stream.row for stream in self._streams if stream.row is not None]
        _check_times(rows)
        draft = Draft(self.markets, self._next_market)
        for row in rows:
            draft.add(row)
        first = rows[0]
        written_ns = max(row.written_ns for row in rows)
        block = Block(first.height, first.time_ns, written_ns, draft.transitions())
        self._take(draft, block.height)
        return block

    def _take(self, draft: Draft, height: int) -> None:
        for stream in self._streams:
            stream.take()
        self.markets.update(draft.listed)
        self._next_market += len(draft.listed)
        self.statuses_unknown += draft.statuses_unknown
        self.height = height


def _check_times(rows: list[Row]) -> None:
    first = rows[0]
    for row in rows[1:]:
        if row.time_ns != first.time_ns:
            what = (
                f"block_time differs from that of {first.line.path} at offset {first.line.offset}"
            )
            raise row.line.corrupt(what, row.height)
