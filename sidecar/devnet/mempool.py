"""Signed actions that wait for the next block, and their execution.

    body ─▶ admit: JSON, schema, signature ─▶ waits ─▶ in the next block: expiry, account, nonce,
                     refused at once                    then executed, in Hyperliquid's order

A block takes everything that waits: first what sends no Gtc or Ioc order to a book, then cancels,
then the rest, each in the order in which it came.
(https://hyperliquid.gitbook.io/hyperliquid-docs/hypercore/overview, transaction ordering)
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sidecar.api.orders.schema import NS_PER_MS
from sidecar.api.orders.signing import SignedAction, decode_signed, is_user_signed, recover_signer
from sidecar.devnet.execution.actions import Outcome
from sidecar.devnet.execution.agents import Nonces
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.markets import Market
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.devnet.wire.answers import answer
from sidecar.devnet.wire.reading import Order, read_action
from sidecar.errors import PeerError
from sidecar.limits import DEVNET_MEMPOOL_ACTIONS_MAX, DEVNET_MEMPOOL_BYTES_MAX

AnswerCallback = Callable[[bool, int, object], None]  # ok, height, response or message


class Submitted(msgspec.Struct, frozen=True):
    """A signed action that may be executed: who signed it, what it asks for."""

    body: bytes
    signed: SignedAction
    signer: bytes
    order: Order


class Result(msgspec.Struct, frozen=True):
    """What became of a submitted action: `response` is the endpoint's, a message if not `ok`."""

    ok: bool
    response: dict[str, Any] | str


class Mempool:
    """Admits signed actions and keeps them for the next block."""

    def __init__(self, markets: Mapping[int, Market]) -> None:
        self._markets = markets
        self._waiting: list[tuple[Submitted, AnswerCallback]] = []
        self._bytes = 0  # of the bodies that wait

    def accept(self, body: bytes, answer: AnswerCallback) -> None:
        """Takes an action in, or answers at once why not. About 200 us: a signature is recovered.

        `answer` is called once, with the height of the block that executed or refused the action,
        or 0 where no block saw it.
        """
        full = self._bytes + len(body) > DEVNET_MEMPOOL_BYTES_MAX
        if full or len(self._waiting) >= DEVNET_MEMPOOL_ACTIONS_MAX:
            answer(False, 0, "The mempool is full; try again.")
            return
        try:
            submitted = admit(body, self._markets)
        except PeerError as error:
            answer(False, 0, str(error))
            return
        self._waiting.append((submitted, answer))
        self._bytes += len(body)

    def take(self) -> list[tuple[Submitted, AnswerCallback]]:
        """Everything that waits, in the order in which a block executes it."""
        taken = sorted(self._waiting, key=lambda one: one[0].order.rank)
        self._waiting.clear()
        self._bytes = 0
        return taken


def admit(body: bytes, markets: Mapping[int, Market]) -> Submitted:
    """A body that can be executed. Raises `PeerError` with what is wrong with it."""
    signed = decode_signed(body)
    order = read_action(signed.action, markets)
    if signed.vault_address is not None:
        raise ActionRefused(f"Vault not registered: {signed.vault_address}")
    return Submitted(body, signed, recover_signer(signed), order)


def execute(exchange: Exchange, nonces: Nonces, submitted: Submitted) -> Result:
    """Executes an action in the block that is being made."""
    kind, signer = submitted.order.kind, submitted.signer
    user = signer if is_user_signed(kind) else exchange.agents.account_of(signer)
    try:
        _use(exchange, nonces, submitted, user)
        outcomes: list[Outcome] = []
        for action in submitted.order.make(user):
            outcome = exchange.execute(action)
            outcomes += outcome if isinstance(outcome, list) else [outcome]
    except ActionRefused as error:
        return Result(ok=False, response=str(error))
    response = answer(kind, outcomes)
    return Result(ok=not isinstance(response, str), response=response)


def _use(exchange: Exchange, nonces: Nonces, submitted: Submitted, user: bytes) -> None:
    """Uses the action's nonce up. Raises `ActionRefused` where it may not be executed now."""
    time_ms = exchange.tape.time_ns // NS_PER_MS
    expires_after = submitted.signed.expires_after
    if expires_after is not None and expires_after < time_ms:
        raise ActionRefused(f"Action expired: expiresAfter {expires_after} is over.")
    if user not in exchange.clearing.accounts and submitted.order.kind != "faucet":
        raise ActionRefused(f"Must deposit before performing actions. User: 0x{user.hex()}")
    nonces.use(submitted.signer, submitted.signed.nonce, time_ms)
