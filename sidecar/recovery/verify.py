"""Compares the books that are served with a snapshot of the node, while blocks go on.

    node's snapshot   height 100   ─▶ copy of BTC at 100 ─ steps of 101 ... 187 ─▶ copy at 187
    node's diffs            101 ... 187, read from its files                        =? book at 187
    books served                                                    187

By the time the snapshot has been written and read, the books are some hundred blocks ahead of it.
They can't be taken back: a step that removed an order does not say where in the queue it was. So a
copy of each book, one after the other, is moved forward, by the node's diffs alone (a tenth of what
blocks cost), read a second time: the pipeline pays nothing for it. From there on the copy takes
each block's steps before it is compared further, so that the comparison need not be done at once.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import NamedTuple

import anyio

from sidecar.errors import NodeError, StateMismatch
from sidecar.limits import (
    VERIFY_CATCH_UP_BLOCKS_MAX,
    VERIFY_POLL_S,
    VERIFY_STEPS_MAX,
    VERIFY_WAIT_S,
)
from sidecar.node.hyperliquid import DiffReader, HyperliquidSnapshot
from sidecar.node.hyperliquid.diff_reader import BookStep
from sidecar.node.snapshot import RestingRow
from sidecar.state.book import Book
from sidecar.state.chain import ChainState
from sidecar.state.compare import BookCopy, Difference, compare_books

Breathe = Callable[[], Awaitable[None]]


class Verdict(NamedTuple):
    """What became of one coin, as of `height`; `orders` were compared.

    `difference` says that the book here is wrong. `doubt` says why there is nothing to compare
    with; then the book here may be right.
    """

    symbol: str
    height: int
    orders: int
    difference: Difference | None = None
    doubt: str | None = None


async def compare_snapshot(
    state: ChainState,
    snapshot: HyperliquidSnapshot,
    diffs: DiffReader,
    breathe: Breathe,
    skip: Callable[[str], bool] = lambda _: False,
) -> AsyncIterator[Verdict]:
    """A verdict on each coin that the snapshot or the state has, when it is known.

    `diffs` reads from the snapshot's height on, with its markets; whoever opened it closes it.
    The snapshot was asked for with users. `breathe` is awaited all along, and lets others run when
    it is time. `skip` says of a coin that it is not to be compared (it is known to be wrong, it is
    being rebuilt); it is asked again before a difference is told.

    Raises `NodeError`: the snapshot is broken, the files have a gap, they don't come up to the
    state's height in VERIFY_WAIT_S, or there is no keeping up. O(orders + diffs since).
    """
    comparison = _Comparison(state, snapshot, _Steps(diffs), breathe)
    await comparison.wait_for_state()
    for symbol in dict.fromkeys((*snapshot.symbols, *state.by_symbol)):
        if not skip(symbol):
            verdict = await comparison.of(symbol)
            if verdict is not None and not (verdict.difference and skip(symbol)):
                yield verdict
        comparison.forget(symbol)


class _Steps:
    """The steps of all books above the snapshot's height, kept for the coins to come."""

    def __init__(self, reader: DiffReader) -> None:
        self._reader = reader
        self._held = 0
        self._by_market: dict[int, deque[tuple[int, BookStep]]] = {}
        self._done: set[int] = set()

    @property
    def height(self) -> int:
        """Up to where they have been read."""
        return self._reader.height

    def market(self, symbol: str) -> int | None:
        """Its id in the steps, None for one that has not been seen."""
        return self._reader.markets.get(symbol)

    def read_block(self) -> bool:
        """The next block's; False while the node has not written it. Raises `NodeError`."""
        steps = self._reader.next_steps()
        if steps is None:
            return False
        for step in steps:
            if step.market not in self._done:
                held = self._by_market.setdefault(step.market, deque())
                held.append((self._reader.height, step))
                self._held += 1
        if self._held > VERIFY_STEPS_MAX:
            raise NodeError(f"over {VERIFY_STEPS_MAX} book steps since the snapshot: given up")
        return True

    def take(self, market: int) -> deque[tuple[int, BookStep]]:
        """Those of a market that it has not taken yet, to be taken out by the caller."""
        return self._by_market.setdefault(market, deque())

    def taken(self) -> None:
        """One was."""
        self._held -= 1

    def forget(self, market: int) -> None:
        """Nobody will take more of that market's."""
        self._done.add(market)
        self._held -= len(self._by_market.pop(market, ()))


