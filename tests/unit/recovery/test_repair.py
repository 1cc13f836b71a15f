"""What is rebuilt is taken over where it fits what is there meanwhile."""

from pathlib import Path

import anyio
import pytest

from blocks import ALICE, bid, block
from sidecar.node.ipc import ChainInfo, IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.native import NativeOrigin
from sidecar.node.transitions import BID, Block, BookRemoved, MarketListed
from sidecar.recovery.repair import Repairer
from sidecar.recovery.scope import Scope
from sidecar.state.book import Order
from sidecar.state.chain import ChainState

pytestmark = pytest.mark.anyio
TOYOTA, SONY = 1, 2
LISTED = (MarketListed(TOYOTA, "TOYOTA"), MarketListed(SONY, "SONY"))


class Repaired:
    """A log, a state that read it, and its repairer."""

    def __init__(self, root: Path) -> None:
        ipc = IpcDirectory(root)
        self.log = LogWriter(ipc.log, "t")
        self.state = ChainState(strict=False)
        self.scopes: list[Scope] = []
        origin = NativeOrigin(ipc, ChainInfo("node-log/1", "t", 0, 1))
        self._repairer = Repairer(self.state, origin, lambda scope, *_: self.scopes.append(scope))

    def push(self, made: Block) -> None:
        self.log.append(made)
        self.state.apply(made)

    async def repair(self) -> bool:
        faults = self.state.faults
        return await self._repairer._repair(dict(faults.books), dict(faults.accounts))

    @property
    def resting(self) -> list[tuple[int, int]]:
        resting = self.state.users.look(ALICE).resting
        return [(oid, market) for oid, (market, _) in resting.items()]


@pytest.fixture
def repaired(tmp_path: Path) -> Repaired:
    return Repaired(tmp_path)


async def test_an_order_that_rests_in_two_markets_keeps_the_second_book_marked(
    repaired: Repaired,
) -> None:
    """By itself that book is whole; either of the two may be the wrong one."""
    repaired.push(block(1, *LISTED, bid(7, 100), bid(7, 100, market=SONY)))
    assert not await repaired.repair()
    assert set(repaired.state.faults.books) == {SONY}
    repaired.push(block(2, BookRemoved(SONY, 7)))
    assert await repaired.repair()
    assert not repaired.state.faults
    assert repaired.resting == [(7, TOYOTA)]
    repaired.state.orders.check_invariants()


async def test_a_book_that_has_an_order_of_another_one_in_error_is_rebuilt_with_it(
    repaired: Repaired,
) -> None:
    repaired.push(block(1, *LISTED, bid(8, 100), bid(7, 100, market=SONY)))
    state = repaired.state
    state.markets[TOYOTA].book.add(
        Order(7, ALICE, BID, 1, 1, 1), 0, {}
    )  # what the log does not say
    for market in state.markets.values():
        state.mark_book(market, "for a test")
    assert await repaired.repair()
    assert not state.faults
    assert sorted(repaired.resting) == [(7, SONY), (8, TOYOTA)]


async def test_two_books_whose_orders_changed_places_are_taken_over_together(
    repaired: Repaired,
) -> None:
    repaired.push(block(1, *LISTED, bid(7, 100), bid(8, 100, market=SONY)))
    state = repaired.state
    swapped = ChainState()
    swapped.apply(block(1, *LISTED, bid(8, 100), bid(7, 100, market=SONY)))
    for id_ in (TOYOTA, SONY):
        state.adopt_book(swapped.markets[id_])
        state.mark_book(state.markets[id_], "for a test")
    assert sorted(repaired.resting) == [(7, SONY), (8, TOYOTA)]
    assert await repaired.repair()
    assert sorted(repaired.resting) == [(7, TOYOTA), (8, SONY)]
    state.orders.check_invariants()


async def test_nothing_is_given_back_as_right_once_everything_is_wrong(repaired: Repaired) -> None:
    repaired.push(block(1, *LISTED, bid(7, 100)))
    state = repaired.state
    state.mark_book(state.markets[TOYOTA], "for a test")
    outcome: list[bool] = []

    async def repair() -> None:
        outcome.append(await repaired.repair())

    rebuild = repaired._repairer._rebuild

    async def and_the_feed_finds_a_fork(*told: object) -> object:
        replica = await rebuild(*told)  # type: ignore[arg-type]
        state.mark_everything("the node went another way")
        return replica

    repaired._repairer._rebuild = and_the_feed_finds_a_fork  # type: ignore[method-assign, assignment]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repair)
    assert outcome == [False]
    assert state.markets[TOYOTA].fault is not None
    assert not repaired.scopes
