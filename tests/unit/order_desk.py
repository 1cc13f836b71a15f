"""Order entry in this process, beside a node whose end of the socket the test moves. Actions of any
address and connection are handed in without clients in between.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from eth_account.signers.local import LocalAccount

from blocks import TOYOTA
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import Outcome
from sidecar.node.transitions import Block, Transition
from sidecar.server.order_entry import OrderEntry
from sidecar.settings import OrderSettings
from sidecar.state.chain import ChainState
from sidecar.telemetry.tracecontext import continue_trace
from submit_node import Node, Peer, running, until
from trader import signed, wallet_of

ALICE = wallet_of(0xA11CE)
HERE, THERE = "192.0.2.1", "192.0.2.2"  # addresses


def noop(
    wallet: LocalAccount = ALICE, nonce: int | None = None, expires_after: int | None = None
) -> bytes:
    """A signed action that does nothing."""
    return json.dumps(signed(wallet, {"type": "noop"}, nonce, expires_after)).encode()


def another(body: bytes, minutes: int = 1) -> bytes:
    """Another action with the same nonce: it expires then."""
    nonce = json.loads(body)["nonce"]
    return noop(nonce=nonce, expires_after=nonce + minutes * 60_000)


def now(height: int, *transitions: Transition, later_ns: int = 0) -> Block:
    """A block of this moment, or a later one."""
    return Block(height, time.time_ns() + later_ns, 0, list(transitions))


class Desk:
    """Order entry and the node's end."""

    def __init__(
        self, tasks: TaskGroup, state: ChainState, orders: OrderEntry, node: Node, peer: Peer
    ) -> None:
        self.tasks = tasks
        self.state = state
        self.orders = orders
        self.node = node
        self.peer = peer

    def take(
        self, body: bytes, address: str = HERE, connection: object = None, *, urgent: bool = False
    ) -> list[Outcome]:
        """Hands an action in; what is told of it comes into the list."""
        told: list[Outcome] = []
        trace, came_ns = continue_trace(None), time.time_ns()
        whose = address if connection is None else connection
        self.orders.take(Incoming(body, address, whose, trace, came_ns, told.append, urgent=urgent))
        return told

    async def ends(self) -> None:
        """The node ends the connection, and the submitter has noticed."""
        self.peer.sock.close()
        await until(lambda: not self.orders.submitter.connected)

    async def connects(self) -> None:
        """The submitter has come back."""
        self.peer = await self.node.accept()
        await until(lambda: self.orders.submitter.connected)

    def applied(self, height: int, later_ns: int = 0) -> None:
        """The blocks up to that one were applied, and their messages have left."""
        while self.state.height < height:
            self.state.apply(now(self.state.height + 1, later_ns=later_ns))
            self.orders.flights.applied(self.state.height)


@asynccontextmanager
async def desk_of(
    path: Path, *, answer_timeout_s: float = 5.0, **settings: Any
) -> AsyncIterator[Desk]:
    """`settings`: of orders. Any signer is an account."""
    state = ChainState()
    state.apply(now(1, TOYOTA))
    off = OrderSettings(skip_rules="account", **settings)
    with Node(path / "submit.sock") as node:
        async with running(node.path, answer_timeout_s) as submitter:
            peer = await node.accept()
            await until(lambda: submitter.connected)
            async with anyio.create_task_group() as tasks:
                desk = Desk(tasks, state, OrderEntry(state, off, submitter), node, peer)
                tasks.start_soon(desk.orders.run)
                yield desk
                tasks.cancel_scope.cancel()
