"""Planted bugs, some for each promise: the checkers that don't find them are worth nothing.

Each is one small change of the product, of the kind that happens; the last ones were real.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from sidecar.api.channels import Channels
from sidecar.api.channels.status import StatusChannel
from sidecar.api.channels.web_data2 import WebData2Channel
from sidecar.api.messages import ChainedPush
from sidecar.api.topics import Delivery, Message, Topic
from sidecar.node.log import LogReader
from sidecar.node.native import NativeOrigin
from sidecar.node.transitions import BID, Block
from sidecar.protocol import frames
from sidecar.server.connection import Connection
from sidecar.server.flush import Flush
from sidecar.server.gate import Gate
from sidecar.server.hub import Hub
from sidecar.server.outbox import Outbox
from sidecar.server.outgoing import Outgoing
from sidecar.server.recent import RecentFrames
from sidecar.server.subscriptions import Subscriptions
from sidecar.state.book import Book, Order, Touched
from sidecar.state.health import Condition, Health


class Mutant(NamedTuple):
    """A change, and the promise that it breaks."""

    promise: int
    target: type
    name: str
    make: Callable[[Any], Any]  # of what was there

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While this holds, the product has the bug."""
        with ExitStack() as stack:
            was = getattr(self.target, self.name)
            stack.enter_context(mock.patch.object(self.target, self.name, self.make(was)))
            yield


def _lost_connection_is_raised(_: Any) -> Any:
    def lose(self: Outgoing, error: OSError) -> None:
        raise error

    return lose


def _eagain_ends_all(_: Any) -> Any:
    def try_send(self: Connection, data: bytes) -> int:
        return self.kernel_send(data)

    return try_send


def _rest_of_a_send_is_dropped(_: Any) -> Any:
    def push_rest(self: Outbox, data: bytes, sent: int, *, counted: bool = True) -> None:
        self.push(frames.ping(b""), counted=counted)

    return push_rest


def _kept_frames_begin_one_early(_: Any) -> Any:
    def above(self: RecentFrames, topic: Any, height: int) -> list[tuple[int, bytes]]:
        return [one for one in self._topics[topic].frames if one[0] >= height]

    return above


def _newcomers_get_a_block_twice(_: Any) -> Any:
    def settle(self: Flush, subscriber: Any) -> None:
        """Nobody is looked after."""

    return settle


def _every_is_latest(was: Any) -> Any:
    def push(self: Outbox, frame: bytes, topic: Any = None, height: int = 0, **how: Any) -> bool:
        if topic is not None and topic in self._entries:
            self._remove(topic)
        replaced = was(self, frame, topic, height, **how)
        if topic is not None and topic not in self._entries and self._entries:
            _, entry = self._entries.popitem()
            self._entries[topic] = entry
        return bool(replaced)

    return push


def _changed_orders_keep_their_level(was: Any) -> Any:
    def change(self: Book, order: Order, sz: int, touched: Touched) -> None:
        before = order.sz
        was(self, order, sz, touched)
        if order.oid % 7 == 0:
            _, levels = self._place(order)
            levels[-order.px if order.side == BID else order.px].sz += before - sz

    return change


def _another_way_is_gone_on_with(_: Any) -> Any:
    def reader_behind(self: NativeOrigin, way: Sequence[Block]) -> LogReader:
        """It will be the same block."""
        return self.reader(way[-1].height)

    return reader_behind


def _nobody_is_taken_out(_: Any) -> Any:
    def leave(self: Gate, connection: Connection) -> None:
        """Others will do it."""

    return leave


def _no_bound(_: Any) -> Any:
    def is_too_much(self: Outgoing) -> bool:
        return False

    return is_too_much


def _topics_outlive_their_readers(_: Any) -> Any:
    def end(self: Subscriptions) -> None:
        self._outgoing.end()

    return end


def _silence_is_not_noticed(_: Any) -> Any:
    def observe(self: Health, monotonic_ns: int, wall_ns: int) -> None:
        """All is well."""

    return observe


def _a_broken_log_is_not_told(_: Any) -> Any:
    def break_feed(self: Health, state: str, reason: str) -> None:
        """It will pass."""

    return break_feed


