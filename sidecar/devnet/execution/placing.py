"""Placing orders: alone, as take profit and stop of another, or of a position; and modifying them.

grouping        orders
na              each for itself
normalTpsl      the first is the parent; the others wait for its fill, each gives way to the
                other
positionTpsl    take profit and stop of the whole position, whatever it is when they trigger
"""

import msgspec

from sidecar.devnet.execution.actions import (
    NORMAL_TPSL,
    POSITION_TPSL,
    Attached,
    Filled,
    Modify,
    Outcome,
    Place,
    PlaceGroup,
    Rested,
)
from sidecar.devnet.execution.clearing import Clearing
from sidecar.devnet.execution.entry import Entry, triggers_above
from sidecar.devnet.execution.matching import Execution, Matching
from sidecar.devnet.execution.orders import GTC, MARKET, Resting, Waiting
from sidecar.devnet.execution.refusals import REFUSED, ActionRefused, Refusal, Refused
from sidecar.devnet.execution.tape import Tape
from sidecar.fixed import to_text
from sidecar.node.transitions import OrderStatus, Trigger


class Placing:
    """Turns what is asked for into orders."""

    def __init__(self, tape: Tape, clearing: Clearing, matching: Matching, entry: Entry) -> None:
        self._tape = tape
        self._clearing = clearing
        self._matching = matching
        self._entry = entry

    def place(self, place: Place) -> Outcome:
        """Places an order by itself."""
        oid = self._matching.open.next_oid()
        refused = self._entry.refusal(place)
        if refused is not None:
            return self._refuse(oid, place, refused)
        return self._open(oid, place)

    def place_group(self, group: PlaceGroup) -> list[Outcome]:
        """Places orders that belong together. Raises `ActionRefused` where they can't."""
        if group.grouping == NORMAL_TPSL:
            return self._place_bracket(group.orders)
        if group.grouping == POSITION_TPSL:
            return self._place_position_tpsl(group.orders)
        return [self.place(order) for order in group.orders]

    def modify(self, modify: Modify) -> Outcome:
        """Replaces an order. Where the new one is refused, the old one stays as it is."""
        place, matching = modify.place, self._matching
        if isinstance(modify.order, int):
            order = matching.open.find(modify.user, place.market, modify.order)
        else:
            order = matching.open.find_cloid(modify.user, modify.order)
        if order is None or order.opened.market != place.market:
            return REFUSED[Refusal.NOT_MODIFIABLE]
        refused = self._modification(order, place)
        oid = matching.open.next_oid()
        if refused is not None:
            return self._refuse(oid, place, refused)
        parent = order.parent if isinstance(order, Waiting) else 0
        matching.links.replace(order.opened.oid, oid, parent)
        matching.cancel(order, "canceled")
        for child in matching.links.children.get(oid, ()):
            waiting = matching.triggers[place.market].orders.get(child)
            if waiting is not None:  # its owner may have taken it back
                waiting.parent = oid
        if isinstance(order, Waiting) and place.trigger is not None:
            self._wait(oid, place, parent=parent, position_tpsl=_is_position_tpsl(order))
            return Rested(oid, place.cloid)
        return self._open(oid, place)

    def _modification(self, order: Resting | Waiting, place: Place) -> Refused | None:
        """Why an order can't become another one. What belongs to a parent or to a position stays
        what it is: take profit or stop, reduce-only, on its side.
        """
        child = isinstance(order, Waiting) and not order.active
        refused = self._entry.refusal(place, child=child, beside=-1)
        bound = child or _is_position_tpsl(order)
        if refused is None and bound and not _fits(place, place.market, order.opened.side):
            return REFUSED[Refusal.TRIGGER_PX]
        return refused

    def wake(self, order: Waiting) -> None:
        """The mark price reached a waiting order: it trades as a market order, or as a limit."""
        self._matching.wake(order)
        opened = order.opened
        position = abs(self._clearing.position(opened.user, opened.market))
        sz = opened.sz or position
        place = Place(
            opened.user,
            opened.market,
            opened.side,
            opened.limit_px,
            sz,
            MARKET if order.is_market else GTC,
            opened.cloid,
            opened.reduce_only,
        )
        live = woken(opened, place.tif, self._tape.time_ns)
        refused = self._entry.executable(place, woken=True)
        if refused is not None:
            self._matching.end_woken(live, refused.refusal.status)
            return
        self._matching.execute(live, self._entry.reducible(place) if place.reduce_only else sz)

    def _open(self, oid: int, place: Place) -> Outcome:
        if place.trigger is not None:
            self._wait(oid, place)
            return Rested(oid, place.cloid)
        opened = self._status(oid, place, "open")
        self._tape.out.append(opened)
        sz = self._entry.reducible(place) if place.reduce_only else place.sz
        return self._outcome(opened, self._matching.execute(opened, sz))

    def _place_bracket(self, orders: tuple[Place, ...]) -> list[Outcome]:
        if not orders:
            raise ActionRefused("normalTpsl takes an order, then its take profit, its stop or both")
        parent, children = orders[0], orders[1:]
        if parent.trigger is not None or not 0 < len(children) <= 2:
            raise ActionRefused("normalTpsl takes an order, then its take profit, its stop or both")
        for child in children:
            if not _fits(child, parent.market, 1 - parent.side):
                raise ActionRefused(
                    "take profit and stop are reduce-only trigger orders of the parent's market, "
                    "on the other side"
                )
        refused = self._entry.refusal(parent)
        oid = self._matching.open.next_oid()
        if refused is not None:
            return [self._refuse(oid, parent, refused), *[refused] * len(children)]
        refusals = [
            self._entry.refusal(child, child=True, beside=1 + number)
            for number, child in enumerate(children)
        ]
        oids = [self._matching.open.next_oid() for _ in children]
        for child, child_oid, reason in zip(children, oids, refusals, strict=True):
            if reason is None:
                self._wait(child_oid, child, parent=oid)
            else:
                self._refuse(child_oid, child, reason)
        waiting = [one for one, reason in zip(oids, refusals, strict=True) if reason is None]
        if waiting:
            self._matching.links.bracket(oid, tuple(waiting))
        outcomes = [self._open(oid, parent)]
        for child_oid, reason in zip(oids, refusals, strict=True):
            outcomes.append(reason or self._attached(child_oid, parent.market))
        return outcomes

    def _attached(self, oid: int, market: int) -> Outcome:
        """A child, after its parent was executed, which may have ended it."""
        order = self._matching.triggers[market].orders.get(oid)
        if order is None:
            return REFUSED[Refusal.NO_ORDER]
        return Attached(oid, for_fill=not order.active)

    def _place_position_tpsl(self, orders: tuple[Place, ...]) -> list[Outcome]:
        if not 0 < len(orders) <= 2:
            raise ActionRefused("positionTpsl takes a take profit, a stop or both")
        for order in orders:
            if not _fits(order, orders[0].market, orders[0].side):
                raise ActionRefused(
                    "take profit and stop of a position are reduce-only trigger orders of one "
                    "market and side"
                )
        outcomes: list[Outcome] = []
        waiting = []
        for order in orders:
            oid = self._matching.open.next_oid()
            refused = self._entry.refusal(order)
            if refused is not None:
                outcomes.append(self._refuse(oid, order, refused))
                continue
            self._wait(oid, order, position_tpsl=True)
            waiting.append(oid)
            outcomes.append(Attached(oid, for_fill=False))
        self._matching.links.pair(tuple(waiting))
        return outcomes

    def _wait(
        self, oid: int, place: Place, *, parent: int = 0, position_tpsl: bool = False
    ) -> None:
        assert place.trigger is not None
        opened = self._status(
            oid,
            place,
            "open",
            trigger=_trigger(place, position_tpsl=position_tpsl),
            sz=0 if position_tpsl else place.sz,
        )
        above, is_market = triggers_above(place), place.trigger.is_market
        self._matching.wait(Waiting(opened, above, is_market, not parent, parent))

    def _refuse(self, oid: int, place: Place, refused: Refused) -> Refused:
        trigger = None if place.trigger is None else _trigger(place)
        status = self._status(oid, place, refused.refusal.status, trigger=trigger, tx_hash=None)
        self._tape.out.append(status)
        return refused

    def _status(
        self,
        oid: int,
        place: Place,
        status: str,
        *,
        trigger: Trigger | None = None,
        sz: int | None = None,
        tx_hash: bytes | None = b"",
    ) -> OrderStatus:
        """The first status of an order. Like Hyperliquid's, only "open" has a hash."""
        size = place.sz if sz is None else sz
        now = self._tape.time_ns
        return OrderStatus(
            oid,
            place.user,
            place.market,
            place.side,
            place.px,
            size,
            size,
            None if place.trigger is not None else place.tif,
            place.reduce_only,
            trigger,
            place.cloid,
            status,
            now,
            now,
            _order_type(place),
            self._tape.hash if tx_hash is not None else None,
        )

    @staticmethod
    def _outcome(opened: OrderStatus, done: Execution) -> Outcome:
        if done.rests:
            return Rested(opened.oid, opened.cloid)
        if done.sz:
            return Filled(opened.oid, opened.cloid, done.sz, done.notional)
        if done.starved:
            return REFUSED[Refusal.MARGIN]
        return REFUSED[Refusal.NO_LIQUIDITY if opened.tif == MARKET else Refusal.IMMEDIATE]


