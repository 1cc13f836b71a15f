"""The hub's view of a connection."""

from typing import Protocol

from sidecar.api.topics import Topic


class Subscriber(Protocol):
    """Takes frames without ever waiting or raising."""

    def deliver(self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int) -> None:
        """Sends `joined`, the frames of `parts` in order, of the block at `height`.

        Parts that can't be sent at once wait by their topics' delivery.
        """
