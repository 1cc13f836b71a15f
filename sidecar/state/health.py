"""How far what is served can be trusted now: for the feed as a whole, and for each market.

    live         blocks come, and nothing is known to be wrong
    stale        no block for longer than the bound
    behind       blocks come, but they are older than the bound: the node lags, or a clock is wrong
    gap          the log can't be read on: a height is missing, or a record is corrupt
    resyncing    known to be wrong; it is being rebuilt from a snapshot and the log behind it

The worst of them that holds is what is said, in the order gap, resyncing, stale, behind, live.
"""

from collections.abc import Iterator

import msgspec

from sidecar.state.chain import ChainState
from sidecar.state.faults import Fault

LIVE, STALE, BEHIND, GAP, RESYNCING = "live", "stale", "behind", "gap", "resyncing"
NS_PER_S = 1_000_000_000


class Condition(msgspec.Struct, frozen=True):
    """One of the states above; `height` is the last block before it became so."""

    state: str
    reason: str = ""
    height: int = 0


class Bounds(msgspec.Struct, frozen=True):
    """What is still live, in ns: the silence between blocks, and the age of the newest block."""

    stale_ns: int
    behind_ns: int


class Health:
    """The conditions of the feed and of the markets. The clocks are its caller's."""

    def __init__(self, state: ChainState, bounds: Bounds) -> None:
        self.feed = Condition(RESYNCING, "starting", state.height)
        self.age_ns = 0  # wall clock less consensus time of the newest block, when last observed
        self._state = state
        self.bounds = bounds
        self._broken: Condition | None = None
        self._block_at_ns: int | None = None  # monotonic

    @property
    def live(self) -> bool:
        """Whether everything is."""
        return self.feed.state == LIVE and not self._state.faults

    def books_withheld(self) -> int:
        """How many are known to be wrong. O(markets)."""
        return sum(market.fault is not None for market in self._state.markets.values())

    def coins(self) -> Iterator[tuple[str, Condition]]:
        """The markets that are not as live as the feed, by symbol."""
        for market_id, fault in self._state.faults.books.items():
            yield self._state.markets[market_id].symbol, _resyncing(fault)

    def accounts(self) -> Iterator[tuple[bytes, Condition]]:
        """The accounts that are known to be wrong, by address."""
        for address, fault in self._state.faults.accounts.items():
            yield address, _resyncing(fault)

    def label(self, market: int | None) -> str | None:
        """What messages of a market (None: of none) carry as `state`; None while live. O(1)."""
        if self.feed.state != LIVE:
            return self.feed.state
        return None if self._state.faults.of_book(market) is None else RESYNCING

    def break_feed(self, state: str, reason: str) -> None:
        """The log can't be read on, or all that was read is wrong, until `mend_feed`."""
        wrong = self._state.faults.everything
        height = self._state.height if wrong is None else wrong.height - 1
        self._broken = Condition(state, reason, height)
        self.feed = self._broken

    def mend_feed(self) -> None:
        """It can."""
        self._broken = None

    def note_block(self, monotonic_ns: int, wall_ns: int, time_ns: int) -> None:
        """A block of that consensus time comes, at that time by both clocks."""
        self._block_at_ns = monotonic_ns
        self.age_ns = wall_ns - time_ns
        self._set(self._judge(0))

    def observe(self, monotonic_ns: int, wall_ns: int) -> None:
        """Looks at the clocks while no block comes."""
        if self._block_at_ns is None:
            self._block_at_ns = monotonic_ns
        if self._state.time_ns:
            self.age_ns = wall_ns - self._state.time_ns
        self._set(self._judge(monotonic_ns - self._block_at_ns))

    def _set(self, condition: Condition) -> None:
        if self._broken is None and condition.state != self.feed.state:
            self.feed = condition

    def _judge(self, silence_ns: int) -> Condition:
        height, bounds = self._state.height, self.bounds
        if silence_ns > bounds.stale_ns:
            bound_s = bounds.stale_ns / NS_PER_S
            return Condition(STALE, f"the node has written no block for {bound_s:g} s", height)
        if self.age_ns > bounds.behind_ns:
            bound_s = bounds.behind_ns / NS_PER_S
            return Condition(BEHIND, f"the newest block is older than {bound_s:g} s", height)
        return Condition(LIVE, "", height)


def _resyncing(fault: Fault) -> Condition:
    return Condition(RESYNCING, fault.what, fault.height - 1)
