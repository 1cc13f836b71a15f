"""What users ask of the exchange, and what becomes of it.

The wire's JSON becomes these in `wire.py`; the synthetic traders make them themselves. Amounts are
in units of 1e-8.
"""

import msgspec

from sidecar.devnet.execution.orders import GTC
from sidecar.devnet.execution.refusals import Refused

NA = "na"
NORMAL_TPSL = "normalTpsl"  # the first order is the parent, the others its take profit and stop
POSITION_TPSL = "positionTpsl"  # take profit and stop of whatever the position is


class TriggerSpec(msgspec.Struct, frozen=True, gc=False):
    """When a stop ("sl") or take-profit ("tp") order comes to life, and what it is then."""

    px: int
    is_market: bool
    tpsl: str


class Place(msgspec.Struct, frozen=True, gc=False):
    """Place an order. A market order's `px` is the worst price it takes."""

    user: bytes
    market: int
    side: int
    px: int
    sz: int
    tif: str = GTC
    cloid: bytes | None = None
    reduce_only: bool = False
    trigger: TriggerSpec | None = None


class PlaceGroup(msgspec.Struct, frozen=True, gc=False):
    """Place orders that belong together, as `grouping` says."""

    user: bytes
    orders: tuple[Place, ...]
    grouping: str


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Take an order of one's own back, resting or waiting."""

    user: bytes
    market: int
    oid: int


class CancelByCloid(msgspec.Struct, frozen=True, gc=False):
    """Likewise, by the id that its owner gave it."""

    user: bytes
    market: int
    cloid: bytes


class Modify(msgspec.Struct, frozen=True, gc=False):
    """Replace an order of one's own (oid or cloid) by a new one, which joins the queue's end."""

    user: bytes
    order: int | bytes
    place: Place


class ScheduleCancel(msgspec.Struct, frozen=True, gc=False):
    """Cancel everything of the user's at a time (ns); None takes that back."""

    user: bytes
    time_ns: int | None


class UpdateLeverage(msgspec.Struct, frozen=True, gc=False):
    """The leverage with which positions of a market are opened from now on."""

    user: bytes
    market: int
    leverage: int
    is_cross: bool


class UpdateIsolatedMargin(msgspec.Struct, frozen=True, gc=False):
    """Move margin into an isolated position (a positive amount) or out of it."""

    user: bytes
    market: int
    amount: int


class ApproveAgent(msgspec.Struct, frozen=True, gc=False):
    """Let `agent` sign for the user; an agent of the same name, or the one without, is replaced."""

    user: bytes
    agent: bytes
    name: str
    valid_until: int = 0


class Send(msgspec.Struct, frozen=True, gc=False):
    """Move quote currency to another account."""

    user: bytes
    destination: bytes
    amount: int


class Deposit(msgspec.Struct, frozen=True, gc=False):
    """Quote currency from nowhere: the faucet."""

    user: bytes
    amount: int


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """The way back: quote currency leaves the chain."""

    user: bytes
    amount: int


class Noop(msgspec.Struct, frozen=True, gc=False):
    """Nothing; it uses up a nonce."""

    user: bytes


Action = (
    Place
    | PlaceGroup
    | Cancel
    | CancelByCloid
    | Modify
    | ScheduleCancel
    | UpdateLeverage
    | UpdateIsolatedMargin
    | ApproveAgent
    | Send
    | Deposit
    | Withdraw
    | Noop
)


class Rested(msgspec.Struct, frozen=True, gc=False):
    """The order rests, or waits for its trigger; a part of it may have traded."""

    oid: int
    cloid: bytes | None


class Filled(msgspec.Struct, frozen=True, gc=False):
    """The order traded: `sz` of it for `notional` together."""

    oid: int
    cloid: bytes | None
    sz: int
    notional: int


class Attached(msgspec.Struct, frozen=True, gc=False):
    """A take profit or stop of a group: it waits for the parent's fill, or for its price."""

    oid: int
    for_fill: bool


class Done(msgspec.Struct, frozen=True, gc=False):
    """The action had its effect."""


DONE = Done()
Outcome = Rested | Filled | Attached | Done | Refused
