"""From a signed action's bytes to its answer's: what both HTTP and WebSocket do with one.

    body ─▶ schema ─▶ limits ─▶ signer ─▶ sent before? ─▶ rules ─▶ submit.sock ─▶ answer
                                             └─ the same answer

Up to the socket all is done at once, in the call that brings the bytes. Recovering a signer takes
100 us, so that only so many are admitted per turn of the event loop; the rest waits in order, and
blocks are not kept.
"""

import time
from collections import Counter, deque

import anyio
from anyio.lowlevel import checkpoint

from sidecar.api.orders.admission import Action, Admission, read_action
from sidecar.api.orders.buckets import Buckets
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import failed, turned_away, unavailable, unreadable
from sidecar.api.orders.sent import Key
from sidecar.api.orders.signing import SignedAction, decode_signed, recover, signed_digest
from sidecar.config import OrderSettings
from sidecar.errors import Limited, NodeUnreachable, NotAdmitted, PeerError, RequestInvalid
from sidecar.limits import ORDERS_ADMITTED_PER_TURN, ORDERS_BATCH_WEIGHT, ORDERS_WAITING_MAX
from sidecar.node.submitter import Submitter
from sidecar.server.flights import Flight, Flights
from sidecar.state.chain import ChainState
from sidecar.telemetry.logs import get_log

_log = get_log("orders")


class OrderEntry:
    """Takes signed actions, sends on what may be good, and tells what became of them."""

    def __init__(self, state: ChainState, settings: OrderSettings, submitter: Submitter) -> None:
        self.refusals: Counter[str] = Counter()  # by rule
        self.flights = Flights(state, submitter)
        self.submitter = submitter
        self._admission = Admission(state, settings.off(), self.flights.unsettled.__contains__)
        self._settings = settings
        self._by_ip = Buckets(settings.per_s_per_ip, settings.burst_per_ip, "address")
        self._by_account = Buckets(
            settings.per_s_per_account, settings.burst_per_account, "account"
        )
        self._closing = False
        self._turn = ORDERS_ADMITTED_PER_TURN
        self._waiting: deque[Incoming] = deque()
        self._wake = anyio.Event()

    def take(self, incoming: Incoming) -> None:
        """Sees to it that an action is answered: now, or when its turn or its answer comes."""
        self._wake.set()
        if incoming.urgent:
            self._admit_all_of(incoming.connection)  # what came before goes before
            self._admit(incoming)
        elif self._turn > 0 and not self._waiting:
            self._turn -= 1
            self._admit(incoming)
        elif len(self._waiting) < ORDERS_WAITING_MAX:
            self._waiting.append(incoming)
        else:
            self._turn_away(incoming, Limited("Too many actions wait to be looked at.", 1.0))

    async def run(self) -> None:
        """Gives each turn of the event loop its share of actions."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            self._turn = ORDERS_ADMITTED_PER_TURN
            while self._waiting and self._turn > 0:
                self._turn -= 1
                self._admit(self._waiting.popleft())
            if self._waiting:
                self._wake.set()
                await checkpoint()

    async def close(self, within_s: float) -> None:
        """Takes nothing more but safety nets; waits until what is on its way has its answer, or
        time is up.
        """
        self._closing = True
        with anyio.move_on_after(within_s):
            await self.flights.landed()

    def check(self, body: bytes) -> Action:
        """An action that is to be sent later on, as far as that can be judged now. Raises
        `PeerError`.
        """
        signed = decode_signed(body)
        action = read_action(signed, body)
        digest, key = _identify(signed)
        if self.flights.actions.find(key, digest) is None:
            self._admission.check(action, key[0])
        return action

    def allowance(self, address: bytes) -> tuple[int, int]:
        """Requests that an account has used of its bucket, and the bucket's size."""
        buckets = self._by_account
        return buckets.burst - buckets.left(address, time.monotonic()), buckets.burst

    def _admit_all_of(self, connection: object) -> None:
        mine = [one for one in self._waiting if one.connection is connection]
        if mine:
            self._waiting = deque(one for one in self._waiting if one.connection is not connection)
        for one in mine:
            self._admit(one)

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
        now = time.monotonic()
        signed, action = self._read(incoming, now)
        weight = 1 + action.size // ORDERS_BATCH_WEIGHT
        if not incoming.urgent:
            self._by_ip.take(incoming.address, weight, now, cancel=action.is_cancel)
        digest, key = _identify(signed)
        actions, admission = self.flights.actions, self._admission
        known = actions.find(key, digest, refuse=admission.is_on("nonce"))
        if known is not None:
            known.ask(incoming.told)
            return
        account = admission.account_of(action.kind, key[0])
        if not incoming.urgent:
            if self._closing:
                raise NodeUnreachable("The server is shutting down.")
            self._by_account.take(account, weight, now, cancel=action.is_cancel)
            self._limit_open(incoming.address, account, cancel=action.is_cancel)
        admission.check(action, key[0])
        self.flights.launch(Flight(incoming, key, digest, account, action.touches(account)))

    def _read(self, incoming: Incoming, now: float) -> tuple[SignedAction, Action]:
        """What can't be read is counted, too; who has nothing left is not read at all."""
        address = incoming.address
        if not incoming.urgent:
            self._by_ip.check(address, now)
        try:
            signed = decode_signed(incoming.body)
            return signed, read_action(signed, incoming.body)
        except PeerError:
            self._by_ip.take(address, 1, now, cancel=True)
            raise

    def _limit_open(self, address: str, account: bytes, *, cancel: bool) -> None:
        """Cancels may have as many again on their way."""
        flights, settings = self.flights, self._settings
        for open_, most, whose in (
            (flights.open_by_ip.get(address, 0), settings.in_flight_per_ip, "address"),
            (flights.open_by_account.get(account, 0), settings.in_flight_per_account, "account"),
        ):
            if open_ >= (2 * most if cancel else most):
                raise Limited(f"{most} actions of this {whose} wait for their blocks.", 0.1)


def _identify(signed: SignedAction) -> tuple[bytes, Key]:
    """The digest, and signer and nonce. Raises `RequestInvalid`, `SignatureInvalid`. 80 us."""
    digest = signed_digest(signed)
    return digest, (recover(digest, signed.signature), signed.nonce)
