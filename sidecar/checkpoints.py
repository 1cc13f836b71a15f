"""The sidecar's own checkpoints: when they are written, and how the pipeline goes on meanwhile.

    parent   ──── block ──── block ── fork ── block ──── block ──── block ──── block ───▶
                                       └─▶ child: the state as of the fork, row by row, into
                                           a temporary file; fsync, rename, exit

The child shares the parent's memory as it was (copy on write, as redis' BGSAVE), so nothing is
copied beforehand and no block waits but for the fork itself. At the end of the process the last one
is written without a child.
"""

import errno
import fcntl
import gc
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import anyio

from sidecar.errors import ConfigInvalid, SourceMissing
from sidecar.limits import CHECKPOINT_LOOK_S, CHECKPOINT_NICE, CHECKPOINT_REST
from sidecar.node.block_records import block_digest
from sidecar.node.row_files import RowDirectory, RowFileHeader, RowFormat
from sidecar.node.starts import Start
from sidecar.settings import CheckpointSettings
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import ROW_TYPES, checkpoint_rows
from sidecar.telemetry.logs import get_log

_log = get_log("app")

FORMAT = "sidecar-checkpoint/1"
_FILE_MODE, _DIRECTORY_MODE = 0o640, 0o750  # where tokens are needed, not everybody may read
_ANYBODY = 0o002
_ROOT = 0
CHECKPOINTS: RowFormat[Any] = RowFormat(FORMAT, "checkpoint", ".ckpt", ROW_TYPES, mode=_FILE_MODE)
_FAILED = 255  # exit code of a child that failed with anything but an error of the system
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def open_directory(settings: CheckpointSettings) -> RowDirectory[Any] | None:
    """The directory of the checkpoints, made where it is not there and swept of what a killed
    writer left; None where none is set. Raises `ConfigInvalid` where it can't be written, or by
    others, too: a checkpoint that somebody else has put there would be believed.
    """
    if not settings.directory:
        return None
    path = Path(settings.directory)
    try:
        path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        others = who_else_writes(path)
        CHECKPOINTS.sweep(path)
    except OSError as error:
        what = f"checkpoint.directory: can't write {path}: {error.strerror}"
        raise ConfigInvalid(what) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigInvalid(f"checkpoint.directory: may not write {path}")
    if others is not None:
        raise ConfigInvalid(f"checkpoint.directory: {others}")
    return RowDirectory(path, CHECKPOINTS)


def who_else_writes(path: Path) -> str | None:
    """Who, but root, we and the groups that either lets, can put something into a directory or
    another one in its place, and what to do about it; None where nobody can. In a sticky directory,
    as /tmp is, nobody moves what is not his. Raises `OSError`. O(parents).
    """
    place = path.resolve(strict=True)
    found = place.stat()
    if found.st_uid not in (_ROOT, os.geteuid()):
        whose = f"{path} is user {found.st_uid}'s, and what is there is believed"
        return f"{whose}; chown it to the sidecar's user ({os.geteuid()}), or set another one"
    if found.st_mode & _ANYBODY:
        return f"everybody may write {path}, and what is there is believed; chmod o-w"
    for parent in place.parents:
        seen = parent.stat()
        moved = f"put another directory in the place of {path}, and be believed"
        if seen.st_uid not in (_ROOT, os.geteuid()):
            return f"{parent} is user {seen.st_uid}'s, who may {moved}; set another one"
        if seen.st_mode & _ANYBODY and not seen.st_mode & stat.S_ISVTX:
            return f"everybody may write {parent}, {moved}; chmod o-w or +t"
    return None


def find_directory(settings: CheckpointSettings) -> RowDirectory[Any] | None:
    """The directory, to read what another process writes there, which has looked who else does
    (`open_directory`); None where there is none.
    """
    if not settings.directory or not Path(settings.directory).is_dir():
        return None
    return RowDirectory(Path(settings.directory), CHECKPOINTS)


@contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Holds the directory for this sidecar alone, until the process ends at the latest. Raises
    `ConfigInvalid` where another one has it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"another sidecar keeps its checkpoints in {path}; give each its own"
            raise ConfigInvalid(f"checkpoint.directory: {what}") from error
        yield
    finally:
        os.close(fd)


