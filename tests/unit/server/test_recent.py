"""Frames of late: whole from a height on, bounded, and topics that linger."""

import random
from typing import Any

import pytest

from blocks import at_once, state_of
from sidecar.api.channels import Channels
from sidecar.api.topics import Topic
from sidecar.server import hub as hubs
from sidecar.server.hub import Hub
from sidecar.server.recent import RecentFrames
from sidecar.server.subscriber import Nobody


def topics(*kinds: str) -> list[Topic]:
    channels = Channels(state_of())
    return [channels.resolve({"type": kind, "coin": "TOYOTA"}) for kind in kinds]


def test_what_is_kept_is_whole_from_since_on() -> None:
    rng = random.Random(3)
    (topic, other), recent = topics("trades", "l4Book"), RecentFrames(500)
    sent: dict[Topic, list[tuple[int, bytes]]] = {topic: [], other: []}
    for one in sent:
        recent.open(one, 10)
    for height in range(11, 400):
        for one, all_frames in sent.items():
            if rng.random() < 0.4:
                frame = bytes(rng.randrange(1, 60))
                recent.add(one, frame, height)
                all_frames.append((height, frame))
        assert recent.bytes <= 500
        for one, all_frames in sent.items():
            since = recent.since(one)
            assert since is not None
            for asked in (since, since + 3, height):
                assert recent.above(one, asked) == [e for e in all_frames if e[0] > asked]
    kept = sum(len(frame) for one in sent for _, frame in recent.above(one, 0))
    assert kept == recent.bytes


def test_a_topic_that_is_closed_or_opened_anew_has_nothing() -> None:
    (topic,), recent = topics("trades"), RecentFrames(10_000)
    for height in range(5_000):
        recent.open(topic, height)
        recent.add(topic, b"x" * 9, height + 1)
    assert (recent.bytes, recent.since(topic)) == (9, 4_999)
    assert recent.above(topic, 0) == [(5_000, b"x" * 9)]
    assert len(recent._order) < 3_000  # what is left of closed ones is swept
    recent.close(topic)
    assert (recent.bytes, recent.since(topic)) == (0, None)
    recent.add(topic, b"y", 9)
    assert recent.bytes == 0


class Reader(Nobody):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def deliver(self, joined: bytes, parts: Any, height: int, sent: int = 0) -> None:
        self.got.append((joined, height))

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        self.got.append((restart_frames, height))


def test_topics_linger_then_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "TOPICS_LINGERING_MAX", 1)
    (trades, orders, best), hub, reader = topics("trades", "l4Book", "bbo"), Hub(), Reader()
    for topic in (trades, orders, best):
        hub.subscribe(reader, topic)
    for topic in (trades, orders, best):
        hub.unsubscribe(reader, topic)
    assert hub.reads(trades)
    assert not hub.reads(orders)  # no room to linger
    assert not hub.reads(best)  # nothing to come back to
    hub.stage(trades, b"f")
    at_once(hub.flush(7))
    assert hub.recent.above(trades, 0) == [(7, b"f")]
    hub.tick(0.0)
    assert hub.reads(trades)
    hub.tick(1e12)
    assert not hub.reads(trades)
    assert hub.recent.since(trades) is None


def test_who_comes_back_keeps_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "TOPIC_LINGER_S", 0.0)
    (trades,), hub, reader = topics("trades"), Hub(), Reader()
    hub.subscribe(reader, trades)
    hub.unsubscribe(reader, trades)
    hub.subscribe(reader, trades)
    hub.tick(1e12)
    assert hub.reads(trades)
    hub.restart(trades, [b"gap"], 9)
    assert reader.got == [(b"gap", 9)]
    assert hub.recent.since(trades) == 9
