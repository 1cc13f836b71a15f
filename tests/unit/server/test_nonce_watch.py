"""Who keeps an action for later is told when its nonce can't be good any more: held against what
the chain takes.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.api.orders.sent import Key
from sidecar.devnet.execution.agents import Nonces
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.limits import DEVNET_NONCES_KEPT, NONCES_KEPT
from sidecar.server import nonce_watch as module
from sidecar.server.nonce_watch import NonceWatch, Watch

SIGNER, OTHER = b"signer", b"other"


def test_as_many_nonces_as_the_chain_keeps() -> None:
    assert NONCES_KEPT == DEVNET_NONCES_KEPT


@given(kept=st.integers(1, 120), sent=st.permutations(range(1, 121)), began=st.integers(0, 120))
def test_it_is_told_when_the_chain_would_refuse_it(kept: int, sent: list[int], began: int) -> None:
    """Never before; and at once, if all the highest nonces were sent since it is kept."""
    nonces, watches, told = Nonces(), NonceWatch(), list[int]()
    watch = Watch((SIGNER, kept), lambda: told.append(kept))
    since: set[int] = set()
    for number, nonce in enumerate(sent):
        if number == began:
            watches.begin(watch)
        if nonce == kept:
            continue
        watches.sent((SIGNER, nonce))
        watches.sent((OTHER, nonce))
        try:
            nonces.use(SIGNER, nonce, 0)
        except ActionRefused:
            continue
        if number >= began:
            since.add(nonce)
        highest = nonces.used[SIGNER]
        too_old = len(highest) == NONCES_KEPT and kept < highest[0]
        if told:
            assert too_old
        elif too_old:
            assert not since >= set(highest)
    assert len(told) <= 1
    watches.end(watch)
    watches.end(watch)
    assert len(watches) == 0


def test_each_is_told_when_it_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NONCES_KEPT", 2)
    watches, told = NonceWatch(), list[Key]()
    keys = [(SIGNER, 5), (SIGNER, 1), (SIGNER, 1), (OTHER, 1), (SIGNER, 3)]
    kept = [Watch(key, lambda key=key: told.append(key)) for key in keys]  # type: ignore[misc]
    for one in kept:
        watches.begin(one)
    watches.end(kept[4])
    for nonce in (4, 4, 4, 0):
        watches.sent((SIGNER, nonce))
    assert told == []
    watches.sent((SIGNER, 6))
    assert told == [(SIGNER, 1), (SIGNER, 1)]
    watches.sent((SIGNER, 7))
    assert told[2:] == [(SIGNER, 5)]
    assert len(watches) == 1
    watches.end(kept[3])
    assert len(watches) == 0


def test_who_is_told_may_take_it_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NONCES_KEPT", 1)
    watches = NonceWatch()
    watch = Watch((SIGNER, 1), lambda: watches.end(watch))
    watches.begin(watch)
    watches.sent((SIGNER, 2))
    assert len(watches) == 0
