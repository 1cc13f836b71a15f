"""The log alone gives the chain's whole state: a naive reader of transitions agrees with the
snapshots and checks of the chain that wrote them, orders and accounts alike.
"""

from collections.abc import Iterator
from typing import Any

import google_crc32c
import msgspec
import pytest

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.clearing import FEES
from sidecar.devnet.execution.prices import Move
from sidecar.devnet.rows import snapshot_rows
from sidecar.fixed import SCALE
from sidecar.limits import RECENT_TRADES
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.snapshot import (
    AccountRow,
    AgentRow,
    MarketRow,
    PositionRow,
    RestingRow,
    Row,
    TradeRow,
    TriggerRow,
)
from sidecar.node.transitions import (
    ASK,
    BID,
    AccountCheck,
    AgentApproved,
    Block,
    BookAdded,
    BookChanged,
    BookCheck,
    BookRemoved,
    Fill,
    FundingSettled,
    LedgerChanged,
    LeverageChanged,
    MarketListed,
    OrderStatus,
    PricesUpdated,
    Trigger,
)


class Replay:
    """Lists and scans, as plain as can be; a market's orders are kept in order of arrival."""

    def __init__(self) -> None:
        self.rows_of: dict[int, MarketRow] = {}
        self.orders: dict[int, list[RestingRow]] = {}
        self.trades: dict[int, list[TradeRow]] = {}
        self.opened: dict[int, OrderStatus] = {}
        self.waiting: dict[int, OrderStatus] = {}
        self.purses = Purses()
        self.agents: dict[tuple[bytes, str], AgentRow] = {}
        self.checks = 0

    def apply(self, block: Block) -> None:
        for transition in block.transitions:
            match transition:
                case OrderStatus() | BookAdded() | BookChanged() | BookRemoved():
                    self._order_event(transition, block.time_ns)
                    self._set(transition.market, orders_height=block.height)
                case Fill():
                    row = TradeRow(block.height, block.time_ns, transition)
                    self.trades[transition.market].append(row)
                    self._set(transition.market, trades_height=block.height)
                    self.purses.fill(transition)
                case BookCheck():
                    assert transition == self.check(transition.market)
                    self.checks += 1
                case AccountCheck():
                    marks = {market: row.mark_px for market, row in self.rows_of.items()}
                    assert transition == self.purses.check(transition.user, marks)
                    self.checks += 1
                case FundingSettled() | LedgerChanged() | LeverageChanged():
                    self.purses.apply(transition)
                case _:
                    self._rare(transition)

    def _rare(self, transition: object) -> None:
        match transition:
            case MarketListed():
                self.rows_of[transition.market] = MarketRow(transition, 0, 0, 0, 0)
                self.orders[transition.market] = []
                self.trades[transition.market] = []
            case PricesUpdated():
                for market, oracle_px, mark_px in transition.prices:
                    self._set(market, oracle_px=oracle_px, mark_px=mark_px)
            case AgentApproved():
                self.agents[transition.user, transition.name] = AgentRow(
                    transition.user, transition.agent, transition.name, transition.valid_until
                )
            case _:
                pytest.fail(f"{transition} is none of what this chain writes")

    def _set(self, market: int, **fields: int) -> None:
        row = self.rows_of[market]
        known = {name: getattr(row, name) for name in row.__struct_fields__}
        self.rows_of[market] = MarketRow(**(known | fields))

    def _order_event(
        self, event: OrderStatus | BookAdded | BookChanged | BookRemoved, time_ns: int
    ) -> None:
        resting = self.orders[event.market]
        places = [i for i, row in enumerate(resting) if row.oid == event.oid]
        match event:
            case OrderStatus():
                self._status(event)
            case BookAdded():
                assert not places
                assert event.before_oid == 0
                opened = self.opened[event.oid]
                assert (opened.user, opened.side, opened.limit_px, opened.market) == (
                    event.user,
                    event.side,
                    event.px,
                    event.market,
                )
                assert 0 < event.sz <= (opened.orig_sz or event.sz)
                row = RestingRow(
                    event.market,
                    event.oid,
                    event.user,
                    event.side,
                    event.px,
                    event.sz,
                    time_ns,
                    opened,
                )
                resting.append(row)
            case BookChanged():
                row = resting[places[0]]
                assert 0 <= event.sz < row.sz
                resting[places[0]] = RestingRow(
                    row.market,
                    row.oid,
                    row.user,
                    row.side,
                    row.px,
                    event.sz,
                    row.added_ns,
                    row.status,
                )
            case BookRemoved():
                del resting[places[0]]

    def _status(self, event: OrderStatus) -> None:
        waiting = event.trigger is not None and event.trigger.waiting
        if event.status == "open" and waiting:
            self.waiting[event.oid] = event
        elif event.status == "open":
            self.opened[event.oid] = event
        elif waiting:
            assert event.trigger is not None
            del self.waiting[event.oid]
            self.opened[event.oid] = msgspec.structs.replace(
                event,
                tif="Gtc",
                trigger=Trigger(0, "Triggered", event.trigger.is_position_tpsl, waiting=False),
                placed_ns=event.time_ns,
            )

    def queue(self, market: int, side: int) -> list[RestingRow]:
        """Best price first; sorting keeps the order of arrival within a price."""
        orders = [row for row in self.orders[market] if row.side == side]
        return sorted(orders, key=lambda row: -row.px if side == BID else row.px)

    def rows(self) -> Iterator[Row]:
        """Markets, their resting orders and their recent trades, as a snapshot has them."""
        for market, row in self.rows_of.items():
            yield row
            yield from self.queue(market, BID)
            yield from self.queue(market, ASK)
            yield from self.trades[market][-RECENT_TRADES:]

    def check(self, market: int) -> BookCheck:
        bids, asks = self.queue(market, BID), self.queue(market, ASK)
        totals = (sum(row.sz for row in bids), sum(row.sz for row in asks))
        queue_hash = crc(bids) << 32 | crc(asks)
        return BookCheck(
            market, *best(bids), *best(asks), len(bids) + len(asks), *totals, queue_hash
        )

    def agrees_with(self, rows: list[Row]) -> None:
        """Asserts that a snapshot says what the log said so far."""
        of_markets = [row for row in rows if isinstance(row, MarketRow | RestingRow | TradeRow)]
        assert of_markets == list(self.rows())
        waiting = {
            row.status.oid: msgspec.structs.replace(row.status, time_ns=0)
            for row in rows
            if isinstance(row, TriggerRow) and not row.parent
        }
        assert waiting == {
            oid: msgspec.structs.replace(status, time_ns=0) for oid, status in self.waiting.items()
        }
        agents = {(row.user, row.name): row for row in rows if isinstance(row, AgentRow)}
        assert agents == self.agents
        accounts = [row for row in rows if isinstance(row, AccountRow)]
        assert {row.user: plain(row) for row in accounts} == {
            row.user: plain(row) for row in self.purses.rows()
        }


