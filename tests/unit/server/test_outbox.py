"""The outbox: what may be replaced is, what may not is kept, all within the bound."""

from hypothesis import given
from hypothesis import strategies as st

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


def test_latest_is_replaced_in_place() -> None:
    outbox = Outbox()
    outbox.push(b"reply")
    outbox.push(b"old", LATEST[0], 1)
    outbox.push(b"trade", EVERY[0], 1)
    outbox.push(b"newer", LATEST[0], 2)
    assert outbox.bytes == len(b"replynewertrade")
    assert drain(outbox) == b"replynewertrade"
    assert outbox.conflated == 1


def test_a_frame_that_is_partly_sent_is_finished_first() -> None:
    outbox = Outbox()
    outbox.push(b"first", LATEST[0], 1)
    outbox.advance(2)
    outbox.push(b"second", LATEST[0], 2)
    assert drain(outbox) == b"rstsecond"


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


def test_a_new_snapshot_is_not_overtaken_by_what_replaces_older_messages() -> None:
    outbox = Outbox()
    outbox.push(b"reply")
    outbox.push(b"old", LATEST[0], 1)
    outbox.push(b"subscribed-again")
    outbox.settle(LATEST[0])
    outbox.push(b"snapshot", LATEST[0], 2, counted=False)
    outbox.push(b"newest", LATEST[0], 3)
    assert drain(outbox) == b"replyoldsubscribed-againnewest"
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
        assert outbox.bytes == sum(len(e.frame) for e in outbox._entries) - outbox._sent
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
    assert every == {"trades", "l4Book"}
