"""Signed actions between their submission and their answer: who waits for them, what they touch,
how many there are.
"""

import time
from collections import Counter
from functools import partial
from typing import NamedTuple

import anyio

from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import executed, refused, unavailable, unknown
from sidecar.api.orders.sent import Key, SentAction, SentActions, Unsettled, decrement
from sidecar.limits import HEIGHT_AHEAD_MAX, SENT_ACTIONS_BYTES_MAX, SENT_ACTIONS_KEPT
from sidecar.node.submission import Answer
from sidecar.node.submitter import Lost, Submitter, Told
from sidecar.server.adrift import Adrift
from sidecar.server.nonce_watch import NonceWatch
from sidecar.server.order_traces import OrderTrace, OrderTraces
from sidecar.state.chain import ChainState
from sidecar.telemetry.counts import Counts
from sidecar.telemetry.logs import get_log

_log = get_log("orders")


class Flight(NamedTuple):
    """An action that goes to the node. `touches`: the addresses that it may change."""

    incoming: Incoming
    key: Key
    digest: bytes
    account: bytes
    touches: tuple[bytes, ...]
    turn_ns: int  # when its turn came, since the epoch


class Flights:
    """All of them, and of those that are over the newest."""

    def __init__(self, state: ChainState, submitter: Submitter, counts: Counts) -> None:
        self._counts = counts
        self.actions = SentActions(SENT_ACTIONS_KEPT, SENT_ACTIONS_BYTES_MAX)
        self.unsettled = Unsettled(state.height)
        self.traces = OrderTraces(state.height, counts.order_seconds)
        self.nonces = NonceWatch()
        self.open_by_ip: Counter[str] = Counter()
        self.open_by_account: Counter[bytes] = Counter()
        self.sent = 0  # so far
        self._open: dict[int, Told] = {}  # those without an answer, by number
        self._adrift = Adrift()
        self._landed = anyio.Event()
        self._state = state
        self._submitter = submitter

    def launch(self, flight: Flight) -> None:
        """Submits an action; who sent it is told what became of it. Raises `NodeUnreachable`; then
        nothing was sent.
        """
        incoming, number = flight.incoming, self.sent + 1
        trace = OrderTrace(incoming.trace, incoming.received_ns, flight.turn_ns, time.time_ns())
        sent = SentAction(flight.digest, (incoming.told,))
        told = partial(self._told, number, flight, sent, trace)
        submit = self._submitter.submit
        submit(incoming.body, incoming.received_ns, told, urgent=incoming.urgent)
        trace.submitted_ns = time.time_ns()
        self.sent = number
        self._open[number] = told
        self.actions.send(flight.key, sent)
        self.unsettled.add(flight.touches)
        self.open_by_ip[incoming.address] += 1
        self.open_by_account[flight.account] += 1
        self.nonces.sent(flight.key)

    async def landed(self) -> None:
        """Until none is on its way."""
        while self._open:
            self._landed = anyio.Event()
            await self._landed.wait()

    def give_up(self, why: str) -> None:
        """No answer is waited for any more: the fate of what is on its way is unknown."""
        for told in list(self._open.values()):
            told(Lost(sent=True, why=why))

    def applied(self, height: int) -> None:
        """The messages of a block have left. O(actions of the block)."""
        self._give_up_late()
        self.unsettled.applied(height)
        self.traces.applied(height)

    def _told(
        self,
        number: int,
        flight: Flight,
        sent: SentAction,
        trace: OrderTrace,
        answer: Answer | Lost,
    ) -> None:
        """The answer to an action, or that there is none (yet)."""
        if isinstance(answer, Answer) and answer.height > self._state.height + HEIGHT_AHEAD_MAX:
            _log.warning("answer of a block that can't be", height=answer.height)
            answer = Lost(sent=True, why=f"The node's answer is of block {answer.height}")
        first = self._open.pop(number, None) is not None
        if isinstance(answer, Lost):
            self._lost(number if first else None, flight, sent, answer)
        else:
            touches = flight.touches if first else self._adrift.found(number)
            if touches is not None:
                self.unsettled.settle(answer.height, touches)
            self._answered(flight, sent, answer)
            trace.ok = answer.ok
            self.traces.answered(trace, answer.height)
        if first:
            decrement(self.open_by_ip, flight.incoming.address)
            decrement(self.open_by_account, flight.account)
            self._landed.set()

    def _lost(self, first: int | None, flight: Flight, sent: SentAction, lost: Lost) -> None:
        """`first`: its number, where it had no answer so far."""
        if not lost.sent:
            if first is not None:
                self.unsettled.settle(0, flight.touches)
            self._counts.outcomes["not_sent"] += 1
            what = unavailable(f"{lost.why}; the action was not sent.")
            self.actions.forget(flight.key, sent, what)
            return
        if first is not None:
            self._counts.outcomes["unknown"] += 1
            self._adrift.add(first, flight.touches, time.monotonic())
            self._give_up_late()
        self.actions.over(flight.key, sent, unknown(lost.why, flight.key[1]))

    def _give_up_late(self) -> None:
        """What was lost so long ago that no block will execute it any more is settled."""
        if self._adrift:
            for touches in self._adrift.given_up(time.monotonic()):
                self.unsettled.settle(0, touches)

    def _answered(self, flight: Flight, sent: SentAction, answer: Answer) -> None:
        self._counts.outcomes["executed" if answer.ok else "refused_by_chain"] += 1
        make = executed if answer.ok else refused
        try:
            outcome = make(answer.response, answer.height)
        except (TypeError, ValueError, RecursionError) as error:  # msgpack that JSON can't say
            outcome = unknown(f"The node's answer can't be told: {error}", flight.key[1])
        if answer.height:
            self.actions.over(flight.key, sent, outcome)
        else:
            self.actions.forget(flight.key, sent, outcome)  # no block saw it: its nonce is free
