"""The vocabulary of the chain: what a block can say. Every source yields these, whatever the node
writes.

Prices, sizes and amounts are ints in units of 1e-8 (`sidecar.fixed`), times are ns since the Unix
epoch (UTC), users are 20 bytes, order and trade ids ints. On disk each transition is a msgpack
array `[tag, field, ...]` in the order below (docs/node-log.md); fields are only ever appended, with
a default.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sidecar.fixed import DECIMALS

BID = 0
ASK = 1
PLACING = frozenset(("open", "triggered"))  # statuses after which an order may rest


class Record(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What all records share: positional fields, no reference cycles, immutable."""


class MarketListed(Record, tag=1, frozen=True):
    """A market exists from here on; `market` names it in every later transition.

    A source that does not know a rule leaves it None (Hyperliquid's files carry symbols only).
    `margin_tiers` are `(lower bound of position value, max leverage)`, ascending.
    """

    market: int
    symbol: str
    sz_decimals: Annotated[int, Meta(ge=0, le=DECIMALS)] | None = None
    max_leverage: int | None = None
    only_isolated: bool = False
    margin_tiers: tuple[tuple[int, int], ...] = ()


class Trigger(Record, frozen=True):
    """What makes a stop or take-profit order live. `condition` is for humans: "Price above
    101.5".
    """

    px: int
    condition: str
    is_position_tpsl: bool = False
    waiting: bool = True  # False once it has triggered


class OrderStatus(Record, tag=2, frozen=True):
    """A step in an order's life, refusals too. It never moves a book: only the Book transitions do.

    `sz` is what was left of `orig_sz`; `time_ns` when the step happened, `placed_ns` when the order
    was placed (or triggered). `tif` is "Gtc", "Ioc", "Alo", "FrontendMarket", "LiquidationMarket"
    or None; `order_type` "Limit", "Market", "Stop Market", ...; `status` "open", "filled",
    "canceled", "...Rejected", ...: open sets, all three. `builder` is `(address, fee in tenths of a
    basis point)`.
    """

    oid: int
    user: bytes
    market: int
    side: int
    limit_px: int
    sz: int
    orig_sz: int
    tif: str | None
    reduce_only: bool
    trigger: Trigger | None
    cloid: bytes | None
    status: str
    time_ns: int = 0
    placed_ns: int = 0
    order_type: str = "Limit"
    hash: bytes | None = None
    builder: tuple[bytes, int] | None = None


Size = Annotated[int, Meta(ge=0)]
Price = Annotated[int, Meta(gt=0)]
Side = Annotated[int, Meta(ge=0, le=1)]  # BID, ASK


class BookAdded(Record, tag=3, frozen=True):
    """An order joins the queue at its price: at the end, or in front of `before_oid` where that
    is not 0.
    """

    market: int
    oid: int
    user: bytes
    side: Side
    px: Price
    sz: Size
    before_oid: int = 0


class BookChanged(Record, tag=4, frozen=True):
    """A resting order has `sz` left (0 until it is removed) and keeps its place.

    `old_sz`, where the node says it, is what it had: a book that disagrees is wrong.
    """

    market: int
    oid: int
    sz: Size
    old_sz: Size | None = None


class BookRemoved(Record, tag=5, frozen=True):
    """An order leaves the book."""

    market: int
    oid: int


class Liquidation(Record, frozen=True):
    """Why a fill happened: `method` is "market", "backstop" or "adl"."""

    user: bytes
    mark_px: int
    method: str


class Leg(Record, frozen=True):
    """One side of a trade. `start_position` is signed; `fee` is negative for a rebate, in
    `fee_token`.
    """

    user: bytes
    oid: int
    cloid: bytes | None
    start_position: int
    closed_pnl: int
    fee: int
    liquidation: Liquidation | None = None
    direction: str = ""  # "Open Long", "Long > Short", ...: as the node labels it
    fee_token: str = "USDC"  # noqa: S105 - a currency
    twap_id: int | None = None


class Fill(Record, tag=6, frozen=True):
    """A trade, both legs in it. A leg is None where the node writes only one (outcome tokens)."""

    tid: int
    market: int
    px: int
    sz: int
    taker_side: int
    hash: bytes
    buyer: Leg | None
    seller: Leg | None


class PricesUpdated(Record, tag=7, frozen=True):
    """New prices: `(market, oracle_px, mark_px)` each."""

    prices: tuple[tuple[int, int, int], ...]


class FundingSettled(Record, tag=8, frozen=True):
    """Funding paid: `payments` are `(user, position, amount)`, amount positive for the receiver."""

    market: int
    rate: int
    premium: int
    oracle_px: int
    payments: tuple[tuple[bytes, int, int], ...]


class LedgerChanged(Record, tag=9, frozen=True):
    """A deposit, withdrawal, transfer, fee or insurance movement; `details` depend on `kind`."""

    user: bytes
    kind: str
    amount: int
    details: dict[str, Any] = {}


class LeverageChanged(Record, tag=10, frozen=True):
    """A user's leverage in a market."""

    user: bytes
    market: int
    leverage: int
    is_cross: bool
    isolated_margin: int = 0


class AgentApproved(Record, tag=11, frozen=True):
    """`agent` may sign for `user` until `valid_until` (ns; 0 is for ever)."""

    user: bytes
    agent: bytes
    name: str
    valid_until: int = 0


class BookCheck(Record, tag=12, frozen=True):
    """What the node's own book says after this block; `queue_hash` proves the order of the
    queues too.
    """

    market: int
    bid_px: int
    bid_sz: int
    bid_n: int
    ask_px: int
    ask_sz: int
    ask_n: int
    orders: int
    total_bid_sz: int
    total_ask_sz: int
    queue_hash: int


class AccountCheck(Record, tag=13, frozen=True):
    """What the node's own ledger says after this block: `positions` are `(market, signed size)`."""

    user: bytes
    account_value: int
    positions: tuple[tuple[int, int], ...]


Logged = (
    MarketListed
    | OrderStatus
    | BookAdded
    | BookChanged
    | BookRemoved
    | Fill
    | PricesUpdated
    | FundingSettled
    | LedgerChanged
    | LeverageChanged
    | AgentApproved
    | BookCheck
    | AccountCheck
)


class OrdersRefused:
    """Orders of one market that were refused in this block, left encoded until somebody reads them.

    On Hyperliquid 95% of all statuses are refusals, which touch no book. Never written to a log,
    where each is an `OrderStatus`.
    """

    __slots__ = ("_decode", "count", "market")

    def __init__(self, market: int, count: int, decode: Callable[[], list[OrderStatus]]) -> None:
        self.market = market
        self.count = count
        self._decode = decode

    def statuses(self) -> list[OrderStatus]:
        """The refusals, decoded now. O(statuses of the block). Raises `LogCorrupt`."""
        return self._decode()


Transition = Logged | OrdersRefused


class Block(msgspec.Struct, frozen=True):
    """One block: `time_ns` is consensus time, `written_ns` the node's wall clock when it wrote the
    block.

    `transitions` are in the order in which execution made them; `unknown` counts those that this
    version of the sidecar does not know and skipped.
    """

    height: int
    time_ns: int
    written_ns: int
    transitions: list[Transition]
    unknown: int = 0
