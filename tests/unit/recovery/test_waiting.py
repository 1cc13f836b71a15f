"""Who waits to read on, and who gives way."""

import pytest

from sidecar.api.channels import Channels
from sidecar.limits import RESUME_AHEAD_S
from sidecar.recovery.waiting import Client, Resumption, Waiting
from sidecar.state.chain import ChainState

TOPIC = Channels(ChainState()).resolve({"type": "blocks"})
HERE = 100


class Nobody:
    def replay(self, resumption: Resumption, frame: bytes, height: int) -> None: ...
    def resumed(self, resumption: Resumption) -> None: ...
    def lost(self, resumption: Resumption, reason: str) -> None: ...


NOBODY: Client = Nobody()


def at(height: int, address: str = "1.2.3.4") -> Resumption:
    return Resumption(TOPIC, height, NOBODY, address)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setattr("sidecar.recovery.waiting.RESUMPTIONS_WAITING_MAX", 4)
    monkeypatch.setattr("sidecar.recovery.waiting.RESUMPTIONS_WAITING_PER_IP", 3)
    return Waiting()


def test_an_address_has_its_share(waiting: Waiting) -> None:
    mine = [at(HERE) for _ in range(4)]
    refused = [waiting.add(one, HERE) for one in mine]
    assert refused == [None] * 3 + [(mine[3], "3 topics of this address wait already")]
    assert waiting.add(at(HERE, "5.6.7.8"), HERE) is None
    waiting.discard(mine[0])
    waiting.discard(mine[0])  # once is enough
    assert waiting.add(mine[3], HERE) is None
    assert len(waiting.take_due(HERE)) == 4
    assert [waiting.add(at(HERE), HERE) for _ in range(3)] == [None] * 3


def test_who_is_ahead_gives_way_to_who_is_due(waiting: Waiting) -> None:
    crowded = "too many clients are coming back at once"
    ahead = [at(HERE + 9, address) for address in ("a", "a", "b", "b")]
    assert [waiting.add(one, HERE) for one in ahead] == [None] * 4
    another = at(HERE + 1, "c")
    assert waiting.add(another, HERE) == (another, crowded)
    due = [at(HERE, address) for address in "cdefg"]
    told = [waiting.add(one, HERE) for one in due]
    assert told == [(one, crowded) for one in (*reversed(ahead), due[4])]
    assert waiting.take_due(HERE) == due[:4]
    assert not waiting
    assert not waiting._by_address


def test_who_is_ahead_becomes_due_or_is_told_that_it_takes_too_long(waiting: Waiting) -> None:
    first, second = at(HERE + 1), at(HERE + 2)
    for one in (first, second):
        waiting.add(one, HERE)
    assert waiting.take_due(HERE) == []
    assert waiting.take_due(HERE + 1) == [first]
    assert waiting.take_late(second.by - RESUME_AHEAD_S) == []
    assert waiting.take_late(second.by) == [second]
    assert not waiting
