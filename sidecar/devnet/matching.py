"""Matching by price, then time: actions in, transitions out in the order of execution.

What the log shows is what Hyperliquid's node files show:

    order                    transitions
    rests                    OrderStatus open, BookAdded
    is refused               OrderStatus ...Rejected
    trades at once           OrderStatus open, its fills, OrderStatus filled
    trades and rests         OrderStatus open (original size), its fills, BookAdded (what is left)
    trades, is Ioc           OrderStatus open, its fills, OrderStatus canceled (what is left)
    is cancelled             BookRemoved, OrderStatus canceled

    a fill of                transitions
    part of a resting order  Fill, BookChanged
    all of a resting order   Fill, BookChanged to 0, BookRemoved, OrderStatus filled
    one's own order          BookRemoved, OrderStatus selfTradeCanceled: the resting side gives way

An Ioc or market order that could trade with nobody else is refused and touches nothing. An Alo
order is refused if it crosses any order, its sender's own ones included.
"""

from collections.abc import Iterable
from hashlib import blake2b

from sidecar.devnet.book import Book
from sidecar.devnet.clearing import MAKER_FEE, TAKER_FEE, Clearing
from sidecar.devnet.markets import Market, validate_px, validate_sz
from sidecar.devnet.orders import ALO, IMMEDIATE, MARKET, Action, Cancel, Place, Resting
from sidecar.devnet.refusals import Refusal
from sidecar.node.transitions import (
    BID,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    OrderStatus,
    Transition,
)

_TID_BITS = 50  # as Hyperliquid's
_TID_STEP = 0x2545F4914F6CD  # odd, so that 2^50 trades go by before a tid repeats


