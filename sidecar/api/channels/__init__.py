"""The channels: a registry, and what they all do together for a block or a subscription."""

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.api.channels.all_mids import AllMidsChannel
from sidecar.api.channels.bbo import BboChannel
from sidecar.api.channels.blocks import BlocksChannel
from sidecar.api.channels.l2_book import L2BookChannel
from sidecar.api.channels.l4_book import L4BookChannel
from sidecar.api.channels.ledger_updates import LedgerUpdatesChannel
from sidecar.api.channels.open_orders import OpenOrdersChannel
from sidecar.api.channels.order_updates import OrderUpdatesChannel
from sidecar.api.channels.trades import TradesChannel
from sidecar.api.channels.user_events import UserEventsChannel
from sidecar.api.channels.user_fills import UserFillsChannel
from sidecar.api.channels.user_fundings import UserFundingsChannel
from sidecar.api.topics import Channel, Message, Topic
from sidecar.errors import RequestInvalid
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes

# In the order in which a client gets a block's messages: `blocks` ends each block.
REGISTRY: tuple[type[Channel], ...] = (
    TradesChannel,
    L4BookChannel,
    L2BookChannel,
    BboChannel,
    AllMidsChannel,
    OrderUpdatesChannel,
    UserEventsChannel,
    UserFillsChannel,
    UserFundingsChannel,
    LedgerUpdatesChannel,
    OpenOrdersChannel,
    BlocksChannel,
)


class Channels:
    """All channels over one state."""

    def __init__(self, state: ChainState) -> None:
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

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Message]]:
        """The block's messages, for topics that somebody reads."""
        for channel in self._channels.values():
            yield from channel.publish(changes)
