"""One worker's process, as its supervisor sees it: started with its settings on stdin, heard on
stdout.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sidecar.limits import (
    WORKER_HUNG_S,
    WORKER_REPORT_BYTES_MAX,
    WORKER_SILENT_S,
    WORKER_START_S,
    WORKER_TELL_S,
)
from sidecar.telemetry.logs import get_log
from sidecar.telemetry.metrics import Samples, lasting, merge
from sidecar.workers.role import Report

_log = get_log("supervisor")

_ISOLATED = ("-I",) if sys.flags.isolated else ()  # as an installed supervisor is
COMMAND = (sys.executable, *_ISOLATED, "-m", "sidecar", "worker")


class Worker:
    """Number so many, whether it runs or not."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.starts = 0
        self.ends = 0  # unasked
        self.unwanted = anyio.Event()
        self._process: Process | None = None
        self._report: Report | None = None
        self._heard_at = 0.0
        self._aborted = False  # it hangs, and has been asked where
        self.progress = 0  # of its starts: how far the best of them has come
        self._ended: Samples = {}  # what those before it counted

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where its clients connect; None while they can't."""
        return None if self._report is None else self._report.address

    @property
    def samples(self) -> Samples:
        """What it counts, and those before it did."""
        return merge([self._ended, self._report.samples if self._report else {}])

    async def run(
        self, orders: Callable[[], bytes], listener: socket.socket, heard: Callable[[], None]
    ) -> int | None:
        """From its start to its end; its exit code."""
        self.starts += 1
        process = await anyio.open_process(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            start_new_session=True,  # Ctrl-C is for the supervisor
            pass_fds=(listener.fileno(),) if listener.get_inheritable() else (),
        )
        self._process, self._heard_at, self._aborted = process, time.monotonic(), False
        if self.unwanted.is_set():  # the end was asked for while the process was being made
            _signal(process, signal.SIGTERM)
        try:
            async with process:
                assert process.stdin is not None
                assert process.stdout is not None
                with suppress(anyio.BrokenResourceError):
                    await process.stdin.send(orders())
                reports = BufferedByteReceiveStream(process.stdout)
                with suppress(
                    anyio.IncompleteRead,
                    anyio.BrokenResourceError,
                    anyio.DelimiterNotFound,
                    msgspec.DecodeError,  # its end came in the middle of a report
                ):
                    while True:
                        line = await reports.receive_until(b"\n", WORKER_REPORT_BYTES_MAX)
                        self._report = msgspec.json.decode(line, type=Report)
                        self.progress = max(self.progress, self._report.progress)
                        self._heard_at = time.monotonic()
                        heard()
                return await process.wait()
        finally:
            self._ended = lasting(self.samples)
            self._process = self._report = None

    async def tell(self, orders: bytes) -> None:
        """Other settings, if it runs."""
        process = self._process
        if process is not None and process.stdin is not None:
            with (
                suppress(anyio.BrokenResourceError, anyio.ClosedResourceError),
                anyio.move_on_after(WORKER_TELL_S),  # one that hangs does not read
            ):
                await process.stdin.send(orders)

    def end_hung(self, now: float) -> None:
        """Kills it if it has said nothing for too long; at its start it has longer. By SIGABRT: it
        says where it hangs. One that can't even do that has until the next look.
        """
        if self._process is None:
            return
        silent_s = now - self._heard_at
        if silent_s > (WORKER_START_S if self._report is None else WORKER_HUNG_S):
            if not self._aborted:
                _log.error("worker hangs", worker=self.number, silent_s=round(silent_s))
            _signal(self._process, signal.SIGKILL if self._aborted else signal.SIGABRT)
            self._aborted = True

    def end(self) -> None:
        """Asks it to end; the second time in a hurry."""
        self.unwanted.set()
        if self._process is not None:
            _signal(self._process, signal.SIGTERM)

    def told(self, now: float) -> dict[str, object]:
        """How it is."""
        told: dict[str, object] = {"worker": self.number, "starts": self.starts}
        told |= {"serving": False, "ready": False, "height": 0}
        if self._process is None:
            return told | {"reason": "it ended and is started again"}
        told["pid"] = self._process.pid
        if self._report is None:
            return told | {"reason": "it is starting"}
        told |= {"serving": self.address is not None, **self._report.health}
        silent_s = now - self._heard_at
        if silent_s > WORKER_SILENT_S:
            told |= {"ready": False, "reason": f"it has said nothing for {silent_s:.0f} s"}
        return told


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
