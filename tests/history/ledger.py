"""The chain as its log tells it, followed with dicts and sums: what every reader must agree with.

Only what is asked about is kept of users: those that some recorder reads.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.history.chain_log import Block

BID, ASK = 0, 1
NS_PER_MS = 1_000_000
INTERVALS_MS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}  # those that recorders read


class Status(NamedTuple):
    """Tag 2, as docs/node-log.md numbers its fields."""

    oid: int
    user: bytes
    market: int
    side: int
    limit_px: int
    sz: int
    orig_sz: int
    tif: str | None
    reduce_only: bool
    trigger: list[Any] | None  # px, condition, is_position_tpsl, waiting
    cloid: bytes | None
    status: str
    time_ns: int
    placed_ns: int
    order_type: str
    hash: bytes | None = None
    builder: Any = None


class Leg(NamedTuple):
    """One side of a trade."""

    user: bytes
    oid: int
    cloid: bytes | None
    start_position: int
    closed_pnl: int
    fee: int
    liquidation: list[Any] | None
    direction: str
    fee_token: str
    twap_id: int | None


class Fill(NamedTuple):
    """Tag 6."""

    tid: int
    market: int
    px: int
    sz: int
    taker_side: int
    hash: bytes
    legs: tuple[Leg | None, Leg | None]


class UserFill(NamedTuple):
    """A fill as one of the two has it."""

    height: int
    time_ns: int
    fill: Fill
    side: int

    @property
    def leg(self) -> Leg:
        leg = self.fill.legs[self.side]
        assert leg is not None
        return leg


@dataclass
class Order:
    """One that rests."""

    oid: int
    user: bytes
    side: int
    px: int
    sz: int
    added_ns: int
    status: Status | None


@dataclass
class Candle:
    """An interval from `start_ms` on."""

    start_ms: int
    prices: list[int] = field(default_factory=list)  # first, highest, lowest, last
    volume: int = 0
    trades: int = 0

    def add(self, px: int, sz: int) -> None:
        """A trade."""
        first, high, low, _ = self.prices or (px, px, px, px)
        self.prices = [first, max(high, px), min(low, px), px]
        self.volume += sz
        self.trades += 1


@dataclass
class Market:
    """A book, and what the newest block did to it."""

    symbol: str
    orders: dict[int, Order] = field(default_factory=dict)
    sides: tuple[dict[int, dict[int, Order]], dict[int, dict[int, Order]]] = field(
        default_factory=lambda: ({}, {})
    )
    oracle_px: int = 0
    mark_px: int = 0
    statuses: list[Status] = field(default_factory=list)
    diffs: list[tuple[Order, Any]] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    before: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    candles: dict[str, Candle] = field(default_factory=dict)  # the running ones

    def begin(self) -> None:
        """Another block comes."""
        self.statuses, self.diffs, self.fills, self.before = [], [], [], {}

    def total(self, side: int, px: int) -> tuple[int, int]:
        """Size and number of orders of a level."""
        queue = self.sides[side].get(px, {})
        return sum(order.sz for order in queue.values()), len(queue)

    def changed_levels(self, side: int) -> list[tuple[int, int, int]]:
        """Those that the block left different, best first."""
        found = [
            (px, *self.total(side, px))
            for (of_side, px), was in self.before.items()
            if of_side == side and self.total(side, px) != was
        ]
        return sorted(found, reverse=side == BID)

    def levels(self, side: int) -> list[tuple[int, int, int]]:
        """All, best first."""
        prices = sorted(self.sides[side], reverse=side == BID)
        return [(px, *self.total(side, px)) for px in prices]

    def queue(self, side: int) -> list[Order]:
        """All orders, best first, in the order of their queues."""
        prices = sorted(self.sides[side], reverse=side == BID)
        return [order for px in prices for order in self.sides[side][px].values()]

    def touch(self, side: int, px: int) -> None:
        """Remembers what the level was before the block."""
        if (side, px) not in self.before:
            self.before[side, px] = self.total(side, px)

    def add(self, order: Order, before_oid: int) -> None:
        """At the end of its queue, or in front of another one."""
        queue = self.sides[order.side].setdefault(order.px, {})
        self.orders[order.oid] = order
        if not before_oid:
            queue[order.oid] = order
            return
        later = list(queue)[list(queue).index(before_oid) :]
        queue[order.oid] = order
        for oid in later:
            queue[oid] = queue.pop(oid)

    def trade(self, fill: Fill, time_ms: int) -> None:
        """In all running candles."""
        self.fills.append(fill)
        for name, length_ms in INTERVALS_MS.items():
            start_ms = time_ms // length_ms * length_ms
            if name not in self.candles or self.candles[name].start_ms != start_ms:
                self.candles[name] = Candle(start_ms)
            self.candles[name].add(fill.px, fill.sz)

    def remove(self, order: Order) -> None:
        """It rests no more."""
        queue = self.sides[order.side][order.px]
        del queue[order.oid], self.orders[order.oid]
        if not queue:
            del self.sides[order.side][order.px]


@dataclass
class User:
    """One whom somebody reads: what was and what the newest block did."""

    fills: list[UserFill] = field(default_factory=list)
    fundings: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    ledger: list[tuple[int, int, list[Any]]] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)
    resting: dict[int, tuple["Market", Order]] = field(default_factory=dict)  # by oid
    statuses: list[Status] = field(default_factory=list)  # of the block
    new: dict[str, int] = field(default_factory=dict)  # how many of each the block brought
    value: int | None = None  # by the node's own check in this block

    def begin(self) -> None:
        """Another block comes."""
        self.statuses, self.new, self.value = [], {}, None

    def note(self, kind: str) -> None:
        self.new[kind] = self.new.get(kind, 0) + 1


class Chain:
    """All of it, after the newest block."""

    def __init__(self, users: Iterable[bytes] = ()) -> None:
        self.height = 0
        self.time_ns = 0
        self.markets: dict[int, Market] = {}
        self.users = {user: User() for user in users}
        self.counts = {"transitions": 0, "trades": 0, "markets": 0}  # of the block
        self.oids: dict[int, bytes] = {}  # whose orders the block names
        self._placed: dict[int, Status] = {}

    @property
    def by_symbol(self) -> dict[str, Market]:
        return {market.symbol: market for market in self.markets.values()}

    def apply(self, block: Block) -> None:
        """The next block. Raises `KeyError` and the like where the log contradicts itself."""
        assert block.height == self.height + 1
        self.height, self.time_ns = block.height, block.time_ns
        for market in self.markets.values():
            market.begin()
        for user in self.users.values():
            user.begin()
        self.oids, self._placed = {}, {}
        named: set[int] = set()
        for tag, *fields in block.transitions:
            applier = _APPLIERS.get(tag)
            if applier is not None:
                applier(self, fields)
            named |= _markets_named(tag, fields)
        self.counts = {
            "transitions": len(block.transitions),
            "trades": sum(len(market.fills) for market in self.markets.values()),
            "markets": len(named),
        }

    def _listed(self, fields: list[Any]) -> None:
        self.markets.setdefault(fields[0], Market(fields[1]))

    def _status(self, fields: list[Any]) -> None:
        status = Status(*fields)
        market = self.markets[status.market]
        market.statuses.append(status)
        self.oids[status.oid] = status.user
        if status.user in self.users:
            user = self.users[status.user]
            user.statuses.append(status)
            user.note("statuses")
        if status.status in ("open", "triggered"):
            alive = _alive(status)
            if status.oid in market.orders:
                market.orders[status.oid].status = alive
            else:
                self._placed[status.oid] = alive

    def _added(self, fields: list[Any]) -> None:
        number, oid, user, side, px, sz, *rest = fields
        market, before_oid = self.markets[number], rest[0] if rest else 0
        market.touch(side, px)
        order = Order(oid, user, side, px, sz, self.time_ns, self._placed.get(oid))
        market.add(order, before_oid)
        if user in self.users:
            self.users[user].resting[oid] = market, order
        new = {"sz": sz} | ({"insertBefore": before_oid} if before_oid else {})
        market.diffs.append((order, {"new": new}))

    def _changed(self, fields: list[Any]) -> None:
        market, order = self.markets[fields[0]], self.markets[fields[0]].orders[fields[1]]
        market.touch(order.side, order.px)
        market.diffs.append((order, {"update": {"origSz": order.sz, "newSz": fields[2]}}))
        order.sz = fields[2]

    def _removed(self, fields: list[Any]) -> None:
        market, order = self.markets[fields[0]], self.markets[fields[0]].orders[fields[1]]
        market.touch(order.side, order.px)
        market.diffs.append((order, "remove"))
        market.remove(order)
        if order.user in self.users:
            del self.users[order.user].resting[order.oid]

    def _filled(self, fields: list[Any]) -> None:
        *head, buyer, seller = fields
        legs = tuple(None if leg is None else Leg(*leg) for leg in (buyer, seller))
        fill = Fill._make((*head, (legs[0], legs[1])))
        self.markets[fill.market].trade(fill, self.time_ns // NS_PER_MS)
        for side, leg in enumerate(fill.legs):
            if leg is None:
                continue
            self.oids[leg.oid] = leg.user
            user = self.users.get(leg.user)
            if user is not None:
                user.fills.append(UserFill(self.height, self.time_ns, fill, side))
                user.note("fills")
                sign = 1 if side == BID else -1
                user.positions[fill.market] = leg.start_position + sign * fill.sz

    def _priced(self, fields: list[Any]) -> None:
        for number, oracle_px, mark_px in fields[0]:
            market = self.markets[number]
            market.oracle_px, market.mark_px = oracle_px, mark_px

    def _funded(self, fields: list[Any]) -> None:
        market, rate, _, _, payments = fields
        for address, position, amount in payments:
            if address in self.users:
                user = self.users[address]
                user.fundings.append((self.time_ns, market, amount, position, rate))
                user.note("fundings")

    def _moved(self, fields: list[Any]) -> None:
        if fields[0] in self.users:
            user = self.users[fields[0]]
            user.ledger.append((self.height, self.time_ns, fields))
            user.note("ledger")

    def _checked(self, fields: list[Any]) -> None:
        if fields[0] in self.users:
            self.users[fields[0]].value = fields[1]


_APPLIERS = {
    1: Chain._listed,
    2: Chain._status,
    3: Chain._added,
    4: Chain._changed,
    5: Chain._removed,
    6: Chain._filled,
    7: Chain._priced,
    8: Chain._funded,
    9: Chain._moved,
    13: Chain._checked,
}


def _markets_named(tag: int, fields: list[Any]) -> set[int]:
    if tag in (3, 4, 5, 8, 12):
        return {fields[0]}
    if tag == 2:
        return {fields[2]}
    if tag == 6:
        return {fields[1]}
    return {price[0] for price in fields[0]} if tag == 7 else set()


def _alive(status: Status) -> Status:
    """What has triggered is a Gtc limit order placed then (docs/node-log.md)."""
    trigger = status.trigger
    if status.status != "triggered" or trigger is None or not trigger[3]:
        return status
    return status._replace(
        tif="Gtc", trigger=[0, "Triggered", trigger[2], False], placed_ns=status.time_ns
    )