def woken(opened: OrderStatus, tif: str, time_ns: int) -> OrderStatus:
    """What a waiting order is from its trigger on: placed anew, under its old id."""
    trigger = opened.trigger
    assert trigger is not None
    return msgspec.structs.replace(
        opened,
        tif=tif,
        trigger=Trigger(0, "Triggered", trigger.is_position_tpsl, waiting=False),
        status="triggered",
        time_ns=time_ns,
        placed_ns=time_ns,
        hash=None,
    )


def _order_type(place: Place) -> str:
    if place.trigger is None:
        return "Market" if place.tif == MARKET else "Limit"
    kind = "Take Profit" if place.trigger.tpsl == "tp" else "Stop"
    return f"{kind} {'Market' if place.trigger.is_market else 'Limit'}"


def _trigger(place: Place, *, position_tpsl: bool = False) -> Trigger:
    assert place.trigger is not None
    px = place.trigger.px
    where = "above" if triggers_above(place) else "below"
    condition = f"Price {where} {to_text(px).removesuffix('.0')}"
    return Trigger(px, condition, position_tpsl)


def _is_position_tpsl(order: Resting | Waiting) -> bool:
    trigger = order.opened.trigger
    return isinstance(order, Waiting) and trigger is not None and trigger.is_position_tpsl


def _fits(order: Place, market: int, side: int) -> bool:
    """Whether an order can be take profit or stop on that market and side."""
    return (
        order.trigger is not None
        and order.reduce_only
        and order.market == market
        and order.side == side
    )
