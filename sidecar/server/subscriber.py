"""The hub's view of a connection."""

from collections.abc import Callable
from typing import Protocol

from sidecar.api.topics import Topic

Send = Callable[[bytes], int]  # how many of the bytes were taken


class Subscriber(Protocol):
    """Takes frames without ever waiting or raising. Does not call the hub from here."""

    deflates: bool  # whether it takes compressed ones
    send: Send  # the kernel's, for as long as nothing waits

    def deliver(
        self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int, sent: int = 0
    ) -> None:
        """Sends `joined`, the frames of `parts` in order, of the block at `height`; the kernel has
        `sent` bytes of them already.

        Parts that can't be sent at once wait by their topics' delivery.
        """

    def lose(self, error: OSError) -> None:
        """The connection broke as it was sent to."""

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Sends what the topic goes on from after a gap: beyond the bound for what waits, as a
        first snapshot is.
        """


class Nobody:
    """Holds a topic open while a client waits for what it missed."""

    deflates = False

    def __init__(self) -> None:
        self.send: Send = len  # all of it is taken

    def deliver(
        self, joined: bytes, parts: list[tuple[Topic, bytes]], height: int, sent: int = 0
    ) -> None:
        """It comes from the recent frames, later."""

    def lose(self, error: OSError) -> None:
        """There is none."""

    def restart(self, topic: Topic, restart_frames: bytes, height: int) -> None:
        """Likewise."""
