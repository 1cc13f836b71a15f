"""An exchange with one market and four users, and short words for what it says."""

from sidecar.devnet.execution.actions import (
    NORMAL_TPSL,
    Action,
    Deposit,
    Outcome,
    Place,
    PlaceGroup,
    TriggerSpec,
)
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.markets import MARKETS
from sidecar.devnet.execution.orders import GTC
from sidecar.devnet.execution.refusals import Refusal, Refused
from sidecar.fixed import parse, to_text
from sidecar.node.transitions import (
    ASK,
    BID,
    BookAdded,
    BookChanged,
    BookRemoved,
    Fill,
    OrderStatus,
    Transition,
)

ANN, BEN, CAT, DAN = (name * 20 for name in (b"a", b"b", b"c", b"d"))
TOYOTA = MARKETS[0]
MARK = "3000"


class Pit:
    """An exchange with one market and an open block, and short words for its transitions.

    Oracle and mark are at 3000, everybody has 10 million yen.
    """

    def __init__(self) -> None:
        self.exchange = Exchange("test", (TOYOTA,))
        self.out = self.exchange.begin_block(1, 1_000)
        self.mark(MARK)
        for user in (ANN, BEN, CAT, DAN):
            self.exchange.execute(Deposit(user, parse("10000000")))

    def mark(self, px: str) -> None:
        """New oracle and mark; what they wake is executed."""
        del self.out[:]
        self.exchange.set_prices(0, parse(px), parse(px))
        self.exchange.wake_triggers()
        self.exchange.check_invariants()

    def place(self, user: bytes, side: int, sz: str, px: str, tif: str = GTC) -> Refusal | None:
        return self.do(order(user, side, sz, px, tif))

    def do(self, action: Action) -> Refusal | None:
        """Why it was refused, None where it was not."""
        outcome = self.outcome(action)
        return outcome.refusal if isinstance(outcome, Refused) else None

    def outcome(self, action: Action) -> Outcome:
        outcomes = self.outcomes(action)
        assert not isinstance(outcomes, list)
        return outcomes

    def outcomes(self, action: Action) -> Outcome | list[Outcome]:
        del self.out[:]
        outcomes = self.exchange.execute(action)
        self.exchange.check_invariants()
        return outcomes

    def trade(self, buyer: bytes, seller: bytes, sz: str, px: str = MARK) -> None:
        """A trade of two strangers, the seller's order resting; two oids."""
        self.do(order(seller, ASK, sz, px))
        self.do(order(buyer, BID, sz, px))

    def position(self, user: bytes) -> str:
        return text(self.exchange.clearing.position(user, 0))

    def said(self) -> list[str]:
        return [words(transition) for transition in self.out]

    def fills(self) -> list[Fill]:
        return [transition for transition in self.out if isinstance(transition, Fill)]

    def resting(self, side: int) -> list[tuple[int, int]]:
        return [(order.oid, order.sz) for order in self.exchange.books[0].queue(side)]

    def waiting(self) -> list[int]:
        return sorted(self.exchange.matching.triggers[0].orders)


def order(
    user: bytes,
    side: int,
    sz: str,
    px: str,
    tif: str = GTC,
    *,
    reduce_only: bool = False,
    cloid: bytes | None = None,
    trigger: TriggerSpec | None = None,
) -> Place:
    return Place(user, 0, side, parse(px), parse(sz), tif, cloid, reduce_only, trigger)


def stop(side: int, sz: str, at: str, worst: str, *, user: bytes = ANN, tpsl: str = "sl") -> Place:
    """A market order that waits, and only reduces."""
    spec = TriggerSpec(parse(at), True, tpsl)
    return order(user, side, sz, worst, reduce_only=True, trigger=spec)


def profit(side: int, sz: str, at: str, *, user: bytes = ANN) -> Place:
    """A limit order at its trigger price that waits, and only reduces."""
    return order(user, side, sz, at, reduce_only=True, trigger=TriggerSpec(parse(at), False, "tp"))


def bracket(parent: Place) -> PlaceGroup:
    """Ann's order with a take profit (limit) and a stop (market) of 5, 100 yen from 3000."""
    side = 1 - parent.side
    at = ("3100", "2900") if side == ASK else ("2900", "3100")
    worst = "2700" if side == ASK else "3300"
    return PlaceGroup(
        ANN, (parent, profit(side, "5", at[0]), stop(side, "5", at[1], worst)), NORMAL_TPSL
    )


def words(transition: Transition) -> str:
    match transition:
        case OrderStatus():
            return f"{transition.oid} {transition.status} {text(transition.sz)}"
        case BookAdded():
            return f"{transition.oid} added {text(transition.sz)}"
        case BookChanged():
            return f"{transition.oid} changed {text(transition.sz)}"
        case BookRemoved():
            return f"{transition.oid} removed"
        case Fill():
            assert transition.buyer is not None
            assert transition.seller is not None
            oids = (transition.buyer.oid, transition.seller.oid)
            return f"fill {oids[0]}/{oids[1]} {text(transition.sz)}@{text(transition.px)}"
        case _:
            raise AssertionError(transition)


def text(units: int) -> str:
    return to_text(units).removesuffix(".0")