def _no_snapshots_of_every(was: Any) -> Any:
    def send_snapshot(self: Outgoing, topic: Topic) -> None:
        if topic.delivery is not Delivery.EVERY:
            was(self, topic)

    return send_snapshot


def _a_gap_and_nothing_behind_it(was: Any) -> Any:
    def restart(self: Hub, topic: Topic, restart_frames: Sequence[bytes], height: int) -> None:
        was(self, topic, restart_frames[:1], height)

    return restart


def _nobody_knows_what_came_before(was: Any) -> Any:
    def publish(self: Channels, changes: Any) -> Iterator[tuple[Topic, Message]]:
        for topic, message in was(self, changes):
            chained = isinstance(message, ChainedPush)
            yield topic, msgspec.structs.replace(message, prev=None) if chained else message

    return publish


def _no_message_is_marked(_: Any) -> Any:
    def label(self: Health, market: int | None) -> str | None:
        return None

    return label


def _status_is_always_live(_: Any) -> Any:
    def snapshot(self: StatusChannel, topic: Topic) -> ChainedPush:
        data = {"feed": Condition("live"), "coins": {}, "users": {}, "age": 0}
        return ChainedPush(self.name, data, self.state.height, None)

    return snapshot


def _status_falls_silent(_: Any) -> Any:
    def refresh(self: StatusChannel) -> Iterator[tuple[Topic, ChainedPush]]:
        return iter(())

    return refresh


def _front_ends_see_no_orders(was: Any) -> Any:
    def view(self: WebData2Channel, topic: Topic) -> dict[str, Any]:
        return {**was(self, topic), "openOrders": [], "cumLedger": "13.0"}

    return view


def _the_latest_comes_twice(was: Any) -> Any:
    def stage(self: Hub, topic: Topic, frame: bytes) -> None:
        was(self, topic, frame)
        if topic.delivery is Delivery.LATEST:
            was(self, topic, frame)

    return stage


MUTANTS = {
    "a lost connection is raised": Mutant(1, Outgoing, "lose", _lost_connection_is_raised),
    "EAGAIN is no answer": Mutant(1, Connection, "try_send", _eagain_ends_all),
    "the rest of a send is dropped": Mutant(2, Outbox, "push_rest", _rest_of_a_send_is_dropped),
    "frames kept begin one early": Mutant(2, RecentFrames, "above", _kept_frames_begin_one_early),
    "newcomers in a flush": Mutant(2, Flush, "settle", _newcomers_get_a_block_twice),
    "each message replaces the one before": Mutant(2, Outbox, "push", _every_is_latest),
    "an order's new size, not its level's": Mutant(
        3, Book, "change", _changed_orders_keep_their_level
    ),
    "another way is gone on with": Mutant(
        3, NativeOrigin, "reader_behind", _another_way_is_gone_on_with
    ),
    "no snapshot for who comes new": Mutant(2, Outgoing, "send_snapshot", _no_snapshots_of_every),
    "nothing behind a gap": Mutant(2, Hub, "restart", _a_gap_and_nothing_behind_it),
    "prev is never known": Mutant(2, Channels, "publish", _nobody_knows_what_came_before),
    "the latest comes twice": Mutant(2, Hub, "stage", _the_latest_comes_twice),
    "webData2 is wrong": Mutant(3, WebData2Channel, "view", _front_ends_see_no_orders),
    "no message is marked": Mutant(5, Health, "label", _no_message_is_marked),
    "status is always live": Mutant(5, StatusChannel, "snapshot", _status_is_always_live),
    "status falls silent": Mutant(5, StatusChannel, "refresh", _status_falls_silent),
    "nobody is taken out of the gate": Mutant(4, Gate, "leave", _nobody_is_taken_out),
    "no bound for what waits": Mutant(4, Outgoing, "_is_too_much", _no_bound),
    "topics outlive their readers": Mutant(4, Subscriptions, "end", _topics_outlive_their_readers),
    "silence is not noticed": Mutant(5, Health, "observe", _silence_is_not_noticed),
    "a broken log is not told": Mutant(5, Health, "break_feed", _a_broken_log_is_not_told),
}
