"""The channels: a registry, and what they all do together for a block or a subscription."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from sidecar.api.channels.active_asset_ctx import ActiveAssetCtxChannel
from sidecar.api.channels.active_asset_data import ActiveAssetDataChannel
from sidecar.api.channels.all_mids import AllMidsChannel
from sidecar.api.channels.bbo import BboChannel
from sidecar.api.channels.blocks import BlocksChannel
from sidecar.api.channels.book_delta import BookDeltaChannel
from sidecar.api.channels.candle import CandleChannel
from sidecar.api.channels.clearinghouse_state import ClearinghouseStateChannel
from sidecar.api.channels.l2_book import L2BookChannel
from sidecar.api.channels.l4_book import L4BookChannel
from sidecar.api.channels.money import LedgerUpdatesChannel, UserFundingsChannel
from sidecar.api.channels.open_orders import OpenOrdersChannel
from sidecar.api.channels.order_updates import OrderUpdatesChannel
from sidecar.api.channels.status import StatusChannel
from sidecar.api.channels.trades import TradesChannel
from sidecar.api.channels.user_events import UserEventsChannel
from sidecar.api.channels.user_fills import UserFillsChannel
from sidecar.api.channels.web_data2 import WebData2Channel
from sidecar.api.messages import Reply
from sidecar.api.open_orders_view import doubt
from sidecar.api.topics import Channel, Message, Topic
from sidecar.errors import RequestInvalid
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes

# In the order in which a client gets a block's messages: `blocks` ends each block.
REGISTRY: tuple[type[Channel], ...] = (
    StatusChannel,
    TradesChannel,
    CandleChannel,
    BookDeltaChannel,
    L4BookChannel,
    L2BookChannel,
    BboChannel,
    AllMidsChannel,
    ActiveAssetCtxChannel,
    OrderUpdatesChannel,
    UserEventsChannel,
    UserFillsChannel,
    UserFundingsChannel,
    LedgerUpdatesChannel,
    OpenOrdersChannel,
    ClearinghouseStateChannel,
    ActiveAssetDataChannel,
    WebData2Channel,
    BlocksChannel,
)


class Restart(NamedTuple):
    """How a topic goes on after what it showed was rebuilt: a gap message where something is
    missing, then the snapshot where the channel has one.
    """

    topic: Topic
    gap: Reply | None
    snapshot: Message | None


class Channels:
    """All channels over one state."""

    def __init__(self, state: ChainState) -> None:
        self._state = state
        self._channels = {kind.name: kind(state) for kind in REGISTRY}

    def resolve(self, subscription: dict[str, Any]) -> Topic:
        """The topic of a subscription as a client writes it. Raises `RequestInvalid`."""
        kind = subscription.get("type")
        channel = self._channels.get(kind) if isinstance(kind, str) else None
        if channel is None:
            known = ", ".join(self._channels)
            raise RequestInvalid(f"unknown subscription type {kind!r:.40}; there are {known}")
        try:
            parameters: Any = msgspec.convert(subscription, channel.parameters)
        except msgspec.ValidationError as error:
            raise RequestInvalid(f"{kind} subscription: {error}") from error
        return channel.resolve(parameters)

    def open_like(self, topic: Topic) -> Topic:
        """Opens the topic of these channels that is what `topic` is of others'."""
        channel = self._channels[topic.channel.name]
        mine = Topic(channel, topic.key, topic.name)
        channel.open(mine)
        return mine

    def publish(self, changes: Changes) -> Iterable[tuple[Topic, Message]]:
        """The block's messages, for topics that somebody reads."""
        channels = self._channels.values()
        return self._marked(chain.from_iterable(one.publish(changes) for one in channels))

    def status(self) -> Iterable[tuple[Topic, Message]]:
        """The status message that is due, between blocks too."""
        channel = self._channels[StatusChannel.name]
        assert isinstance(channel, StatusChannel)
        return self._marked(channel.refresh())

    def snapshot(self, topic: Topic) -> Message | None:
        """What a new subscriber gets first, if anything: the state as of the last block, never
        of a book that is known to be wrong.
        """
        if self._is_wrong(topic):
            return None
        message = topic.channel.snapshot(topic)
        return None if message is None else self._label(topic, message)

    def restart(
        self, concerns: Callable[[Topic], bool], from_height: int, reason: str
    ) -> Iterator[Restart]:
        """How the open topics that the rebuilt part `concerns` go on; what came from `from_height`
        up to now is missing.
        """
        for channel in self._channels.values():
            topics = [one for one in channel.open_topics() if concerns(one)]
            for topic in topics:  # all, before any is opened: what they share is made anew, too
                channel.closed(topic)
            for topic in topics:
                channel.opened(topic)
                gap = None
                if channel.needs is not None:
                    gap = gap_message(topic, from_height, self._state.height, reason)
                yield Restart(topic, gap, self.snapshot(topic))

    def _marked(self, messages: Iterable[tuple[Topic, Message]]) -> Iterable[tuple[Topic, Message]]:
        health = self._state.health
        return messages if health is None or health.live else self._labelled(messages)

    def _labelled(
        self, messages: Iterable[tuple[Topic, Message]]
    ) -> Iterator[tuple[Topic, Message]]:
        for topic, message in messages:
            if not self._is_wrong(topic):
                yield topic, self._label(topic, message)

    def _label(self, topic: Topic, message: Message) -> Message:
        health = self._state.health
        label = None if health is None else health.label(topic.market)
        return message if label is None else msgspec.structs.replace(message, state=label)

    def _is_wrong(self, topic: Topic) -> bool:
        if topic.channel.reads_orders and topic.user is not None:
            return doubt(self._state, topic.user) is not None
        faults = self._state.faults
        if topic.channel.reads_book:
            return faults.of_book(topic.market) is not None
        return topic.channel.sums_up_books and faults.everything is not None


def gap_message(topic: Topic, first: int, last: int, reason: str) -> Reply:
    """Tells the subscribers of a topic that its messages of heights `first` to `last` are
    missing.
    """
    data = {"subscription": topic.subscription(), "from": first, "to": last, "reason": reason}
    return Reply("gap", data)
