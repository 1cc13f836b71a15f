"""Signed actions: each is admitted, or refused by a documented error, and what its sender is told
can be encoded; it has the same signer however often it is read. All rules are asked, with a signer
that has an account, too.
"""

import random

import msgspec

import chain_case
from mutators.jsons import mutate_json
from sidecar.api.orders.admission import Action, Admission, read_action
from sidecar.api.orders.outcomes import Outcome, turned_away, unreadable
from sidecar.api.orders.signing import decode_signed, recover, signed_digest
from sidecar.errors import PeerError, RequestInvalid

AIMED_AT = (
    "sidecar.api.orders.admission",
    "sidecar.api.orders.rules",
    "sidecar.api.orders.schema",
    "sidecar.api.orders.signing",
)
TOKENS = (b'"limit":{"tif":"Gtc"}', b'"trigger":{"isMarket":true,"triggerPx":"1","tpsl":"tp"}')

_STATE = chain_case.new_state()
_ADMISSION = Admission(_STATE, frozenset(), lambda _: False)
_KNOWING_LESS = Admission(_STATE, frozenset(("market", "nonce", "account")), lambda _: True)
_HOLDERS = [address for address, user in _STATE.users.by_address.items() if user.positions][:3]
_DECODE = msgspec.json.Decoder().decode


def check(data: bytes) -> None:
    """Posts it."""
    try:
        _post(data)
    except PeerError as error:
        _told(unreadable(str(error)) if isinstance(error, RequestInvalid) else turned_away(error))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Another action."""
    return mutate_json(data, rng)


def _post(data: bytes) -> None:
    signed = decode_signed(data)
    action = read_action(signed, data)
    assert action.size > 0
    for holder in _HOLDERS:
        _ask(action, holder)
    signer = recover(signed_digest(signed), signed.signature)
    assert recover(signed_digest(signed), signed.signature) == signer
    assert len(signer) == 20
    assert action.touches(signer)[0] == signer
    _ADMISSION.check(action, signer)


def _ask(action: Action, signer: bytes) -> None:
    account = _ADMISSION.account_of(action.kind, signer)
    for admission in (_KNOWING_LESS, _ADMISSION):
        try:
            assert admission.check(action, signer) == account
        except PeerError as error:
            _told(turned_away(error))


def _told(outcome: Outcome) -> None:
    _DECODE(outcome.body)
    msgspec.json.encode(outcome.as_post())
    assert all(name.isascii() and value.isascii() for name, value in outcome.headers())
