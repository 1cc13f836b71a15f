"""Rebuilds the books and accounts that are known to be wrong, while the others go on.

    fault found  ─▶  newest snapshot below it, that part only  ─▶  the log behind it  ─▶  adopted

A start that shows the fault again (a checkpoint that was written after the damage was done) is
given up for the next older one. Where none is good the part stays marked, and a newer snapshot of
the node is waited for.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing

import anyio

from sidecar.errors import NodeError, SidecarError
from sidecar.limits import REBUILD_POLL_S, REBUILD_RETRY_MAX_S, REBUILD_RETRY_S
from sidecar.node.starts import Origin, Start
from sidecar.recovery.replica import Replica
from sidecar.recovery.scope import Scope
from sidecar.recovery.slices import Slices
from sidecar.state.chain import ChainState
from sidecar.state.faults import ACCOUNT, BOOK, Fault
from sidecar.telemetry.logs import get_log

_log = get_log("recovery")

Repaired = Callable[[Scope, int, str], None]  # what, the height that showed it, the first reason


class Repairer:
    """Watches `state.faults` and mends what is in there."""

    def __init__(self, state: ChainState, origin: Origin, on_repaired: Repaired) -> None:
        """`on_repaired` is told in the moment of the adoption."""
        self.repairs: Counter[str] = Counter()  # by part
        self.failures = 0
        self._state = state
        self._origin = origin
        self._on_repaired = on_repaired

    async def run(self) -> None:
        """For ever."""
        retry_s = REBUILD_RETRY_S
        while True:
            faults = self._state.faults
            if not (faults.books or faults.accounts) or faults.everything:
                await anyio.sleep(REBUILD_POLL_S)
                retry_s = REBUILD_RETRY_S
            elif not await self._repair(dict(faults.books), dict(faults.accounts)):
                self.failures += 1
                _log.warning("not repaired", retry_s=retry_s)
                await anyio.sleep(retry_s)
                retry_s = min(2 * retry_s, REBUILD_RETRY_MAX_S)
                await refresh(self._origin, self._state)

    async def _repair(self, books: dict[int, Fault], accounts: dict[bytes, Fault]) -> bool:
        """True if anything was mended."""
        for fault, what in _described(self._state, books, accounts):
            _log.error("contradiction found", what=what, height=fault.height, reason=fault.what)
        try:
            for start in self._origin.starts(self._state.height):
                with closing(start.reader):
                    if await self._mend(start, books, accounts):
                        return True
        except NodeError as error:
            _log.warning("no place to start from", reason=str(error))
        return False

    async def _mend(
        self, start: Start, books: dict[int, Fault], accounts: dict[bytes, Fault]
    ) -> bool:
        """True if anything was mended from that start."""
        try:
            replica = await self._rebuild(start, Scope(books=books, users=accounts))
        except SidecarError as error:
            _log.warning(f"{start.origin} not used", height=start.height, reason=str(error))
            return False
        wrong, height = replica.state.faults, self._state.height
        if wrong.everything or self._state.faults.everything or replica.state.height != height:
            return False
        right = self._fitting(replica.state, books.keys() - wrong.books.keys())
        mended = {id_: books[id_] for id_ in right}
        users = {user: accounts[user] for user in accounts.keys() - wrong.accounts.keys()}
        if not (mended or users):
            return False
        self._adopt(replica.state, mended, users, start.height)
        return True

    def _fitting(self, rebuilt: ChainState, books: set[int]) -> set[int]:
        """Those books of which no order rests in another market, too: else either may be wrong."""
        books &= rebuilt.markets.keys()
        for id_ in sorted(books):
            market = rebuilt.markets[id_]
            twice = self._state.orders.elsewhere(market.book.orders.values(), books)
            if twice is not None:
                what = f"order {twice.oid} rests in another market, too"
                _log.warning("not repaired", what=f"the book of {market.symbol}", reason=what)
                return self._fitting(rebuilt, books - {id_})
        return books

    async def _rebuild(self, start: Start, scope: Scope) -> Replica:
        """As high as the state is, or up to where all of it is wrong again."""
        replica = Replica(scope, Slices())
        await replica.restore(start)
        wrong = replica.state.faults
        async for _ in replica.run(start.reader, lambda: self._state.height):
            if wrong and scope.books <= wrong.books.keys() and scope.users <= wrong.accounts.keys():
                break
        return replica

    def _adopt(
        self,
        rebuilt: ChainState,
        books: dict[int, Fault],
        accounts: dict[bytes, Fault],
        from_height: int,
    ) -> None:
        state = self._state
        for _, what in _described(state, books, accounts):
            _log.warning("repaired", what=what, height=state.height, snapshot=from_height)
        owners = {order.user for id_ in books for order in state.markets[id_].book.orders.values()}
        for market_id in books:
            state.adopt_book(rebuilt.markets[market_id])
        for address in accounts:
            state.adopt_account(rebuilt.users.get(address))
        faults = [*books.values(), *accounts.values()]
        first = min(faults, key=lambda fault: fault.height)
        self.repairs += Counter({BOOK: len(books), ACCOUNT: len(accounts)})
        scope = Scope(books=books, users=accounts, owners=owners)
        self._on_repaired(scope, first.height, first.what)


async def refresh(origin: Origin, state: ChainState) -> None:
    """Asks the node for a newer state, where it can be asked."""
    tell_markets(origin, state)
    try:
        await origin.refresh()
    except NodeError as error:
        _log.warning("no new snapshot", reason=str(error))


def tell_markets(origin: Origin, state: ChainState) -> None:
    """Those of the state are the ids that every reader goes on with."""
    origin.know({market.symbol: market.id for market in state.markets.values()})


def _described(
    state: ChainState, books: dict[int, Fault], accounts: dict[bytes, Fault]
) -> list[tuple[Fault, str]]:
    of_books = [(fault, f"the book of {state.markets[id_].symbol}") for id_, fault in books.items()]
    return of_books + [(fault, f"account 0x{user.hex()}") for user, fault in accounts.items()]
