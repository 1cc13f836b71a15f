"""A block's way to many subscribers: in slices, everybody gets all of it, once, in order, whatever
happens in between.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from blocks import TOYOTA, state_of
from sidecar.api.channels import Channels
from sidecar.api.topics import Topic
from sidecar.protocol import frames
from sidecar.server import flush as flushing
from sidecar.server import hub as hubs
from sidecar.server.hub import Hub
from sidecar.server.readers import Readers

KINDS = ("trades", "bbo", "l2Book", "blocks", "l4Book")


@pytest.fixture(autouse=True)
def _one_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "FLUSH_SLICE_S", 0.0)
    monkeypatch.setattr(flushing, "FLUSH_LOOK_DELIVERIES", 1)


class Client:
    """Keeps what it is sent; its socket takes what the test says."""

    def __init__(self, hub: Hub, *, deflates: bool = False, takes: int | None = None) -> None:
        self.deflates = deflates
        self.takes: int | OSError | None = takes
        self.send: Callable[[bytes], int] = self._take
        self.got: list[bytes] = []
        self.rests: list[tuple[bytes, int]] = []
        self.lost: list[OSError] = []
        self.restarted: list[bytes] = []
        self.reads: set[Topic] = set()
        self._hub = hub

    def subscribe(self, topic: Topic) -> None:
        self._hub.subscribe(self, topic)
        self.reads.add(topic)

    def unsubscribe(self, topic: Topic) -> None:
        self._hub.unsubscribe(self, topic)
        self.reads.discard(topic)

    def deliver(
        self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int, sent: int = 0
    ) -> None:
        assert joined == b"".join(frame for _, frame in parts)
        self.rests.append((joined, sent))
        self.got.append(joined)

    def lose(self, error: OSError) -> None:
        self.lost.append(error)

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        self.got.append(restart_frames)

    def _take(self, data: bytes) -> int:
        if isinstance(self.takes, OSError):
            raise self.takes
        if self.takes is None:
            self.got.append(data)
        return len(data) if self.takes is None else self.takes


def topics() -> list[Topic]:
    channels = Channels(state_of(TOYOTA))
    return [
        channels.resolve({"type": kind} if kind == "blocks" else {"type": kind, "coin": "TOYOTA"})
        for kind in KINDS
    ]


def in_slices(
    hub: Hub, height: int, staged: list[tuple[Topic, bytes]], act: Iterator[Any] | None = None
) -> int:
    """Flushes a block; `act` goes a step on whenever the flush lets others run. The slices."""
    slices = 0

    async def run() -> None:
        nonlocal slices
        for topic, frame in staged:
            hub.stage(topic, frame)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(others, tasks.cancel_scope)
            await hub.flush(height)
            tasks.cancel_scope.cancel()

    async def others(_: object) -> None:
        nonlocal slices
        while True:
            slices += 1
            if act is not None:
                next(act, None)
            await checkpoint()

    anyio.run(run)
    return slices


def test_others_run_while_a_block_goes_out_to_many() -> None:
    hub, (trades, *_) = Hub(), topics()
    clients = [Client(hub) for _ in range(50)]
    for client in clients:
        client.subscribe(trades)
    assert in_slices(hub, 7, [(trades, b"f")]) >= 49
    assert [client.got for client in clients] == [[b"f"]] * 50


def test_another_comes_first_each_time() -> None:
    hub, (trades, *_) = Hub(), topics()
    order: list[int] = []

    def take(number: int, data: bytes) -> int:
        order.append(number)
        return len(data)

    for number in range(50):
        client = Client(hub)
        client.send = partial(take, number)
        client.subscribe(trades)
    places: dict[int, list[int]] = {number: [] for number in range(50)}
    for height in range(20):
        order.clear()
        in_slices(hub, height, [(trades, b"f")])
        for place, number in enumerate(order):
            places[number].append(place)
    means = [sum(taken) / len(taken) for taken in places.values()]
    assert all(len(taken) == 20 for taken in places.values())
    assert max(means) - min(means) < 10  # of 49


def test_what_is_not_taken_at_once_is_left_to_the_subscriber() -> None:
    hub, (trades, *_) = Hub(), topics()
    fine, full, part, gone = (Client(hub) for _ in range(4))
    full.takes, part.takes = BlockingIOError(), 2
    gone.takes = ConnectionResetError("gone")
    for client in (fine, full, part, gone):
        client.subscribe(trades)
    in_slices(hub, 7, [(trades, b"frame")])
    assert (fine.got, fine.rests) == ([b"frame"], [])
    assert full.rests == [(b"frame", 0)]
    assert part.rests == [(b"frame", 2)]
    assert (gone.rests, gone.lost) == ([], [gone.takes])


def test_a_slow_one_is_not_sent_to_past_what_waits() -> None:
    hub, (trades, *_) = Hub(), topics()
    slow, fine = Client(hub), Client(hub)
    for client in (slow, fine):
        client.subscribe(trades)
    hub.slow.add(slow)
    in_slices(hub, 7, [(trades, b"f")])
    assert slow.rests == [(b"f", 0)]
    assert fine.rests == []


def test_a_second_block_waits_for_the_first() -> None:
    hub, (trades, *_) = Hub(), topics()
    clients = [Client(hub) for _ in range(20)]
    for client in clients:
        client.subscribe(trades)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            hub.stage(trades, b"1")
            tasks.start_soon(hub.flush, 1)
            await checkpoint()
            hub.stage(trades, b"2")
            tasks.start_soon(hub.flush, 2)
            await checkpoint()
            hub.restart(trades, [b"3"], 3)

    anyio.run(run)
    assert [client.got for client in clients] == [[b"1", b"2", b"3"]] * 20


def test_compressed_once_for_all_who_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    deflated = frames.deflated

    def counted(frame: bytes) -> bytes:
        made.append(frame)
        return deflated(frame)

    monkeypatch.setattr(frames, "deflated", counted)
    hub, (trades, best, *_) = Hub(), topics()
    clients = [Client(hub, deflates=number % 2 == 1) for number in range(10)]
    frame = frames.text(b"0123456789" * 100)
    for client in clients:
        client.subscribe(trades)
        client.subscribe(best)
    in_slices(hub, 1, [(trades, frame), (best, frame)])
    assert made == [frame, frame]
    assert {b"".join(client.got) for client in clients[::2]} == {frame * 2}
    assert {b"".join(client.got) for client in clients[1::2]} == {deflated(frame) * 2}


def test_thousands_of_topics_with_readers_of_their_own_take_no_square_of_time() -> None:
    """Each client reads its own topic and one that all read: no two batches are alike."""
    channels, hub = Channels(state_of(TOYOTA)), Hub()
    users = [
        channels.resolve({"type": "userFills", "user": f"0x{number:040x}"})
        for number in range(3_000)
    ]
    shared = channels.resolve({"type": "blocks"})
    clients = [Client(hub) for _ in users]
    for client, topic in zip(clients, users, strict=True):
        client.subscribe(shared)
        client.subscribe(topic)
    lines = [0]
    hub.stage(shared, b"s")
    for topic in users:
        hub.stage(topic, b"u")
    with lines_run(lines):
        anyio.run(hub.flush, 1)
    assert {b"".join(client.got) for client in clients} == {b"su"}
    assert lines[0] < 100 * len(users)


@contextmanager
def lines_run(counter: list[int]) -> Iterator[None]:
    """Counts the lines of the server that run: work, measured without a clock."""

    def trace(frame: Any, event: str, _: object) -> Any:
        if "sidecar/server" not in frame.f_code.co_filename:
            return None
        counter[0] += event == "line"
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(("subscribe", "unsubscribe", "slow", "fast", "restart")),
        st.integers(0, 5),
        st.integers(0, len(KINDS) - 1),
    ),
    max_size=12,
)


class Story:
    """Clients, and what each has to get."""

    def __init__(self, readers: list[tuple[bool, set[int]]]) -> None:
        self.hub = Hub()
        self.topics = topics()
        self.clients = [Client(self.hub, deflates=deflates) for deflates, _ in readers]
        self.expected: dict[Client, bytes] = dict.fromkeys(self.clients, b"")
        for client, (_, wanted) in zip(self.clients, readers, strict=True):
            for index in wanted:
                client.subscribe(self.topics[index])

    def block(self, height: int, kinds: set[int], acts: list[tuple[str, int, int]]) -> None:
        staged = [(self.topics[index], b"<%d at %d>" % (index, height)) for index in sorted(kinds)]
        for topic, frame in staged:
            self._expect(topic, frame)
        in_slices(self.hub, height, staged, self._act(acts))

    def _act(self, acts: list[tuple[str, int, int]]) -> Iterator[None]:
        for what, who, index in acts:
            client, topic = self.clients[who % len(self.clients)], self.topics[index]
            match what:
                case "subscribe":
                    client.subscribe(topic)
                    self._answer(client, b"<snapshot %d>" % index)
                case "unsubscribe":
                    client.unsubscribe(topic)
                    self._answer(client, b"<unsubscribed %d>" % index)
                case "slow":
                    self.hub.slow.add(client)
                case "fast":
                    self.hub.slow.discard(client)
                case "restart":
                    self._expect(topic, b"<restart %d>" % index)
                    self.hub.restart(topic, [b"<restart %d>" % index], 0)
            yield

    def _answer(self, client: Client, answer: bytes) -> None:
        """What a client gets at once; nothing of the block comes behind it."""
        client.got.append(answer)
        self.expected[client] += answer

    def _expect(self, topic: Topic, frame: bytes) -> None:
        for client in self.clients:
            if topic in client.reads:
                self.expected[client] += frame


@given(
    st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 4))), min_size=1, max_size=6),
    st.lists(st.tuples(st.sets(st.integers(0, 4)), ACTS), min_size=1, max_size=4),
)
def test_everybody_gets_what_it_read_when_the_block_was_made(
    readers: list[tuple[bool, set[int]]], blocks: list[tuple[set[int], list[tuple[str, int, int]]]]
) -> None:
    story = Story(readers)
    for height, (kinds, acts) in enumerate(blocks):
        story.block(height, kinds, acts)
    assert {client: b"".join(client.got) for client in story.clients} == story.expected


def test_the_clock_bounds_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send that takes long ends the slice at the next look."""
    monkeypatch.setattr(hubs, "FLUSH_SLICE_S", 0.004)
    hub, (trades, *_) = Hub(), topics()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clients = [Client(hub) for _ in range(8)]
    for client in clients:

        def send(data: bytes) -> int:
            now[0] += 0.003
            return len(data)

        client.send = send
        client.subscribe(trades)
    batches = flushing.make_batches([(trades, b"f", Readers(clients), Readers())], 1)
    flush = flushing.Flush(batches, 1, ())
    runs = 1
    while not flush.run(0.004):
        runs += 1
    assert runs == 4  # two sends each