class Purses:
    """Every account, from fills, payments and ledger entries alone."""

    def __init__(self) -> None:
        self.balance: dict[bytes, int] = {}
        self.sz: dict[tuple[bytes, int], int] = {}
        self.cost: dict[tuple[bytes, int], int] = {}
        self.margin: dict[tuple[bytes, int], int] = {}
        self.leverage: dict[tuple[bytes, int], tuple[int, bool]] = {}

    def fill(self, fill: Fill) -> None:
        for leg, sign in ((fill.buyer, 1), (fill.seller, -1)):
            assert leg is not None
            key, moved = (leg.user, fill.market), sign * fill.sz
            start = self.sz.get(key, 0)
            assert leg.start_position == start
            closed = min(fill.sz, abs(start)) if start * moved < 0 else 0
            out = self.cost.get(key, 0) * closed // abs(start) if closed else 0
            gain = closed * fill.px // SCALE - out
            assert leg.closed_pnl == (gain if start > 0 else -gain)
            opened = (fill.sz - closed) * fill.px // SCALE
            self.sz[key] = start + moved
            self.cost[key] = self.cost.get(key, 0) - out + opened
            self.pay(leg.user, leg.closed_pnl - leg.fee)
            if leg.fee:
                self.pay(FEES, leg.fee)

    def apply(self, transition: FundingSettled | LedgerChanged | LeverageChanged) -> None:
        match transition:
            case FundingSettled():
                self.fund(transition)
            case LedgerChanged():
                self.pay(transition.user, transition.amount)
            case LeverageChanged():
                self.lever(transition)

    def fund(self, settled: FundingSettled) -> None:
        for user, position, amount in settled.payments:
            assert self.sz[user, settled.market] == position
            self.pay(user, amount)

    def lever(self, changed: LeverageChanged) -> None:
        key = (changed.user, changed.market)
        self.pay(changed.user, self.margin.get(key, 0) - changed.isolated_margin)
        self.margin[key] = changed.isolated_margin
        self.leverage[key] = (changed.leverage, changed.is_cross)

    def pay(self, user: bytes, amount: int) -> None:
        self.balance[user] = self.balance.get(user, 0) + amount

    def held(self, user: bytes) -> list[int]:
        return sorted(market for (owner, market), sz in self.sz.items() if owner == user and sz)

    def check(self, user: bytes, marks: dict[int, int]) -> AccountCheck:
        value = self.balance.get(user, 0)
        positions = []
        for market in self.held(user):
            sz, cost = self.sz[user, market], self.cost[user, market]
            value += self.margin.get((user, market), 0) + sz * marks[market] // SCALE
            value -= cost if sz > 0 else -cost
            positions.append((market, sz))
        return AccountCheck(user, value, tuple(positions))

    def rows(self) -> Iterator[AccountRow]:
        for user, balance in self.balance.items():
            positions = tuple(
                PositionRow(
                    market,
                    self.sz[user, market],
                    self.cost[user, market],
                    self.margin.get((user, market), 0),
                )
                for market in self.held(user)
            )
            leverages = tuple(
                (market, *leverage)
                for (owner, market), leverage in self.leverage.items()
                if owner == user
            )
            yield AccountRow(user, balance, positions, leverages)


