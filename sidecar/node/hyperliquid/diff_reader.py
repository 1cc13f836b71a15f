"""Reads what moves books, and nothing else: one of the three streams, a tenth of a block's cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from sidecar.limits import HALF_LINE_QUIET_S
from sidecar.node.hyperliquid.draft import Draft
from sidecar.node.hyperliquid.files import HourlyFiles
from sidecar.node.hyperliquid.reader import DIFFS
from sidecar.node.hyperliquid.rows import read_diffs
from sidecar.node.hyperliquid.stream import Stream
from sidecar.node.transitions import BookAdded, BookChanged, BookRemoved

BookStep = BookAdded | BookChanged | BookRemoved


class DiffReader:
    """The steps of all books above a height, block by block, without waiting."""

    def __init__(self, data_dir: Path, *, after: int, markets: Mapping[str, int]) -> None:
        """`markets`: ids by symbol; new symbols are numbered behind them. The diffs have to name
        their sides, as all since mid-2025 do.
        """
        self.height = after
        self.markets = dict(markets)
        self._next_market = max(self.markets.values(), default=-1) + 1
        files = HourlyFiles(data_dir / DIFFS, quiet_s=HALF_LINE_QUIET_S)
        self._stream = Stream(files, read_diffs, after)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.files.close()

    def next_steps(self) -> list[BookStep] | None:
        """What the block after `height` did to books, or None while the node has not written it.

        Raises `LogCorrupt`, `LogGap` and `SourceMissing`; the reader stays where it was. O(diffs).
        """
        if not self._stream.fill():
            return None
        row = self._stream.row
        assert row is not None
        draft = Draft(self.markets, self._next_market)
        draft.add(row)
        self._stream.take()
        self.markets.update(draft.listed)
        self._next_market += len(draft.listed)
        self.height = row.height
        return [one for one in draft.transitions() if isinstance(one, BookStep)]
