"""Sends subscribers on from what was rebuilt: each topic that it concerns begins anew, behind a gap
message where messages of it are missing.
"""

from collections.abc import Callable

from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.api.open_orders_view import markets_of
from sidecar.api.topics import Topic
from sidecar.protocol import frames
from sidecar.recovery.scope import Scope
from sidecar.server.hub import Hub
from sidecar.state.chain import ChainState


class Restarts:
    """Of one state and its subscribers."""

    def __init__(self, channels: Channels, hub: Hub, state: ChainState) -> None:
        self._channels = channels
        self._hub = hub
        self._state = state

    def all(self, first_missed: int, reason: str) -> None:
        """Everything was rebuilt."""
        self._restart(lambda _: True, first_missed, reason)

    def part(self, scope: Scope, first_wrong: int, reason: str) -> None:
        """Some books and accounts were."""

        def concerns(topic: Topic) -> bool:
            channel = topic.channel
            if channel.reads_book or channel.sums_up_books:
                whole = topic.market is None  # it is of all markets
                return bool(scope.books) if whole else topic.market in scope.books
            if channel.reads_orders and self._has_orders_in(topic.user, scope):
                return True
            return topic.user in scope.users and channel.needs is None

        self._hub.breaks.note(concerns, self._state.height)
        self._restart(concerns, first_wrong, reason)

    def _has_orders_in(self, user: bytes | None, scope: Scope) -> bool:
        """Or had some, for all that was known before or is known now."""
        if user is None or not scope.books:
            return False
        return user in scope.owners or bool(markets_of(self._state, user) & scope.books)

    def _restart(self, concerns: Callable[[Topic], bool], first: int, reason: str) -> None:
        height = self._state.height
        for topic, gap, snapshot in self._channels.restart(concerns, first, reason):
            messages = [one for one in (gap, snapshot) if one is not None]
            self._hub.restart(topic, [frames.text(encode(one)) for one in messages], height)
