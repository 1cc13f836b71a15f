"""Whether a signed action is sent on: the doorman turns away what the chain would refuse anyway.

    expiry      expiresAfter is over
    nonce       outside two days before and one day after the chain's time
    account     the signer is neither an account nor anybody's agent
    market      an asset that is not listed
    and the rules of each order (rules.py)

It never refuses because it knows too little: with something of the account on its way, or a feed
that is not live, the rules that would need to know are not asked. The chain has the last word.

Refusals are in the chain's words. Several orders in one action are sent on if one of them may be
good; if none may, the answer has one error for each, as the chain's would.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec import UnsetType

from sidecar.api.orders.rules import Asked, OrderRules, Refused, is_bracket, is_position_tpsl
from sidecar.api.orders.schema import (
    NS_PER_MS,
    ApproveAgentAction,
    BatchModifyAction,
    CancelAction,
    CancelByCloidAction,
    FaucetAction,
    ModifyAction,
    OrderAction,
    ScheduleCancelAction,
    UpdateIsolatedMarginAction,
    UpdateLeverageAction,
    UsdSendAction,
    WireAction,
    WireOrder,
)
from sidecar.api.orders.signing import SignedAction, is_user_signed, parse_address
from sidecar.errors import NotAdmitted, NumberInvalid, RequestInvalid
from sidecar.state.chain import ChainState
from sidecar.state.health import LIVE
from sidecar.state.market import Market

_DAY_MS = 24 * 60 * 60 * 1000


class Action(NamedTuple):
    """A signed action that makes sense."""

    signed: SignedAction
    kind: str
    wire: Any  # one of `WireAction`

    @property
    def is_cancel(self) -> bool:
        """Whether it only takes orders back, now or later."""
        return isinstance(self.wire, CancelAction | CancelByCloidAction | ScheduleCancelAction)

    @property
    def size(self) -> int:
        """How many orders, cancels or modifications it holds."""
        wire = self.wire
        for name in ("orders", "cancels", "modifies"):
            if (many := getattr(wire, name, None)) is not None:
                return len(many)
        return 1

    def touches(self, account: bytes) -> tuple[bytes, ...]:
        """The addresses that it may change; `account` is whose action it is."""
        wire = self.wire
        if isinstance(wire, UsdSendAction):
            return (account, *_known_address(wire.destination))
        if isinstance(wire, ApproveAgentAction):
            return (account, *_known_address(wire.agent_address))
        return (account,)


def _known_address(text: str) -> tuple[bytes, ...]:
    with suppress(RequestInvalid):
        return (parse_address(text),)
    return ()


class _Envelope(msgspec.Struct):
    action: WireAction


_decoder = msgspec.json.Decoder(_Envelope)


def read_action(signed: SignedAction, body: bytes) -> Action:
    """What was signed, by the schema; `body` is what `signed` was decoded of. Raises `NotAdmitted`,
    which names the field. O(bytes).
    """
    try:
        wire: Any = _decoder.decode(body).action
    except msgspec.ValidationError as error:
        what = str(error).replace("`$.action", "`$")
        raise NotAdmitted("schema", f"Invalid action: {what}") from None
    kind = signed.action["type"]
    if wire.__struct_config__.tag != kind:  # JSON with a key twice
        raise NotAdmitted("schema", "Invalid action: its type is not clear.")
    if signed.vault_address is not None:
        raise NotAdmitted("schema", f"Vault not registered: {signed.vault_address}")
    return Action(signed, kind, wire)


class Admission:
    """The rules that are on, against the state that is served. Pure: its clock is the chain's."""

    def __init__(
        self, state: ChainState, off: frozenset[str], on_its_way: Callable[[bytes], bool]
    ) -> None:
        """`on_its_way`: whether something that touches that address was sent and its block is not
        applied yet.
        """
        self._state = state
        self._on_its_way = on_its_way
        self.skip(off)

    def skip(self, off: frozenset[str]) -> None:
        """Asks all rules but these from now on."""
        self._off = off
        self._orders = OrderRules(self._state, off)

    def is_on(self, rule: str) -> bool:
        """Whether a rule is asked."""
        return rule not in self._off

    def account_of(self, kind: str, signer: bytes) -> bytes:
        """Whose account a signer acts on: its own, unless it is somebody's agent."""
        agent = self._state.accounts.agents.get(signer)
        if agent is None or is_user_signed(kind) or 0 < agent.valid_until <= self._state.time_ns:
            return signer
        return agent.user

    def check(self, action: Action, signer: bytes) -> bytes:
        """The address of the account that an action is for. Raises `NotAdmitted`. O(orders *
        positions).
        """
        signed, state = action.signed, self._state
        asked = self._read(action.wire)
        time_ms = state.time_ns // NS_PER_MS
        expires_after = signed.expires_after
        if expires_after is not None and expires_after < time_ms:
            self._refuse("expiry", f"Action expired: expiresAfter {expires_after} is over.")
        address = self.account_of(action.kind, signer)
        known = address in state.users.by_address or self._on_its_way(signer)
        if not known and not isinstance(action.wire, FaucetAction) and self._is_live():
            what = f"Must deposit before performing actions. User: 0x{address.hex()}"
            self._refuse("account", what)
        self._check_nonce(signed.nonce)
        if asked:
            self._check_orders(action.wire, asked, address)
        return address

    def _check_nonce(self, nonce: int) -> None:
        time_ms = self._state.time_ns // NS_PER_MS
        ahead = nonce >= time_ms + _DAY_MS and self._is_live()  # else the chain's time is another
        if ahead or nonce <= time_ms - 2 * _DAY_MS:
            what = f"{nonce} is not within two days before and one day after {time_ms}."
            self._refuse("nonce", f"Invalid nonce: {what}")

    def _is_live(self) -> bool:
        health = self._state.health
        return health is None or health.feed.state == LIVE

    def _refuse(self, rule: str, what: str) -> None:
        if rule not in self._off:
            raise NotAdmitted(rule, what)

    def _read(self, wire: Any) -> list[Asked]:
        """The orders of an action; empty also where a rule that is off leaves one unread."""
        orders: Sequence[WireOrder] = ()
        assets: list[int] = []
        if isinstance(wire, OrderAction):
            orders = wire.orders
        elif isinstance(wire, ModifyAction):
            orders = (wire.order,)
        elif isinstance(wire, BatchModifyAction):
            orders = [one.order for one in wire.modifies]
        elif isinstance(wire, CancelAction):
            assets = [one.a for one in wire.cancels]
        elif isinstance(wire, CancelByCloidAction):
            assets = [one.asset for one in wire.cancels]
        elif isinstance(wire, UpdateLeverageAction | UpdateIsolatedMarginAction):
            assets = [wire.asset]
        for asset in assets:
            self._market(asset)
        try:
            read = [self._asked(order) for order in orders]
        except NumberInvalid as error:
            raise NotAdmitted("schema", f"Invalid number: {error}") from None
        asked = [one for one in read if one is not None]
        return asked if len(asked) == len(read) else []

    def _asked(self, order: WireOrder) -> Asked | None:
        market = self._market(order.a)
        if isinstance(order.t.limit, UnsetType) == isinstance(order.t.trigger, UnsetType):
            what = "Invalid action: an order's `t` has either `limit` or `trigger`."
            raise NotAdmitted("schema", what)
        return None if market is None else Asked.of(order, market)

    def _market(self, asset: int) -> Market | None:
        market = self._state.markets.get(asset)
        if market is None and self._is_live():
            self._refuse("market", f"Invalid action: asset {asset} is not listed.")
        return market

    def _check_orders(self, wire: Any, asked: list[Asked], address: bytes) -> None:
        if isinstance(wire, ModifyAction):
            refused = self._refusal(asked[0], address, child=True)
            if refused is not None:
                raise NotAdmitted(*refused)
        elif isinstance(wire, BatchModifyAction):
            self._all_or_none([self._refusal(one, address, child=True) for one in asked])
        elif wire.grouping != "normalTpsl":
            tpsl = wire.grouping == "positionTpsl"
            if not tpsl or is_position_tpsl(asked):
                self._all_or_none([self._refusal(one, address) for one in asked])
        elif is_bracket(asked):  # without its parent no child is placed
            self._all_or_none([self._refusal(asked[0], address)] * len(asked))

    def _all_or_none(self, found: Sequence[Refused | None]) -> None:
        """Refuses only where nothing can come of an action."""
        refused = [one for one in found if one is not None]
        if len(refused) == len(found):
            statuses = [{"error": one.message} for one in refused]
            response = {"type": "order", "data": {"statuses": statuses}}
            raise NotAdmitted(refused[0].rule, refused[0].message, response)

    def _refusal(self, asked: Asked, address: bytes, *, child: bool = False) -> Refused | None:
        live = self._is_live()
        user = self._state.users.look(address) if live and self._is_settled(address) else None
        prices_known = live and asked.market.fault is None
        return self._orders.refusal(asked, user, prices_known=prices_known, child=child)

    def _is_settled(self, address: bytes) -> bool:
        return self._state.faults.of_account(address) is None and not self._on_its_way(address)