def plain(row: AccountRow) -> tuple[Any, ...]:
    """An account without the order of its markets."""
    positions = {position.market: position for position in row.positions}
    return row.balance, positions, sorted(row.leverages)


def best(queue: list[RestingRow]) -> tuple[int, int, int]:
    first = [row.sz for row in queue if row.px == queue[0].px]
    return (queue[0].px, sum(first), len(first)) if queue else (0, 0, 0)


def crc(queue: list[RestingRow]) -> int:
    content = b"".join(
        number.to_bytes(8, "little") for row in queue for number in (row.oid, row.px, row.sz)
    )
    return int(google_crc32c.value(content))


@pytest.mark.parametrize("seed", [1, 2026])
def test_the_log_gives_what_snapshots_and_checks_say(seed: int) -> None:
    config = DevnetConfig(
        "unused",
        seed=seed,
        funding_ms=5_000,
        prices_blocks=2,
        moves=(Move("TOYOTA", 150, -20, 10), Move("SONY", 200, 25, 5)),
    )
    chain, replay = Chain(config), Replay()
    for height in range(1, 301):
        replay.apply(decode_block(encode_block(chain.step())))
        if height in (1, 2, 3, 7, 10, 50, 123, 170, 260, 300):
            replay.agrees_with(list(snapshot_rows(chain)))
    assert replay.checks > 200
    assert all(len(trades) > RECENT_TRADES for trades in replay.trades.values())
    assert chain.exchange.total() == sum(replay.purses.balance.values()) + sum(
        replay.purses.margin.values()
    ) - sum(
        cost if replay.purses.sz[key] > 0 else -cost for key, cost in replay.purses.cost.items()
    )
