"""The chain's whole state as one message, and back: what a snapshot keeps for the chain itself.

A chain that is restored goes on exactly as the one that was saved would have.
"""

from typing import Any

import msgspec

from sidecar.devnet.chain import Chain, Tally
from sidecar.devnet.execution.accounts import Account
from sidecar.devnet.execution.agents import Agent
from sidecar.devnet.execution.funding import Premium
from sidecar.devnet.execution.marks import Mark
from sidecar.devnet.execution.orders import Resting, Waiting
from sidecar.devnet.execution.prices import Walk

_RandomState = tuple[int, tuple[int, ...], float | None]


class Saved(msgspec.Struct, array_like=True):
    """Everything that the next block depends on."""

    height: int
    time_ns: int
    oid: int
    trades: int
    oracles: dict[int, int]
    marks: dict[int, int]
    last_px: dict[int, int]
    averages: dict[int, Mark]
    walks: dict[int, Walk]
    oracle_random: _RandomState
    traders_random: _RandomState
    accounts: list[Account]
    resting: list[Resting]
    waiting: list[Waiting]
    cloids: list[tuple[bytes, bytes, int, int]]  # user, cloid, market, oid
    children: dict[int, tuple[int, ...]]
    siblings: dict[int, tuple[int, ...]]
    agents: list[Agent]
    nonces: dict[bytes, list[int]]
    scheduled: dict[bytes, int]
    premiums: dict[int, Premium]
    tallies: dict[int, Tally]
    unchecked: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Saved)


def save(chain: Chain) -> bytes:
    """The state between two blocks. O(orders + accounts)."""
    exchange = chain.exchange
    matching = exchange.matching
    saved = Saved(
        chain.height,
        chain.time_ns,
        matching.open.newest_oid,
        exchange.tape.trades,
        exchange.entry.oracles,
        exchange.clearing.marks,
        matching.last_px,
        chain.marks,
        chain.oracle.walks,
        _random_state(chain.oracle.random.getstate()),
        _random_state(chain.traders.random.getstate()),
        list(exchange.clearing.accounts.values()),
        [order for book in matching.books.values() for order in book.orders.values()],
        [order for triggers in matching.triggers.values() for order in triggers.orders.values()],
        [(*owner, *place) for owner, place in matching.open.cloids.items()],
        matching.links.children,
        matching.links.siblings,
        list(exchange.agents.approved.values()),
        chain.nonces.used,
        exchange.scheduled,
        chain.funding.premiums,
        chain.tallies,
        sorted(chain.unchecked),
    )
    return _encode(saved)


def restore(chain: Chain, state: bytes) -> None:
    """Puts a saved state into a chain that was made of the same config and has no block yet.

    Raises `msgspec.DecodeError`.
    """
    saved = _decoder.decode(state)
    exchange = chain.exchange
    matching = exchange.matching
    chain.height, chain.time_ns = saved.height, saved.time_ns
    matching.open.newest_oid, exchange.tape.trades = saved.oid, saved.trades
    exchange.entry.oracles.update(saved.oracles)
    exchange.clearing.marks.update(saved.marks)
    matching.last_px.update(saved.last_px)
    chain.marks = saved.averages
    chain.oracle.walks = saved.walks
    chain.oracle.random.setstate(saved.oracle_random)
    chain.traders.random.setstate(saved.traders_random)
    exchange.clearing.accounts.update((account.user, account) for account in saved.accounts)
    exchange.supply = exchange.total()
    matching.open.restore([*saved.resting, *saved.waiting])
    matching.open.cloids = {
        (user, cloid): (market, oid) for user, cloid, market, oid in saved.cloids
    }
    matching.links.children, matching.links.siblings = saved.children, saved.siblings
    exchange.agents.approved.update((agent.agent, agent) for agent in saved.agents)
    chain.nonces.used = saved.nonces
    exchange.scheduled.update(saved.scheduled)
    chain.funding.premiums = saved.premiums
    chain.tallies = saved.tallies
    chain.unchecked = set(saved.unchecked)


def _random_state(state: tuple[Any, ...]) -> _RandomState:
    version, numbers, gauss = state
    return version, numbers, gauss