class Checkpoints:
    """Writes the checkpoints of one state. `height` is that of the newest one that is good (0: none
    yet), `failures` counts those that could not be written, `why` says why the last one could not.
    """

    def __init__(
        self, directory: RowDirectory[Any], start: Start, state: ChainState, *, blocks: int
    ) -> None:
        """`state` is as restored from `start`; the first checkpoint is due `blocks` after it."""
        self.height = start.height if start.origin == CHECKPOINTS.noun else 0
        self.failures = 0
        self.written = 0
        self.bytes = 0  # of the newest one that this process wrote
        self.written_at = 0.0  # when that was (seconds since the epoch); 0: not yet
        self._path = directory.path
        self._chain = start.chain
        self._state = state
        self._blocks = blocks
        self._tried_at = state.height
        self._child: int | None = None
        self._stopped = False
        self.why = ""
        self.rows = 0  # of the one that is being written, or was last
        self._given_up = False
        self._left: list[Path] = []  # what can't be deleted, as far as that was said

    async def run(self) -> None:
        """Writes one whenever it is due, until cancelled. Between two blocks only: whoever applies
        blocks must not wait inside of one.
        """
        try:
            while True:
                await anyio.sleep(CHECKPOINT_LOOK_S)
                due = self._state.height - self._tried_at >= self._blocks
                if due and not self._stopped and not self._state.faults:  # not what is wrong
                    began = time.monotonic()
                    await self._write_beside()
                    await anyio.sleep(CHECKPOINT_REST * (time.monotonic() - began))
        finally:
            self._kill()

    def stop(self) -> None:
        """No more are begun: the state is in the middle of a block that failed."""
        self._stopped = True

    def give_up(self) -> None:
        """For another thread than that of `write_last`: it is not waited for any more."""
        self._given_up = True

    def write_last(self) -> None:
        """Writes the state as it is, unless that is done. For the end: it blocks. O(state)."""
        self._kill()
        height = self._state.height
        if self._stopped or self._state.faults or height in (0, self.height):
            return
        began = time.monotonic()
        try:
            self._write()
        except OSError as error:
            self._note_failure(height, os.strerror(error.errno or errno.EIO))
        except OverflowError as error:  # a number of the chain's has more than 64 bits
            self._note_failure(height, str(error))
        else:
            self._note_written(height, began)

    async def _write_beside(self) -> None:
        height = self._tried_at = self._state.height
        began = time.monotonic()
        try:
            child = self._child = self._fork()
        except OSError as error:  # no memory, too many processes
            self._note_failure(height, f"no process for it: {error.strerror}")
            return
        forked_ms = round((time.monotonic() - began) * 1000, 1)
        code = await _ended(child)
        self._child = None
        if code == 0:
            self._note_written(height, began, fork_ms=forked_ms)
        else:
            self._discard(height, child)
            self._note_failure(height, _reason(code))

    def _fork(self) -> int:
        """The child's process id; no signal of ours is handled in the child."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            child = os.fork()
            if child == 0:
                self._be_the_child()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def _be_the_child(self) -> NoReturn:
        code = _FAILED
        try:
            _detach()
            self._write()
            code = 0
        except OSError as error:
            code = error.errno or _FAILED
        finally:
            os._exit(code)

    def _write(self) -> None:
        state = self._state
        telling = [(block.height, block_digest(block)) for block in state.way]
        digest = telling.pop()[1] if telling else None
        where = (self._chain, state.height, state.time_ns)
        header = RowFileHeader(FORMAT, *where, digest, tuple(telling), state.doubted)
        CHECKPOINTS.write(self._path, header, self._rows())

    def _rows(self) -> Iterator[Any]:
        self.rows = 0
        for row in checkpoint_rows(self._state):
            self.rows += 1
            if self._given_up:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            yield row

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            self._discard(self._tried_at, child)

    def _discard(self, height: int, child: int) -> None:
        """What a child that ended too early may have left."""
        with suppress(OSError):  # a disk that is read-only by now; swept at the next start
            CHECKPOINTS.temporary(self._file(height), child).unlink()

    def _file(self, height: int) -> Path:
        return self._path / CHECKPOINTS.file_name(height)

    def _note_written(self, height: int, began: float, **more: float) -> None:
        self.height, self.why = height, ""
        seconds = round(time.monotonic() - began, 3)
        try:
            size = self._file(height).stat().st_size
        except OSError as error:  # somebody else's hands
            self._note_failure(height, f"it is gone: {error.strerror}")
            return
        self.written += 1
        self.bytes, self.written_at = size, time.time()
        _log.info("checkpoint written", height=height, bytes=size, seconds=seconds, **more)
        self._tell_left(height)

    def _tell_left(self, height: int) -> None:
        """What the writer could not delete; its own process says nothing."""
        with suppress(SourceMissing):
            for path in CHECKPOINTS.surplus(self._path, height):
                if path not in self._left:
                    self._left.append(path)
                    _log.warning("old checkpoint not deleted", path=str(path))

    def _note_failure(self, height: int, reason: str) -> None:
        self.failures += 1
        self.why = reason
        _log.error("checkpoint not written", height=height, reason=reason, path=str(self._path))


async def _ended(child: int) -> int:
    """The exit code of a process, once it has one."""
    while True:
        await anyio.sleep(CHECKPOINT_LOOK_S)
        if (code := _exit_code(child)) is not None:
            return code


def _exit_code(child: int) -> int | None:
    """None while it runs; the negative signal where one ended it."""
    ended, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _reason(code: int) -> str:
    if code == _FAILED:
        return "the writing process failed"
    return os.strerror(code) if code > 0 else f"the writing process was killed by signal {-code}"


def _detach() -> None:
    """Lets go of everything that is the parent's: signal handlers, sockets, terminal, priority."""
    gc.disable()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    os.closerange(3, highest + 1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    os.nice(CHECKPOINT_NICE)
