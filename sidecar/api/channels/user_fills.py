"""`userFills`: a user's newest fills, then those of each block, combined or one by one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from sidecar.api.fills_view import fill_views, newest_fill_views
from sidecar.api.messages import ChainedPush, hex_text, parse_user
from sidecar.api.topics import Channel, Delivery, Needs, Topic
from sidecar.limits import FILLS_ANSWERED
from sidecar.state.changes import Changes, UserChanges


class _Key(NamedTuple):
    user: bytes
    combine: bool


class UserFillsParameters(msgspec.Struct, frozen=True, rename="camel"):
    """`aggregate_by_time`: the fills of a crossing order in a block are combined."""

    user: str
    aggregate_by_time: bool | None = None


class UserFillsChannel(Channel):
    """One message a block with fills of the user."""

    name = "userFills"
    delivery = Delivery.EVERY
    needs = Needs.NOTHING
    parameters = UserFillsParameters

    def key(self, parameters: UserFillsParameters) -> tuple[_Key, str]:
        """The user's address, and whether fills are combined."""
        address, combine = parse_user(parameters.user), bool(parameters.aggregate_by_time)
        suffix = " aggregateByTime" if combine else ""
        return _Key(address, combine), f"{self.name}:{hex_text(address)}{suffix}"

    def describe(self, topic: Topic) -> dict[str, Any]:
        """With the combination, where it is asked for."""
        combine = {"aggregateByTime": True} if topic.key.combine else {}
        return super().describe(topic) | combine

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(fills of the users that are read)."""
        for topic, changed in self._changed(changes):
            if changed.fills:
                address, combine = topic.key
                fills = fill_views(self.state, changed.fills, combine=combine)
                data = {"user": hex_text(address), "fills": fills}
                yield topic, ChainedPush(self.name, data, changes.height, changed.fills_prev)

    def snapshot(self, topic: Topic) -> ChainedPush:
        """The newest 2,000, oldest first. `prev` is the height of the newest one. O(fills)."""
        address, combine = topic.key
        user = self.state.users.look(address)
        newest = newest_fill_views(
            self.state, user.fills or (), combine=combine, limit=FILLS_ANSWERED
        )
        data: dict[str, Any] = {
            "user": hex_text(address),
            "isSnapshot": True,
            "fills": newest[::-1],
        }
        return ChainedPush(self.name, data, self.state.height, user.fills_height)

    def _changed(self, changes: Changes) -> Iterator[tuple[Topic, UserChanges]]:
        """The open topics whose user the block names. O(smaller of the two)."""
        opened, users = self._open, changes.users
        if len(opened) < len(users):
            for key, topic in opened.items():
                if key[0] in users:
                    yield topic, users[key[0]]
            return
        for address, changed in users.items():
            for combine in (False, True):
                if (address, combine) in opened:
                    yield opened[_Key(address, combine)], changed
