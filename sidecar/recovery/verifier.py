"""Compares all books with a snapshot of a Hyperliquid node, now and then, off the hot path.

A book that differs is marked, and so rebuilt from that very snapshot.
"""

from contextlib import closing

import anyio

from sidecar.errors import NodeError
from sidecar.node.hyperliquid.origin import HyperliquidOrigin
from sidecar.recovery.slices import Slices
from sidecar.recovery.verify import Verdict, compare_snapshot
from sidecar.state.chain import ChainState
from sidecar.state.faults import BOOK
from sidecar.telemetry.logs import get_log

_log = get_log("recovery")


class Verifier:
    """Counts what it compared: `books`, and of them `differences` and `doubts`."""

    def __init__(self, state: ChainState, origin: HyperliquidOrigin, interval_s: float) -> None:
        self.books = 0
        self.differences = 0
        self.doubts = 0
        self._state = state
        self._origin = origin
        self._interval_s = interval_s

    async def run(self) -> None:
        """For ever, one comparison after another."""
        while True:
            await anyio.sleep(self._interval_s)
            try:
                await self._compare()
            except NodeError as error:
                _log.warning("books not compared", reason=str(error))

    async def _compare(self) -> None:
        state, origin = self._state, self._origin
        origin.know({market.symbol: market.id for market in state.markets.values()})
        snapshot = await origin.take()
        before = self.books
        with closing(origin.diffs(snapshot)) as diffs:
            verdicts = compare_snapshot(state, snapshot, diffs, Slices().breathe, self._is_wrong)
            async for verdict in verdicts:
                self._note(verdict)
        _log.info("books compared", height=snapshot.height, books=self.books - before)

    def _is_wrong(self, symbol: str) -> bool:
        market = self._state.by_symbol.get(symbol)
        return market is not None and market.fault is not None

    def _note(self, verdict: Verdict) -> None:
        self.books += 1
        if verdict.doubt is not None:
            self.doubts += 1
            _log.warning("book not compared", coin=verdict.symbol, reason=verdict.doubt)
            return
        self._state.faults.checked[BOOK] += 1
        if verdict.difference is not None:
            self.differences += 1
            what = f"the node's snapshot differs: {verdict.difference}"
            _log.error("book differs", coin=verdict.symbol, height=verdict.height, reason=what)
            self._state.mark_book(self._state.by_symbol[verdict.symbol], what)