class Exchange:
    """The books of all markets and the positions that their trades made."""

    def __init__(self, chain: str, markets: Iterable[Market]) -> None:
        """`chain` names the chain in every transaction hash."""
        self.markets = {market.id: market for market in markets}
        self.books = {market: Book() for market in self.markets}
        self.clearing = Clearing()
        self._chain = chain
        self._oid = 0
        self._trades = 0
        self._height = 0
        self._actions = 0
        self._time_ns = 0
        self._hash = b""
        self._out: list[Transition] = []

    def begin_block(self, height: int, time_ns: int) -> list[Transition]:
        """Starts a block; returns the list to which its transitions will be appended."""
        self._height = height
        self._time_ns = time_ns
        self._actions = 0
        self._out = []
        return self._out

    def execute(self, action: Action) -> Refusal | None:
        """Executes an action; returns why it was refused, None if it was not."""
        self._actions += 1
        if isinstance(action, Cancel):
            return self._cancel(action)
        return self._place(action)

    def _cancel(self, cancel: Cancel) -> Refusal | None:
        order = self.books[cancel.market].orders.get(cancel.oid)
        if order is None or order.user != cancel.user:
            return Refusal.NO_ORDER
        self._take_out(order, "canceled")
        return None

    def _place(self, place: Place) -> Refusal | None:
        self._oid += 1
        refusal = self._refusal(place)
        if refusal is not None:
            self._out.append(self._placed(place, refusal.status, None))
            return refusal
        self._hash = self._transaction_hash()
        opened = self._placed(place, "open", self._hash)
        self._out.append(opened)
        left = self._match(opened)
        if not left:
            self._out.append(self._moved(opened, 0, "filled"))
        elif place.tif in IMMEDIATE:
            self._out.append(self._moved(opened, left, "canceled"))
        else:
            self._rest(opened, left)
        return None

    def _refusal(self, place: Place) -> Refusal | None:
        market = self.markets[place.market]
        refusal = validate_px(market, place.px) or validate_sz(market, place.sz)
        if refusal is not None:
            return refusal
        if place.tif == ALO:
            best = self.books[place.market].best_px(1 - place.side)
            return Refusal.POST_ONLY if _crosses(place.side, place.px, best) else None
        if place.tif in IMMEDIATE and not self._can_trade(place):
            return Refusal.NO_LIQUIDITY if place.tif == MARKET else Refusal.IMMEDIATE
        return None

    def _can_trade(self, place: Place) -> bool:
        """Whether an order of somebody else crosses. O(1) unless one's own are in front of it."""
        for order in self.books[place.market].queue(1 - place.side):
            if not _crosses(place.side, place.px, order.px):
                return False
            if order.user != place.user:
                return True
        return False

    def _match(self, taker: OrderStatus) -> int:
        """Trades an order with what it crosses; returns the size that is left."""
        book, side, limit_px = self.books[taker.market], taker.side, taker.limit_px
        left = taker.sz
        while left:
            maker = book.first(1 - side)
            if maker is None or not _crosses(side, limit_px, maker.px):
                break
            if maker.user == taker.user:
                self._take_out(maker, "selfTradeCanceled")
            else:
                left -= self._trade(taker, maker, min(left, maker.sz))
        return left

    def _trade(self, taker: OrderStatus, maker: Resting, sz: int) -> int:
        out, market, oid = self._out, taker.market, maker.oid
        out.append(self._fill(taker, maker, sz))
        maker.sz -= sz
        out.append(BookChanged(market, oid, maker.sz))
        if not maker.sz:
            self.books[market].remove(maker)
            out.append(BookRemoved(market, oid))
            out.append(self._moved(maker.opened, 0, "filled"))
        return sz

    def _fill(self, taker: OrderStatus, maker: Resting, sz: int) -> Fill:
        market, px, side = taker.market, maker.px, taker.side
        leg = self.clearing.leg
        taken = leg(
            taker.user,
            taker.oid,
            taker.cloid,
            market=market,
            side=side,
            px=px,
            sz=sz,
            fee_rate=TAKER_FEE,
        )
        made = leg(
            maker.user,
            maker.oid,
            maker.opened.cloid,
            market=market,
            side=1 - side,
            px=px,
            sz=sz,
            fee_rate=MAKER_FEE,
        )
        buyer, seller = (taken, made) if side == BID else (made, taken)
        self._trades += 1
        tid = self._trades * _TID_STEP % (1 << _TID_BITS)
        return Fill(tid, market, px, sz, side, self._hash, buyer, seller)

    def _rest(self, opened: OrderStatus, sz: int) -> None:
        market, oid, user, side = opened.market, opened.oid, opened.user, opened.side
        px = opened.limit_px
        self.books[market].add(Resting(oid, user, side, px, sz, opened))
        self._out.append(BookAdded(market, oid, user, side, px, sz))

    def _take_out(self, order: Resting, status: str) -> None:
        market = order.opened.market
        self.books[market].remove(order)
        self._out.append(BookRemoved(market, order.oid))
        self._out.append(self._moved(order.opened, order.sz, status))

    def _placed(self, place: Place, status: str, tx_hash: bytes | None) -> OrderStatus:
        """The first status of an order. Like Hyperliquid's, only "open" has a hash."""
        return OrderStatus(
            self._oid,
            place.user,
            place.market,
            place.side,
            place.px,
            place.sz,
            place.sz,
            place.tif,
            False,
            None,
            place.cloid,
            status,
            self._time_ns,
            self._time_ns,
            "Market" if place.tif == MARKET else "Limit",
            tx_hash,
        )

    def _moved(self, opened: OrderStatus, sz: int, status: str) -> OrderStatus:
        """A later status of an order, of which `sz` is left."""
        return OrderStatus(
            opened.oid,
            opened.user,
            opened.market,
            opened.side,
            opened.limit_px,
            sz,
            opened.orig_sz,
            opened.tif,
            opened.reduce_only,
            opened.trigger,
            opened.cloid,
            status,
            self._time_ns,
            opened.placed_ns,
            opened.order_type,
        )

    def _transaction_hash(self) -> bytes:
        """32 bytes that no other action of the chain has."""
        where = f"{self._chain}:{self._height}:{self._actions}"
        return blake2b(where.encode(), digest_size=32).digest()


def _crosses(side: int, px: int, opposite_px: int | None) -> bool:
    """Whether an order of `side` at `px` trades with one at `opposite_px`; None never trades."""
    if opposite_px is None:
        return False
    return opposite_px <= px if side == BID else opposite_px >= px
