"""Follows a growing log: reads what is there, sleeps until the node writes again.

inotify watches the directories, its descriptor awaited through anyio, so an idle follower costs
nothing and wakes within microseconds of the node's write. With `busy_poll` it never sleeps: the
lowest latency for a core of its own. Events can be lost (queue overflow, network file systems), so
a sleeper also looks by itself once a second.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Protocol, Self

import anyio
from anyio.lowlevel import checkpoint
from inotify_simple import INotify, flags

from sidecar.errors import SourceBusy
from sidecar.limits import (
    BEHIND_WARN_S,
    FOLLOW_BUSY_S,
    FOLLOW_COMPLAIN_S,
    FOLLOW_POLL_S,
    FOLLOW_POLL_WITHOUT_INOTIFY_S,
    FOLLOW_SLICE_S,
)
from sidecar.node.transitions import Block
from sidecar.telemetry.logs import get_log

_log = get_log("node")

_EVENTS = flags.MODIFY | flags.CREATE | flags.MOVED_TO | flags.CLOSE_WRITE | flags.DELETE_SELF


class Reader(Protocol):
    """What every node's log looks like from here: blocks in order of height, without waiting."""

    height: int

    def next_block(self) -> Block | None:
        """The next block, or None while the node has not written it. Raises `NodeError`."""

    def directories(self) -> Iterable[Path]:
        """The directories whose files tell of new blocks; those that do not exist yet may be
        among them.
        """

    def is_at_head(self) -> bool:
        """Whether what the node has written reaches up to `height`; False where it ends below."""

    def behind(self) -> list[Path]:
        """What the next block waits for though the node has begun to write it; empty at the
        head.
        """

    def close(self) -> None:
        """Gives the files back."""


class Follower:
    """Turns a reader into an endless stream of blocks."""

    def __init__(
        self,
        reader: Reader,
        at_head: anyio.Event | None = None,
        *,
        busy_poll: bool = False,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`at_head` is set once everything that the node had written has been read; `on_read` is
        told of each block when its reading began (`time.perf_counter_ns`).
        """
        self.reader = reader
        self.at_head = at_head or anyio.Event()
        self._busy_poll = busy_poll
        self._on_read = on_read
        self._whole_at = time.monotonic()  # when nothing was missing last
        self._complained_at = -math.inf

    async def blocks(self) -> AsyncGenerator[Block, None]:
        """Every block from the reader's height on, for ever. Raises what the reader raises."""
        if self._busy_poll:
            async for polled in self._poll():
                yield polled
            return
        with _Watch() as watch:
            slice_end = time.monotonic() + FOLLOW_SLICE_S
            while True:
                block = await self._look()
                if block is not None:
                    yield block
                    if time.monotonic() >= slice_end:  # catching up: let the others run
                        await checkpoint()
                        slice_end = time.monotonic() + FOLLOW_SLICE_S
                elif not watch.extend(self.reader.directories()):
                    self._note_idle()
                    await watch.wait(FOLLOW_POLL_S)
                    slice_end = time.monotonic() + FOLLOW_SLICE_S

    async def _poll(self) -> AsyncIterator[Block]:
        while True:
            block = await self._look()
            if block is not None:
                yield block
            else:
                self._note_idle()
            await checkpoint()

    async def _look(self) -> Block | None:
        """The next block, None at the head. Where there is nothing left to look with, the reader
        stays where it is, and keeps what it has open.
        """
        while True:
            began_ns = time.perf_counter_ns()
            try:
                block = self.reader.next_block()
            except SourceBusy as error:
                self._complain(error)
                await anyio.sleep(FOLLOW_BUSY_S)
            else:
                if block is not None:
                    self._on_read(began_ns)
                return block

    def _complain(self, error: SourceBusy) -> None:
        now = time.monotonic()
        if now - self._complained_at >= FOLLOW_COMPLAIN_S:
            self._complained_at = now
            _log.error("the log can't be looked at", reason=str(error))

    def _note_idle(self) -> None:
        """At the head, unless the node has written a part of the next block only: that is said, if
        it lasts.
        """
        behind = self.reader.behind()
        now = time.monotonic()
        if not behind:
            self.at_head.set()
            self._whole_at = now
        elif now - self._whole_at >= BEHIND_WARN_S:
            self._whole_at = now
            waiting_for = ", ".join(str(path) for path in behind)
            _log.warning("the node's streams are apart", waiting_for=waiting_for)


class _Watch:
    """An inotify instance over a set of directories that may grow."""

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}
        self._inotify: INotify | None = None
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            _log.warning(
                "no inotify, polling instead: see /proc/sys/fs/inotify/max_user_instances",
                reason=error.strerror,
                interval_s=FOLLOW_POLL_WITHOUT_INOTIFY_S,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._inotify is not None:
            self._inotify.close()

    def extend(self, directories: Iterable[Path]) -> bool:
        """Watches what is not watched yet. True if there was any: then look again before
        sleeping.
        """
        if self._inotify is None:
            return False
        known = set(self._paths.values())
        added = False
        for directory in directories:
            if directory not in known and directory.is_dir():
                added |= self._add(self._inotify, directory)
        return added

    def _add(self, inotify: INotify, directory: Path) -> bool:
        try:
            self._paths[inotify.add_watch(directory, _EVENTS)] = directory
        except OSError as error:  # gone again, not ours to read, or out of watches: we poll
            _log.warning("can't watch", path=str(directory), reason=error.strerror)
            self._paths[-len(self._paths) - 1] = directory
            return False
        return True

    async def wait(self, timeout_s: float) -> None:
        """Returns after the next event, or after the timeout. Consumes the events: they only say
        "look".
        """
        if self._inotify is None:
            await anyio.sleep(min(timeout_s, FOLLOW_POLL_WITHOUT_INOTIFY_S))
            return
        with anyio.move_on_after(timeout_s):
            await anyio.wait_readable(self._inotify.fileno())
        for event in self._inotify.read(timeout=0):
            if event.mask & (flags.IGNORED | flags.DELETE_SELF):
                self._paths.pop(event.wd, None)
