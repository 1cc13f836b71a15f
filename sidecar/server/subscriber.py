"""The hub's view of a connection."""

from typing import Protocol

from sidecar.api.topics import Topic


class Subscriber(Protocol):
    """Takes frames without ever waiting or raising."""

    deflates: bool  # whether it takes compressed ones

    def deliver(self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int) -> None:
        """Sends `joined`, the frames of `parts` in order, of the block at `height`.

        Parts that can't be sent at once wait by their topics' delivery.
        """

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Sends what the topic goes on from after a gap: beyond the bound for what waits, as a
        first snapshot is.
        """


class Nobody:
    """Holds a topic open while a client waits for what it missed."""

    deflates = False

    def deliver(self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int) -> None:
        """It comes from the recent frames, later."""

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Likewise."""
