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
from sidecar.limits import SENT_ACTIONS_KEPT
from sidecar.node.submission import Answer
from sidecar.node.submitter import Lost, Submitter
from sidecar.server.order_traces import OrderTrace, OrderTraces
from sidecar.state.chain import ChainState


class Flight(NamedTuple):
    """An action that goes to the node. `touches`: the addresses that it may change."""

    incoming: Incoming
    key: Key
    digest: bytes
    account: bytes
    touches: tuple[bytes, ...]


class Flights:
    """All of them, and of those that are over the newest."""

    def __init__(self, state: ChainState, submitter: Submitter) -> None:
        self.actions = SentActions(SENT_ACTIONS_KEPT)
        self.unsettled = Unsettled()
        self.traces = OrderTraces(state.height)
        self.open_by_ip: Counter[str] = Counter()
        self.open_by_account: Counter[bytes] = Counter()
        self.sent = 0  # so far
        self._landed = anyio.Event()
        self._state = state
        self._submitter = submitter

    def launch(self, flight: Flight) -> None:
        """Submits an action; who sent it is told what became of it. Raises `NodeUnreachable`; then
        nothing was sent.
        """
        incoming = flight.incoming
        trace = OrderTrace(incoming.trace, incoming.received_ns, time.time_ns())
        sent = SentAction(flight.digest, (incoming.told,))
        told = partial(self._told, flight, sent, trace)
        self._submitter.submit(incoming.body, incoming.received_ns, told)
        trace.submitted_ns = time.time_ns()
        self.actions.send(flight.key, sent)
        self.unsettled.add(flight.touches)
        self.open_by_ip[incoming.address] += 1
        self.open_by_account[flight.account] += 1
        self.sent += 1

    async def landed(self) -> None:
        """Until none is on its way."""
        while self.open_by_ip:
            self._landed = anyio.Event()
            await self._landed.wait()

    def applied(self, height: int) -> None:
        """The messages of a block have left. O(actions of the block)."""
        self.unsettled.applied(height)
        self.traces.applied(height)

    def _told(
        self, flight: Flight, sent: SentAction, trace: OrderTrace, answer: Answer | Lost
    ) -> None:
        """The answer to an action, or that there is none (yet)."""
        first = sent.outcome is None
        if isinstance(answer, Lost):
            height = self._state.height + 1  # as good as any: nobody knows
            self._lost(flight, sent, answer)
        else:
            height = answer.height
            self._answered(flight, sent, answer)
            self.traces.answered(trace, height)
        if first:
            self.unsettled.settle(height, flight.touches)
            decrement(self.open_by_ip, flight.incoming.address)
            decrement(self.open_by_account, flight.account)
            self._landed.set()

    def _lost(self, flight: Flight, sent: SentAction, lost: Lost) -> None:
        if lost.sent:
            self.actions.over(flight.key, sent)
            sent.tell(unknown(lost.why, flight.key[1]))
        else:
            self.actions.forget(flight.key, sent)
            sent.tell(unavailable(f"{lost.why}; the action was not sent."))

    def _answered(self, flight: Flight, sent: SentAction, answer: Answer) -> None:
        if answer.height:
            self.actions.over(flight.key, sent)
        else:
            self.actions.forget(flight.key, sent)  # no block saw it: its nonce is free
        make = executed if answer.ok else refused
        try:
            outcome = make(answer.response, answer.height)
        except (TypeError, ValueError, RecursionError) as error:  # msgpack that JSON can't say
            outcome = unknown(f"The node's answer can't be told: {error}", flight.key[1])
        sent.tell(outcome)
