"""From a signed action's bytes to its answer's: what both HTTP and WebSocket do with one.

    body ─▶ schema ─▶ limits ─▶ signer ─▶ sent before? ─▶ rules ─▶ submit.sock ─▶ answer
                                             └─ the same answer

Up to the socket all is done at once, in the call that brings the bytes. Recovering a signer takes
100 us, so that only so many are admitted per turn of the event loop; the rest waits, each address
has its turn (`turns`), and blocks are not kept.
"""

import time
from collections import Counter
from functools import partial

import anyio
from anyio.lowlevel import checkpoint

from sidecar.api.orders.admission import Action, Admission, read_action
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import (
    UNAVAILABLE,
    Outcome,
    failed,
    turned_away,
    unavailable,
    unreadable,
)
from sidecar.api.orders.sent import Key
from sidecar.api.orders.signing import SignedAction, decode_signed, recover, signed_digest
from sidecar.errors import (
    Limited,
    NodeUnreachable,
    NotAdmitted,
    Overloaded,
    PeerError,
    RequestInvalid,
)
from sidecar.limits import ORDERS_ADMITTED_PER_TURN, ORDERS_TURN_BYTES
from sidecar.node.submitter import Submitter
from sidecar.server.flights import Flight, Flights
from sidecar.server.order_limits import OrderLimits
from sidecar.server.turns import Turns
from sidecar.server.unsent import Unsent
from sidecar.settings import OrderSettings
from sidecar.state.chain import ChainState
from sidecar.telemetry.counts import Counts
from sidecar.telemetry.logs import get_log

_log = get_log("orders")

_SHUTTING_DOWN = "The server is shutting down."


