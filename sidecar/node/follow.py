"""Follows a growing log: reads what is there, sleeps until the node writes again.

inotify watches the directories, its descriptor awaited through anyio, so an idle follower costs
nothing and wakes within microseconds of the node's write. With `busy_poll` it never sleeps: the
lowest latency for a core of its own. Events can be lost (queue overflow, network file systems), so
a sleeper also looks by itself once a second, and whether its watches are where names lead.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress
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

_WRITTEN = flags.MODIFY | flags.CREATE | flags.MOVED_TO | flags.CLOSE_WRITE
_EVENTS = _WRITTEN | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
_GONE = flags.IGNORED | flags.DELETE_SELF | flags.MOVE_SELF
_NO_WATCH = -1  # what none has


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
        self._watches: dict[Path, int] = {}
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
        added = False
        for directory in directories:
            if directory not in self._watches:
                added |= self._add(self._inotify, directory)
        return added

    def _add(self, inotify: INotify, directory: Path) -> bool:
        try:
            self._watches[directory] = inotify.add_watch(directory, _EVENTS)
        except (FileNotFoundError, NotADirectoryError):
            return False  # not there yet, or gone again
        except OSError as error:  # not ours to read, or out of watches: we poll
            _log.warning("can't watch", path=str(directory), reason=error.strerror)
            self._watches[directory] = _NO_WATCH
            return False
        return True

    async def wait(self, timeout_s: float) -> None:
        """Returns after the next event, or after the timeout. Consumes the events: they only say
        "look".
        """
        inotify = self._inotify
        if inotify is None:
            await anyio.sleep(min(timeout_s, FOLLOW_POLL_WITHOUT_INOTIFY_S))
            return
        with anyio.move_on_after(timeout_s) as waiting:
            await anyio.wait_readable(inotify.fileno())
        for event in inotify.read(timeout=0):
            if event.mask & _GONE:
                self._forget(inotify, event.wd)
        if waiting.cancelled_caught:
            self._renew(inotify)

    def _forget(self, inotify: INotify, watch: int) -> None:
        """A directory was deleted, or has another name: its own may be another's by now."""
        for path in [path for path, one in self._watches.items() if one == watch]:
            del self._watches[path]
            _let_go(inotify, watch)

    def _renew(self, inotify: INotify) -> None:
        """Quiet may be because a name leads elsewhere now (a link was set anew, a disk mounted), or
        because one could not be watched. O(directories).
        """
        for path, before in list(self._watches.items()):
            with suppress(OSError):
                self._watches[path] = inotify.add_watch(path, _EVENTS)
                if before not in self._watches.values():
                    _let_go(inotify, before)


def _let_go(inotify: INotify, watch: int) -> None:
    with suppress(OSError):  # it went with its directory
        inotify.rm_watch(watch)
