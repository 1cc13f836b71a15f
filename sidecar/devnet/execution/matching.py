"""Matching by price, then time: orders in, transitions out in the order of execution.

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
    one without margin       BookRemoved, OrderStatus marginCanceled: as if it had not been there

Margin is checked when an order is placed, and for both sides again at each match
(https://hyperliquid.gitbook.io/hyperliquid-docs/hypercore/order-book). Reduce-only orders never
rest with more than the position: they shrink with it, and go when it is closed.
"""

from sidecar.devnet.execution.clearing import MAKER_FEE, TAKER_FEE, Clearing
from sidecar.devnet.execution.open_orders import OpenOrders
from sidecar.devnet.execution.orders import IMMEDIATE, Resting, Waiting, moved
from sidecar.devnet.execution.tape import Tape
from sidecar.fixed import SCALE
from sidecar.node.transitions import (
    BID,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    Liquidation,
    OrderStatus,
)


class Execution:
    """What became of an order that was executed: traded size and notional, and whether it rests."""

    __slots__ = ("notional", "rests", "starved", "sz")

    def __init__(self) -> None:
        self.sz = 0
        self.notional = 0
        self.rests = False
        self.starved = False  # of margin


class Matching:
    """What orders do to each other, and to the accounts."""

    def __init__(self, tape: Tape, clearing: Clearing) -> None:
        self.open = OpenOrders(clearing.markets)
        self.books = self.open.books
        self.triggers = self.open.triggers
        self.links = self.open.links
        self.last_px: dict[int, int] = {}  # of the last trade, by market
        self._tape = tape
        self._clearing = clearing

    def can_trade(self, user: bytes, market: int, side: int, px: int) -> bool:
        """Whether an order of somebody else crosses. O(1) unless one's own are in front of it."""
        for order in self.books[market].queue(1 - side):
            if not crosses(side, px, order.px):
                return False
            if order.user != user:
                return True
        return False

    def execute(
        self, taker: OrderStatus, sz: int, liquidation: Liquidation | None = None
    ) -> Execution:
        """Trades `sz` of an order with what it crosses; what is left rests, or is cancelled."""
        done = Execution()
        starved = done.starved = self._match(taker, sz, liquidation, done)
        left = sz - done.sz
        if not left:
            self._tape.moved(taker, 0, "filled")
            self._end(taker, filled=True)
        elif starved or taker.tif in IMMEDIATE:
            self._tape.moved(taker, left, "marginCanceled" if starved else "canceled")
            self._end(taker, filled=starved and done.sz > 0)
        else:
            self._rest(taker, left, traded=done.sz > 0)
            done.rests = True
        return done

    def wait(self, order: Waiting) -> None:
        """A stop or take-profit order begins to wait; an active one is said to be open."""
        self.open.add(order)
        if order.active:
            self._tape.out.append(order.opened)

    def wake(self, order: Waiting) -> None:
        """The mark price reached a waiting order: it waits no longer."""
        self.open.remove(order)
        self._tape.moved(order.opened, order.opened.sz, "triggered")

    def end_woken(self, opened: OrderStatus, status: str) -> None:
        """A triggered order that comes to nothing."""
        self._tape.moved(opened, opened.sz, status)
        self._end(opened, filled=False)

    def cancel(self, order: Resting | Waiting, status: str) -> None:
        """Takes an order out, with the status that says why."""
        opened = order.opened
        self.open.remove(order)
        filled = False
        if isinstance(order, Resting):
            self._tape.out.append(BookRemoved(opened.market, order.oid))
            self._tape.moved(opened, order.sz, status)
            filled = status == "marginCanceled" and order.traded
        elif order.active:
            self._tape.moved(opened, opened.sz, status)
        self._end(opened, filled=filled)

    def position_changed(self, user: bytes, market: int, start: int) -> None:
        """Lets the orders that only reduce follow a position that was `start`. O(such orders)."""
        sz = self._clearing.position(user, market)
        for order in self.open.reducing(user, market):
            self._follow(order, sz)
        if start and (not sz or (start > 0) != (sz > 0)):
            self._drop_position_tpsl(user, market)

    def trade(
        self,
        taker: OrderStatus,
        maker: OrderStatus,
        sz: int,
        px: int,
        liquidation: Liquidation | None = None,
        *,
        fees: tuple[int, int] = (TAKER_FEE, MAKER_FEE),
        directions: tuple[str | None, str | None] = (None, None),
    ) -> None:
        """A trade of two orders at a price: the fill, and the margins that it moved."""
        market, side = taker.market, taker.side
        leg = self._clearing.leg
        signed = sz if side == BID else -sz
        taken = leg(
            taker.user,
            taker.oid,
            taker.cloid,
            market,
            signed,
            px,
            fees[0],
            liquidation=liquidation,
            direction=directions[0],
        )
        made = leg(
            maker.user,
            maker.oid,
            maker.cloid,
            market,
            -signed,
            px,
            fees[1],
            liquidation=liquidation,
            direction=directions[1],
        )
        buyer, seller = (taken, made) if side == BID else (made, taken)
        tape = self._tape
        tape.out.append(Fill(tape.next_tid(), market, px, sz, side, tape.hash, buyer, seller))
        self._clearing.tell_margin(taker.user, market)
        self._clearing.tell_margin(maker.user, market)
        self.last_px[market] = px

    def check_invariants(self) -> None:
        """Asserts everything that must hold between actions. O(orders)."""
        self.open.check_invariants()
        for market, book in self.books.items():
            for order in book.orders.values():
                if order.opened.reduce_only:
                    position = self._clearing.position(order.user, market)
                    assert (position > 0) == (order.side != BID)
                    assert order.sz <= abs(position)

    def _match(
        self, taker: OrderStatus, sz: int, liquidation: Liquidation | None, done: Execution
    ) -> bool:
        """Trades while somebody crosses; returns whether the taker ran out of margin."""
        market, side, limit_px, user = taker.market, taker.side, taker.limit_px, taker.user
        book, can_trade = self.books[market], self._clearing.can_trade
        left = sz
        while left:
            maker = book.first(1 - side)
            if maker is None or not crosses(side, limit_px, maker.px):
                break
            if maker.user == user:
                self.cancel(maker, "selfTradeCanceled")
                continue
            px, traded = maker.px, min(left, maker.sz)
            signed = traded if side == BID else -traded
            if not can_trade(maker.user, market, -signed, px, MAKER_FEE):
                self.cancel(maker, "marginCanceled")
                continue
            if liquidation is None and not can_trade(user, market, signed, px, TAKER_FEE):
                return True
            self._fill(taker, maker, traded, liquidation)
            left -= traded
            done.sz += traded
            done.notional += traded * px // SCALE
        return False

    def _fill(
        self, taker: OrderStatus, maker: Resting, sz: int, liquidation: Liquidation | None
    ) -> None:
        market, oid, out = taker.market, maker.oid, self._tape.out
        position = self._clearing.position
        taker_start, maker_start = position(taker.user, market), position(maker.user, market)
        self.trade(taker, maker.opened, sz, maker.px, liquidation)
        maker.traded = True
        self.books[market].resize(maker, maker.sz - sz)
        out.append(BookChanged(market, oid, maker.sz))
        if not maker.sz:
            self.open.remove(maker)
            out.append(BookRemoved(market, oid))
            self._tape.moved(maker.opened, 0, "filled")
            self._end(maker.opened, filled=True)
        self.position_changed(maker.user, market, maker_start)
        self.position_changed(taker.user, market, taker_start)

    def _rest(self, opened: OrderStatus, sz: int, *, traded: bool) -> None:
        market, oid, user, side = opened.market, opened.oid, opened.user, opened.side
        px = opened.limit_px
        self.open.add(Resting(oid, user, side, px, sz, opened, traded))
        self._tape.out.append(BookAdded(market, oid, user, side, px, sz))

    def _follow(self, order: Resting, position: int) -> None:
        """A resting reduce-only order follows the position."""
        book = self.books[order.opened.market]
        if order.oid not in book.orders:
            return
        if not position or (position > 0) == (order.side == BID):
            self.cancel(order, "reduceOnlyCanceled")
        elif order.sz > abs(position):
            book.resize(order, abs(position))
            self._tape.out.append(BookChanged(order.opened.market, order.oid, order.sz))

    def _drop_position_tpsl(self, user: bytes, market: int) -> None:
        """A position was closed or turned: its take profit and stop go with it."""
        waiting = self.triggers[market].orders
        for order in list(self.triggers[market].of_user(user).values()):
            trigger = order.opened.trigger
            if trigger is not None and trigger.is_position_tpsl and order.opened.oid in waiting:
                siblings = self.links.siblings.get(order.opened.oid, ())
                closing = any(one not in waiting for one in siblings)  # it is what closed it
                self.cancel(order, "siblingFilledCanceled" if closing else "reduceOnlyCanceled")

    def _end(self, opened: OrderStatus, *, filled: bool) -> None:
        """An order ended: those that depend on it begin to wait, or end too."""
        oid = opened.oid
        if oid not in self.links.children and oid not in self.links.siblings:
            return
        children, siblings = self.links.end(oid)
        waiting = self.triggers[opened.market]
        for child in children:
            order = waiting.orders.get(child)
            if order is not None and filled:
                order.opened = moved(order.opened, order.opened.sz, "open", self._tape.time_ns)
                waiting.activate(order)
                self._tape.out.append(order.opened)
            elif order is not None:
                self.cancel(order, "canceled")
        if filled:
            for sibling in siblings:
                other = self.open.find(opened.user, opened.market, sibling)
                if other is not None:
                    self.cancel(other, "siblingFilledCanceled")


def crosses(side: int, px: int, opposite_px: int | None) -> bool:
    """Whether an order of `side` at `px` trades with one at `opposite_px`; None never trades."""
    if opposite_px is None:
        return False
    return opposite_px <= px if side == BID else opposite_px >= px