class OrderEntry:
    """Takes signed actions, sends on what may be good, and tells what became of them."""

    def __init__(
        self,
        state: ChainState,
        settings: OrderSettings,
        submitter: Submitter,
        counts: Counts | None = None,
    ) -> None:
        self.refusals: Counter[str] = Counter()  # by rule
        self.flights = Flights(state, submitter, counts or Counts())
        self.submitter = submitter
        self._admission = Admission(state, settings.off(), self.flights.unsettled.__contains__)
        self._limits = OrderLimits(settings, self.flights)
        self.allowance = self._limits.allowance
        self._closing = False
        self._turn = ORDERS_ADMITTED_PER_TURN
        self._turns = Turns()
        self._unsent = Unsent()
        self._ended = False  # no more turns are given
        self._wake = anyio.Event()
        submitter.on_room = self._wake_up

    def adopt(self, settings: OrderSettings) -> None:
        """Other rules and limits, for what comes from now on."""
        self._admission.skip(settings.off())
        self._limits.adopt(settings)

    def take(self, incoming: Incoming) -> None:
        """Sees to it that an action is answered: now, or when its turn or its answer comes."""
        self._wake.set()
        if incoming.urgent:
            self._hurry(incoming)
        elif self._turn > 0 and not self._turns:
            self._admit_in_turn(incoming)
        else:
            self._queue(incoming)

    async def run(self) -> None:
        """Gives each turn of the event loop its share of actions."""
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                self._turn = ORDERS_ADMITTED_PER_TURN
                while self._has_unsent and self._turn > 0:
                    self._turn -= 1
                    self._hurry(self._unsent.next())
                while self._turns and self._turn > 0:
                    self._admit_in_turn(self._turns.next())
                if self._turns or self._has_unsent:
                    self._wake.set()
                    await checkpoint()
        finally:
            self._ended = True
            self._end_turns()
            while self._unsent:
                self._unsent.next().told(unavailable(_SHUTTING_DOWN))

    async def close(self, within_s: float) -> None:
        """Takes nothing more but safety nets; waits until what is on its way has its answer. When
        time is up, the fate of the rest is told as unknown.
        """
        self._closing = True
        with anyio.move_on_after(within_s):
            await self.flights.landed()
        self.flights.give_up("The server is shutting down")
        self._end_turns()
        await checkpoint()  # who was told goes on to tell its client

    def lay(self, body: bytes, address: str) -> tuple[Action, Key]:
        """An action that is to be sent later on, as far as that can be judged now; it counts as one
        that is sent. Raises `PeerError`.
        """
        now, limits = time.monotonic(), self._limits
        limits.may_ask(address, now)
        signed, action = self._read(body, address, now)
        limits.take_of_address(action, address, now)
        digest, key = _identify(signed)
        limits.take_of_account(action, self._admission.account_of(action.kind, key[0]), now)
        if self.flights.actions.find(key, digest) is None:
            self._admission.check(action, key[0])
        return action, key

    @property
    def _has_unsent(self) -> bool:
        """Whether there is something that the node did not take, and it takes something now."""
        return bool(self._unsent) and self.submitter.has_room(urgent=True)

    def _wake_up(self) -> None:
        self._wake.set()

    def _hurry(self, incoming: Incoming) -> None:
        """A safety net: it is kept until the node takes it."""
        urgent = incoming._replace(told=partial(self._told_of_urgent, incoming))
        if self._ended or not self._turns.hurry(urgent):
            self._admit(urgent)

    def _told_of_urgent(self, incoming: Incoming, outcome: Outcome) -> None:
        if outcome.code != UNAVAILABLE or self._ended or not self._unsent.keep(incoming):
            incoming.told(outcome)
            return
        _log.warning("on disconnect waits", why=outcome.message, trace_id=incoming.trace.trace_id)

    def _queue(self, incoming: Incoming) -> None:
        try:
            self._limits.may_ask(incoming.address, time.monotonic())
            self._turns.add(incoming)
        except Limited as error:
            self._turn_away(incoming, error)
        except Overloaded as error:
            self.refusals["unavailable"] += 1
            incoming.told(unavailable(str(error)))

    def _end_turns(self) -> None:
        """Of all that waits only safety nets are sent, and what goes before them."""
        waiting = list(self._turns.take_all())
        ended = {one.connection for one in waiting if one.urgent}
        for one in waiting:
            if one.connection in ended:
                self._admit(one)
            else:
                one.told(unavailable(_SHUTTING_DOWN))

    def _admit_in_turn(self, incoming: Incoming) -> None:
        self._turn -= 1 + len(incoming.body) // ORDERS_TURN_BYTES
        self._admit(incoming)

    def _admit(self, incoming: Incoming) -> None:
        try:
            self._send(incoming)
        except PeerError as error:
            self._turn_away(incoming, error)
        except NodeUnreachable as error:
            self.refusals["unavailable"] += 1
            incoming.told(unavailable(str(error)))
        except Exception:  # noqa: BLE001 - it may be in the turn of others: it must not end them
            _log.exception("bug: action not sent", trace_id=incoming.trace.trace_id)
            incoming.told(failed())

    def _turn_away(self, incoming: Incoming, error: PeerError) -> None:
        if isinstance(error, RequestInvalid):
            self.refusals["schema"] += 1
            incoming.told(unreadable(str(error)))
            return
        if isinstance(error, NotAdmitted):
            self.refusals[error.rule] += 1
        else:
            self.refusals["limit" if isinstance(error, Limited) else "signature"] += 1
        incoming.told(turned_away(error))

    def _send(self, incoming: Incoming) -> None:
        turn_ns = time.time_ns()
        now, limits = time.monotonic(), self._limits
        if not incoming.urgent:
            limits.may_ask(incoming.address, now)
        signed, action = self._read(incoming.body, incoming.address, now)
        if not incoming.urgent:
            limits.take_of_address(action, incoming.address, now)
        digest, key = _identify(signed)
        actions, admission = self.flights.actions, self._admission
        known = actions.find(key, digest, refuse=admission.is_on("nonce"))
        if known is not None:
            known.ask(incoming.told)
            return
        account = admission.account_of(action.kind, key[0])
        if not incoming.urgent:
            if self._closing:
                raise NodeUnreachable(_SHUTTING_DOWN)
            limits.take_of_account(action, account, now)
            limits.may_fly(action, incoming.address, account)
        admission.check(action, key[0])
        self.flights.launch(
            Flight(incoming, key, digest, account, action.touches(account), turn_ns)
        )
        if incoming.urgent:
            limits.charge(action, incoming.address, account, now)

    def _read(self, body: bytes, address: str, now: float) -> tuple[SignedAction, Action]:
        try:
            signed = decode_signed(body)
            return signed, read_action(signed, body)
        except PeerError:
            self._limits.take_unreadable(address, now)
            raise


def _identify(signed: SignedAction) -> tuple[bytes, Key]:
    """The digest, and signer and nonce. Raises `RequestInvalid`, `SignatureInvalid`. 80 us."""
    digest = signed_digest(signed)
    return digest, (recover(digest, signed.signature), signed.nonce)
