"""The chain's state as the rows of a snapshot, for whoever reads it, and for the chain itself."""

from collections.abc import Iterator

from sidecar.devnet.chain import Chain
from sidecar.devnet.execution.accounts import Account
from sidecar.devnet.saved import save
from sidecar.node.snapshot import FORMAT as SNAPSHOT_FORMAT
from sidecar.node.snapshot import (
    AccountRow,
    AgentRow,
    MarketRow,
    NodeRow,
    PositionRow,
    RestingRow,
    Row,
    SnapshotHeader,
    TriggerRow,
)
from sidecar.node.transitions import ASK, BID

NODE = "devnet/3"  # what a NodeRow of this chain is called; to be raised with `Saved`


def snapshot_header(chain: Chain) -> SnapshotHeader:
    """What a snapshot of the state as it is now starts with."""
    return SnapshotHeader(SNAPSHOT_FORMAT, chain.config.chain, chain.height, chain.time_ns)


def snapshot_rows(chain: Chain) -> Iterator[Row]:
    """The state as rows; to be read through before the next block. O(orders + accounts)."""
    exchange = chain.exchange
    for market in chain.config.listed:
        tally = chain.tallies[market.id]
        yield MarketRow(
            market.listing(),
            exchange.entry.oracles[market.id],
            exchange.clearing.marks[market.id],
            tally.trades_height,
            tally.orders_height,
        )
        yield from _resting_rows(chain, market.id, BID)
        yield from _resting_rows(chain, market.id, ASK)
        yield from tally.trades
    for triggers in exchange.matching.triggers.values():
        for order in triggers.orders.values():
            yield TriggerRow(order.opened, order.parent)
    for account in exchange.clearing.accounts.values():
        yield _account_row(account)
    for agent in exchange.agents.approved.values():
        yield AgentRow(agent.user, agent.agent, agent.name, agent.valid_until)
    yield NodeRow(NODE, save(chain))


def _resting_rows(chain: Chain, market: int, side: int) -> Iterator[RestingRow]:
    for order in chain.exchange.books[market].queue(side):
        opened = order.opened
        yield RestingRow(
            market, order.oid, order.user, side, order.px, order.sz, opened.placed_ns, opened
        )


def _account_row(account: Account) -> AccountRow:
    positions = tuple(
        PositionRow(market, position.sz, position.cost, position.margin)
        for market, position in account.positions.items()
    )
    leverages = tuple(
        (market, leverage.value, leverage.is_cross)
        for market, leverage in account.leverages.items()
    )
    return AccountRow(account.user, account.balance, positions, leverages)
