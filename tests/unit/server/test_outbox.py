"""The outbox: what may be replaced is, what may not is kept, all within the bound."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import shorten
from sidecar.api.channels import Channels
from sidecar.api.topics import Delivery, Topic
from sidecar.server.outbox import Outbox
from sidecar.state.chain import ChainState

CHANNELS = Channels(ChainState())._channels
LATEST = [Topic(CHANNELS["bbo"], key, f"bbo:{key}") for key in range(2)]
EVERY = [Topic(CHANNELS["trades"], key, f"trades:{key}") for key in range(2)]


def drain(outbox: Outbox, step: int = 1000) -> bytes:
    sent = b""
    while outbox:
        head = bytes(outbox.head()[:step])
        sent += head
        outbox.advance(len(head))
    return sent


def test_latest_is_replaced_and_comes_after_what_is_older() -> None:
    outbox = Outbox()
    outbox.push(b"reply")
    outbox.push(b"old", LATEST[0], 1)
    outbox.push(b"trade", EVERY[0], 1)
    outbox.push(b"newer", LATEST[0], 2)
    assert outbox.bytes == len(b"replytradenewer")
    assert drain(outbox) == b"replytradenewer"


def test_what_is_read_never_goes_back_in_height() -> None:
    outbox = Outbox()
    for height in range(1, 6):
        for topic in (*EVERY, *LATEST):
            outbox.push(b"%d" % height, topic, height)
    assert drain(outbox) == b"1122334455" + b"55"


def test_a_frame_that_is_partly_sent_is_finished_first() -> None:
    outbox = Outbox()
    outbox.push(b"first", LATEST[0], 1)
    outbox.advance(2)
    outbox.push(b"second", LATEST[0], 2)
    assert drain(outbox) == b"rstsecond"


def test_what_is_read_by_drops_drags(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, ANSWER_BYTES_PER_S_MIN=1_000)
    outbox = Outbox()
    outbox.push(bytes(2_000), counted=False)
    now = time.monotonic()
    assert not outbox.drags(now + 1e6, 1.0)  # it only waits
    outbox.advance(1)
    outbox.push(b"more")
    assert not outbox.drags(now + 2.9, 1.0)
    outbox.advance(1_500)
    assert outbox.drags(now + 3.1, 1.0)
    outbox.advance(499)
    assert not outbox.drags(now + 1e6, 1.0)  # that one has gone


def test_the_rest_of_a_partial_send_goes_first() -> None:
    outbox = Outbox()
    outbox.push_rest(b"partial", 3)
    outbox.push(b"next", EVERY[0], 1)
    assert outbox.bytes == 4 + 4
    assert drain(outbox) == b"tialnext"


def test_a_snapshot_does_not_count() -> None:
    outbox = Outbox()
    outbox.push(b"x" * 10_000, counted=False)
    outbox.push(b"trade", EVERY[0], 1)
    assert outbox.bytes == 5
    outbox.advance(9_999)
    assert outbox.bytes == 5


PING, PONG = b"\x89\x01p", b"\x8a\x01o"


def test_control_frames_go_first_but_finish_what_was_started() -> None:
    outbox = Outbox()
    outbox.push(b"started", EVERY[0], 1)
    outbox.push(b"waits", EVERY[0], 2)
    outbox.advance(3)
    outbox.push_control(PING)
    outbox.push_control(PONG)
    assert drain(outbox, 2) == b"rted" + PONG + PING + b"waits"


def test_only_the_newest_pong_waits() -> None:
    outbox = Outbox()
    outbox.push(b"waits", EVERY[0], 1)
    for number in range(1000):
        outbox.push_control(b"\x8a\x02%02d" % (number % 100))
    assert outbox.bytes == 4 + 5
    assert drain(outbox) == b"\x8a\x0299waits"


def test_a_pong_that_was_started_is_finished() -> None:
    outbox = Outbox()
    outbox.push_control(PONG)
    outbox.advance(1)
    outbox.push_control(b"\x8a\x01n")
    assert drain(outbox) == PONG[1:] + b"\x8a\x01n"


def test_age_is_of_what_has_not_been_started(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    outbox = Outbox()
    assert outbox.oldest() == (None, 0, math.inf)
    outbox.push(b"one", EVERY[0], 7)
    now[0] = 103.0
    outbox.push(b"two", EVERY[1], 8)
    assert outbox.oldest() == (EVERY[0], 7, 100.0)
    outbox.advance(1)
    assert outbox.oldest() == (EVERY[1], 8, 103.0)


def test_a_message_that_is_replaced_does_not_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    outbox = Outbox()
    for height in range(10):
        now[0] += 1
        outbox.push(b"book", LATEST[0], height)
    assert outbox.oldest() == (LATEST[0], 9, 10.0)


def test_one_answer_does_not_count_and_the_next_does() -> None:
    outbox = Outbox()
    for _ in range(2):
        outbox.push(b"answer", answer=True)
        outbox.push(b"trade", EVERY[0], 1)
        assert outbox.bytes == len(b"trade")
        outbox.push(b"another", answer=True)
        assert outbox.bytes == len(b"tradeanother")
        assert drain(outbox, 4) == b"answertradeanother"
    outbox.push_rest(b"answer", 3, answer=True)
    outbox.push(b"another", answer=True)
    assert outbox.bytes == len(b"another")
    outbox.clear_waiting()
    assert drain(outbox) == b"wer"


def test_nothing_ages_behind_a_snapshot_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    outbox = Outbox()
    outbox.push(b"s" * 10, EVERY[0], 1, counted=False)
    outbox.push(b"diff", EVERY[0], 2)
    for _ in range(9):
        now[0] += 10.0
        outbox.advance(1)
        assert outbox.oldest() == (EVERY[0], 2, now[0])
    now[0] += 10.0
    outbox.advance(1)  # the last of it
    now[0] += 10.0
    assert outbox.oldest() == (EVERY[0], 2, 100.0)


def test_clearing_keeps_only_what_was_started() -> None:
    outbox = Outbox()
    outbox.push(b"started", EVERY[0], 1)
    outbox.push(b"waiting", EVERY[0], 2)
    outbox.advance(3)
    assert outbox.oldest_height(EVERY[0]) == 1
    outbox.clear_waiting()
    outbox.push(b"close")
    assert drain(outbox) == b"rtedclose"
    assert outbox.bytes == 0


def test_a_new_snapshot_follows_the_answer_to_its_subscription() -> None:
    outbox = Outbox()
    outbox.push(b"reply")
    outbox.push(b"old", LATEST[0], 1)
    outbox.push(b"subscribed-again")
    outbox.push(b"snapshot", LATEST[0], 2, counted=False)
    assert drain(outbox) == b"replysubscribed-againsnapshot"
    assert outbox.bytes == 0


def test_waiting_snapshots_have_a_bound_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.outbox.WAITING_SNAPSHOT_BYTES_MAX", 100)
    outbox = Outbox()
    outbox.push(b"x" * 150, EVERY[0], 1, counted=False)  # one is always taken
    assert outbox.bytes == 0
    outbox.push(b"x" * 70, EVERY[1], 1, counted=False)
    assert outbox.bytes == 70


def test_what_waits_of_a_dropped_topic_is_forgotten_unless_started() -> None:
    outbox = Outbox()
    outbox.push(b"started", EVERY[0], 1)
    outbox.push(b"waiting", EVERY[0], 2)
    outbox.push(b"bbo", LATEST[0], 2)
    outbox.push(b"other", EVERY[1], 2)
    outbox.advance(1)
    outbox.drop(EVERY[0])
    outbox.drop(LATEST[0])
    assert drain(outbox) == b"tartedother"
    assert outbox.bytes == 0


def test_oldest_height_of_a_topic() -> None:
    outbox = Outbox()
    outbox.push(b"a", EVERY[0], 4)
    outbox.push(b"b", EVERY[0], 5)
    assert outbox.oldest_height(EVERY[0]) == 4
    assert outbox.oldest_height(EVERY[1]) is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.sampled_from([*LATEST, *EVERY]), st.integers(1, 9)),
            st.tuples(st.just("send"), st.none(), st.integers(1, 12)),
        ),
        max_size=60,
    )
)
def test_every_is_kept_whole_and_in_order_and_latest_ends_with_the_newest(
    steps: list[tuple[str, Topic | None, int]],
) -> None:
    outbox, wire, pushed = Outbox(), b"", []
    for number, (step, topic, size) in enumerate(steps):
        if step == "push":
            frame = b"<%d:%s>" % (number, b"x" * size)
            pushed.append((topic, frame))
            outbox.push(frame, topic, number)
        elif outbox:
            head = bytes(outbox.head()[:size])
            wire += head
            outbox.advance(len(head))
        assert outbox.bytes == sum(len(e.frame) for e in outbox._entries.values()) - outbox._sent
    wire += drain(outbox, 7)
    for topic in EVERY:
        kept = [frame for one, frame in pushed if one is topic]
        positions = [wire.find(frame) for frame in kept]
        assert -1 not in positions
        assert positions == sorted(positions)
    for topic in LATEST:
        frames = [frame for one, frame in pushed if one is topic]
        if frames:
            assert frames[-1] in wire
    assert outbox.bytes == 0


def test_deliveries_are_declared() -> None:
    declared = {name: channel.delivery for name, channel in CHANNELS.items()}
    every = {name for name, delivery in declared.items() if delivery is Delivery.EVERY}
    users = {"orderUpdates", "userEvents", "userFills", "userFundings"}
    others = {"status", "trades", "candle", "bookDelta", "l4Book", "userNonFundingLedgerUpdates"}
    assert every == others | users
    resumable = {name for name, channel in CHANNELS.items() if channel.needs is not None}
    assert resumable == every - {"status"}