class _Comparison:
    """One snapshot against one state."""

    def __init__(
        self, state: ChainState, snapshot: HyperliquidSnapshot, steps: _Steps, breathe: Breathe
    ) -> None:
        self._state = state
        self._snapshot = snapshot
        self._symbols = frozenset(snapshot.symbols)
        self._steps = steps
        self._breathe = breathe

    async def wait_for_state(self) -> None:
        """Until it has reached the snapshot's height: the node's files lag behind the node."""
        height, deadline = self._snapshot.height, anyio.current_time() + VERIFY_WAIT_S
        while self._state.height < height:
            if anyio.current_time() >= deadline:
                what = f"the node's files end below its snapshot's height for {VERIFY_WAIT_S:g} s"
                raise NodeError(what, height=height)
            await anyio.sleep(VERIFY_POLL_S)

    def forget(self, symbol: str) -> None:
        """This coin is done with."""
        market = self._steps.market(symbol)
        if market is not None:
            self._steps.forget(market)

    async def of(self, symbol: str) -> Verdict | None:
        """None where the book was replaced meanwhile, or the coin is nowhere but empty."""
        copy = BookCopy()
        if symbol not in self._symbols:
            return self._not_in_snapshot(copy, symbol)
        try:
            await self._fill(copy, symbol)
            await self._catch_up(copy, symbol)
            market = self._state.by_symbol.get(symbol)
            if market is None:
                return self._unlisted(copy, symbol)
            book, results = market.book, list[Difference | None]()
            for _ in _results(compare_books(book, copy.book), results):
                await self._breathe()
                if self._book(symbol) is not book:
                    return None
                await self._catch_up(copy, symbol)
        except StateMismatch as error:
            return self._doubt(copy, symbol, f"the node's snapshot and diffs disagree: {error}")
        (difference,) = results
        return Verdict(symbol, self._state.height, len(copy.book.orders), difference)

    async def _fill(self, copy: BookCopy, symbol: str) -> None:
        for row in self._snapshot.orders(symbol):
            if isinstance(row, RestingRow):
                copy.add(row)
            await self._breathe()

    async def _catch_up(self, copy: BookCopy, symbol: str) -> None:
        """Ends with the copy at the state's height in that very moment: nothing else has run
        since.
        """
        first = self._state.height
        while True:
            height = self._state.height
            if height - first > VERIFY_CATCH_UP_BLOCKS_MAX:
                raise NodeError("blocks come faster than they can be compared", height=height)
            await self._read_to(height)
            market = self._steps.market(symbol)
            if market is not None:
                await self._move(copy, market)
            if height == self._state.height:
                return

    async def _move(self, copy: BookCopy, market: int) -> None:
        steps = self._steps.take(market)
        while steps:
            _, step = steps.popleft()
            self._steps.taken()
            copy.apply(step)
            await self._breathe()

    async def _read_to(self, height: int) -> None:
        deadline = anyio.current_time() + VERIFY_WAIT_S
        while self._steps.height < height:
            if self._steps.read_block():
                await self._breathe()
            elif anyio.current_time() >= deadline:
                what = f"the node's book diffs did not come for {VERIFY_WAIT_S:g} s"
                raise NodeError(what, height=self._steps.height + 1)
            else:
                await anyio.sleep(VERIFY_POLL_S)

    def _book(self, symbol: str) -> Book | None:
        market = self._state.by_symbol.get(symbol)
        return None if market is None else market.book

    def _not_in_snapshot(self, copy: BookCopy, symbol: str) -> Verdict | None:
        """There is nothing to compare with, nor to rebuild the book from."""
        market = self._state.by_symbol.get(symbol)
        orders = market is not None and market.book.orders
        return self._doubt(copy, symbol, "not in the node's snapshot") if orders else None

    def _unlisted(self, copy: BookCopy, symbol: str) -> Verdict | None:
        """Empty books of coins that never had an order in the files are no news."""
        return self._doubt(copy, symbol, "not listed here") if copy.book.orders else None

    def _doubt(self, copy: BookCopy, symbol: str, doubt: str) -> Verdict:
        return Verdict(symbol, self._state.height, len(copy.book.orders), doubt=doubt)


def _results(
    comparison: Generator[None, None, Difference | None], results: list[Difference | None]
) -> Iterator[None]:
    results.append((yield from comparison))
