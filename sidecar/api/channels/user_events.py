"""`userEvents`: what happened to a user that the user should know of, on channel `user`.

    {"fills": [fill, ...]}               all of the block
    {"funding": payment}                 one each
    {"liquidation": {...}}               one each; the fills tell how it went
    {"nonUserCancel": [{coin, oid}]}     orders that the exchange cancelled

As many messages as it takes, in this order; with more than one, each has its `part`.
"""

from collections.abc import Iterator
from typing import Any

from sidecar.api.fills_view import fill_views
from sidecar.api.messages import ChainedPush, hex_text
from sidecar.api.money_view import funding_view, liquidation_event
from sidecar.api.topics import Delivery, Needs, Topic, UserChannel
from sidecar.state.changes import Changes, UserChanges
from sidecar.state.orders import is_by_system

CHANNEL = "user"  # what Hyperliquid calls it in messages


class UserEventsChannel(UserChannel):
    """Events of each block that has any. No snapshot."""

    name = "userEvents"
    delivery = Delivery.EVERY
    needs = Needs.NOTHING

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(events of the users that are read)."""
        for topic, changed in self.changed(changes):
            if changed.events:
                events, user = list(self._events(changed)), hex_text(topic.key)
                height, prev, n = changes.height, changed.events_prev, len(events)
                if n == 1:
                    yield topic, ChainedPush(CHANNEL, events[0], height, prev, user=user)
                    continue
                for i, event in enumerate(events, start=1):
                    yield topic, ChainedPush(CHANNEL, event, height, prev, (i, n), user=user)

    def _events(self, changed: UserChanges) -> Iterator[dict[str, Any]]:
        if changed.fills:
            yield {"fills": fill_views(self.state, changed.fills, combine=False)}
        for paid in changed.fundings:
            yield {"funding": funding_view(self.state, paid)}
        for entry in changed.ledger:
            if entry.changed.kind == "liquidation":
                yield {"liquidation": liquidation_event(entry)}
        markets = self.state.markets
        cancelled = [
            {"coin": markets[status.market].symbol, "oid": status.oid}
            for status in changed.statuses
            if is_by_system(status.status)
        ]
        if cancelled:
            yield {"nonUserCancel": cancelled}
