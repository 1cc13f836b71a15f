"""Has the node write L4 snapshots into a directory of ours.

    fileSnapshot, outPath ─▶ info server ─▶ 200 ─▶ l4-1779000000000.json, whole or still growing

Nodes differ in whether they answer before the file is there, so what counts is the file: it is
used once it is closed as it was opened, and waited for while it grows.
"""

import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import msgspec

from sidecar.errors import (
    ConfigInvalid,
    NodeRefused,
    NodeUnreachable,
    SnapshotInvalid,
    SourceMissing,
)
from sidecar.limits import (
    INFO_ANSWER_BYTES_MAX,
    L4_SNAPSHOTS_KEPT,
    SNAPSHOT_LOOK_S,
    SNAPSHOT_PROGRESS_S,
    SNAPSHOT_QUIET_S,
    SNAPSHOT_REFUSALS_MAX,
    SNAPSHOT_RETRY_S,
    SNAPSHOT_TIMEOUT_S,
    SOURCE_RETRY_MAX_S,
    SOURCE_RETRY_S,
    SOURCE_WAIT_TOLD_S,
)
from sidecar.node.hyperliquid.info_client import InfoClient
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot
from sidecar.telemetry.logs import get_log

_log = get_log("node")

_NS_PER_MS = 1_000_000
_OK = 200


class Absence:
    """A server that is not there: how often to look, and what to say of it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = self._told_at = -math.inf
        self._pause_s = SOURCE_RETRY_S

    @property
    def began(self) -> bool:
        """Whether it was not there before."""
        return self._since > -math.inf

    def goes_on(self, reason: str) -> float:
        """Seconds to the next look. It is said at once, then now and then, with its length."""
        now = self._clock()
        if not self.began:
            self._since = now
        if now - self._told_at >= SOURCE_WAIT_TOLD_S:
            self._told_at = now
            waited = {"waited_s": round(now - self._since)} if now > self._since else {}
            _log.warning("waiting for the node", reason=reason, **waited)
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, SOURCE_RETRY_MAX_S)
        return pause_s


class SnapshotFiles:
    """The snapshots that a node's info server wrote for this sidecar, and how to get another."""

    def __init__(
        self,
        client: InfoClient,
        directory: Path | None = None,
        *,
        timeout_s: float = SNAPSHOT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`directory` is of this sidecar alone, and one that the node may write into; None: one
        for temporary files. Raises `ConfigInvalid`.
        """
        self.directory = _private_directory() if directory is None else _made(directory)
        self._client = client
        self._timeout_s = timeout_s
        self._clock = clock

    async def request(self, *, again: bool = False) -> Path:
        """A new snapshot of all coins, with users, trigger orders and its height. Older files of
        ours are deleted, but for the newest. `again`: it was said already that one is asked for.

        Raises `NodeUnreachable`, `NodeRefused`, `SnapshotInvalid`. O(bytes), by the node.
        """
        path = self._next_path()
        say = _log.debug if again else _log.info
        say("asking the node for a snapshot", url=self._client.url, path=str(path))
        began = self._clock()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell_progress, path, began)
                await self._ask(path)
                await self._wait_whole(path, began)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        seconds = round(self._clock() - began, 3)
        _log.info("snapshot there", path=str(path), bytes=_size(path), seconds=seconds)
        self._delete_old()
        return path

    async def request_first(self) -> Path:
        """As `request`, for a start: a server that is not there yet is waited for, and one that
        refuses is asked again a few times.
        """
        absence, refusals, retry_s = Absence(self._clock), 0, SNAPSHOT_RETRY_S
        while True:
            try:
                return await self.request(again=absence.began)
            except NodeUnreachable as error:
                await anyio.sleep(absence.goes_on(str(error)))
            except (NodeRefused, SnapshotInvalid) as error:
                refusals += 1
                if refusals == SNAPSHOT_REFUSALS_MAX:
                    raise
                _log.warning("no snapshot", reason=str(error), retry_s=retry_s)
                await anyio.sleep(retry_s)
                retry_s *= 2

    async def open(self, markets: Mapping[str, int]) -> HyperliquidSnapshot:
        """A new snapshot, opened in slices; `markets` are the ids that symbols have."""
        return await HyperliquidSnapshot.open(await self.request(), markets)

    async def _ask(self, path: Path) -> None:
        request = {
            "type": "fileSnapshot",
            "request": {
                "type": "l4Snapshots",
                "includeUsers": True,
                "includeTriggerOrders": True,
            },
            "outPath": str(path),
            "includeHeightInOutput": True,
        }
        answer = await self._client.post(
            msgspec.json.encode(request),
            timeout_s=self._timeout_s,
            answer_bytes_max=INFO_ANSWER_BYTES_MAX,
        )
        if answer.status != _OK:
            what = (
                f"the node's info server at {self._client.url} refuses a snapshot into "
                f"{path.parent} with status {answer.status}: {answer.text()}; "
                "source.snapshot_directory has to be one that the node may write into"
            )
            raise NodeRefused(what, status=answer.status)

    async def _wait_whole(self, path: Path, began: float) -> None:
        size, quiet_since = -1, self._clock()
        while True:
            now = self._clock()
            if _size(path) != size:
                size, quiet_since = _size(path), now
            try:
                HyperliquidSnapshot(path, index=False)
            except (SnapshotInvalid, SourceMissing) as error:
                if now - quiet_since >= SNAPSHOT_QUIET_S:
                    what = f"the node answered, but its snapshot can't be used: {error}"
                    raise SnapshotInvalid(what) from error
                if now - began >= self._timeout_s:
                    what = f"the node's snapshot took more than {self._timeout_s:g} s"
                    raise NodeUnreachable(what, timeout=True) from error
            else:
                return
            await anyio.sleep(SNAPSHOT_LOOK_S)

    async def _tell_progress(self, path: Path, began: float) -> None:
        while True:
            await anyio.sleep(SNAPSHOT_PROGRESS_S)
            seconds = round(self._clock() - began, 1)
            _log.info("waiting for the snapshot", bytes=_size(path), seconds=seconds)

    def _next_path(self) -> Path:
        """A name that no file has, and that sorts behind those before."""
        newest = max((int(path.stem.partition("-")[2]) for path in self._ours()), default=0)
        number = max(time.time_ns() // _NS_PER_MS, newest + 1)
        return self.directory / f"l4-{number}.json"

    def _delete_old(self) -> None:
        for old in self._ours()[:-L4_SNAPSHOTS_KEPT]:
            old.unlink(missing_ok=True)

    def _ours(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.directory.glob("l4-" + 13 * "[0-9]" + ".json"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"source.snapshot_directory: can't make {directory}: {error.strerror}"
        raise ConfigInvalid(what) from error
    return directory.absolute()  # the node has a working directory of its own


def _private_directory() -> Path:
    """Below the system's directory for temporary files, where others may have put anything."""
    uid, parent = os.getuid(), Path(tempfile.gettempdir())
    for left in parent.glob(f"sidecar-{uid}-*"):
        pid = left.name.rpartition("-")[2]
        gone = pid.isdigit() and not Path(f"/proc/{pid}").exists()
        if gone and left.lstat().st_uid == uid:
            shutil.rmtree(left, ignore_errors=True)
    directory = parent / f"sidecar-{uid}-{os.getpid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        what = f"can't make {directory}: {error.strerror}; set source.snapshot_directory"
        raise ConfigInvalid(f"source.snapshot_directory: {what}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        what = f"{directory} is not a directory of ours alone; set source.snapshot_directory"
        raise ConfigInvalid(f"source.snapshot_directory: {what}")
    return directory
