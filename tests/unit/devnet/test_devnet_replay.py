"""The log alone gives the chain's state: a naive reader of transitions agrees with the snapshots
and checks of the chain that wrote them.
"""

from collections.abc import Iterator

import google_crc32c
import pytest

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.limits import RECENT_TRADES
from sidecar.node.log import decode_block, encode_block
from sidecar.node.snapshot import MarketRow, RestingRow, Row, TradeRow
from sidecar.node.transitions import (
    ASK,
    BID,
    Block,
    BookAdded,
    BookChanged,
    BookCheck,
    BookRemoved,
    Fill,
    MarketListed,
    OrderStatus,
    PricesUpdated,
)


class Replay:
    """Lists and scans, as plain as can be; a market's orders are kept in order of arrival."""

    def __init__(self) -> None:
        self.rows_of: dict[int, MarketRow] = {}
        self.orders: dict[int, list[RestingRow]] = {}
        self.trades: dict[int, list[TradeRow]] = {}
        self.opened: dict[int, OrderStatus] = {}
        self.checks = 0

    def apply(self, block: Block) -> None:
        for transition in block.transitions:
            match transition:
                case MarketListed():
                    self.rows_of[transition.market] = MarketRow(transition, 0, 0, 0, 0)
                    self.orders[transition.market] = []
                    self.trades[transition.market] = []
                case PricesUpdated():
                    for market, oracle_px, mark_px in transition.prices:
                        self._set(market, oracle_px=oracle_px, mark_px=mark_px)
                case Fill():
                    self.trades[transition.market].append(
                        TradeRow(block.height, block.time_ns, transition)
                    )
                    self._set(transition.market, trades_height=block.height)
                case BookCheck():
                    assert transition == self.check(transition.market)
                    self.checks += 1
                case OrderStatus() | BookAdded() | BookChanged() | BookRemoved():
                    self._order_event(transition, block.time_ns)
                    self._set(transition.market, orders_height=block.height)
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
                if event.status == "open":
                    self.opened[event.oid] = event
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
                assert 0 < event.sz <= opened.orig_sz
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

    def queue(self, market: int, side: int) -> list[RestingRow]:
        """Best price first; sorting keeps the order of arrival within a price."""
        orders = [row for row in self.orders[market] if row.side == side]
        return sorted(orders, key=lambda row: -row.px if side == BID else row.px)

    def rows(self) -> Iterator[Row]:
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
    chain, replay = Chain(DevnetConfig("unused", seed=seed)), Replay()
    for height in range(1, 261):
        replay.apply(decode_block(encode_block(chain.step(height))))
        if height in (1, 2, 3, 7, 10, 50, 123, 260):
            assert list(chain.snapshot_rows()) == list(replay.rows())
    assert replay.checks > 100
    assert all(len(trades) > RECENT_TRADES for trades in replay.trades.values())
