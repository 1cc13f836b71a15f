"""Tells the service manager how the process is: sd_notify(3), a datagram for each thing to say.

    READY=1         once the state is at the node's head and clients can connect
    EXTEND_...=     while a start or an end gets on: it may take longer than the unit says, but not
                    without a step for so long
    STATUS=...      what `systemctl status` shows, every few seconds
    WATCHDOG=1      from the event loop itself, twice in the time that WATCHDOG_USEC allows: a loop
                    that hangs says nothing, and is ended and started again
    RELOADING=1     while settings are read again
    STOPPING=1      when the drain begins

What the service manager has no room for is said again, in its order; but for status and watchdog,
which are said anew anyway. Without NOTIFY_SOCKET nobody listens, and all of it is nothing.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, MutableMapping

import anyio

from sidecar.limits import NOTIFY_EXTEND_S, NOTIFY_STATUS_S, NOTIFY_UNSAID_MAX
from sidecar.telemetry.logs import get_log

_log = get_log("service")


class Notifier:
    """The way to the service manager."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        """Takes its variables out of the environment: what this process starts is not spoken for.
        None: nobody listens.
        """
        given = {} if environment is None else environment
        self._address = _address(given.pop("NOTIFY_SOCKET", ""))
        own = given.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = given.pop("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if own and usec.isdecimal() and int(usec) else None
        self._ready = self._stopping = False
        self._unsaid: deque[str] = deque(maxlen=NOTIFY_UNSAID_MAX)

    def ready(self) -> None:
        """Clients can connect; or, settings have been read again."""
        self._ready = True
        self._say("READY=1")

    def reloading(self) -> None:
        """`ready` follows."""
        if self._ready:
            usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._say("RELOADING=1", f"MONOTONIC_USEC={usec}")

    def reloaded(self) -> None:
        """After `reloading`."""
        if self._ready:
            self.ready()

    def stopping(self) -> None:
        """The end has begun."""
        self._stopping = True
        self._say("STOPPING=1")

    async def run(self, status: Callable[[], str], progress: Callable[[], object]) -> None:
        """For ever: feeds the watchdog, says `status` when it has changed, and asks for more time
        when `progress` has, of a start or an end.
        """
        if self._address is None:
            await anyio.sleep_forever()
        pause_s = min(NOTIFY_STATUS_S, (self.watchdog_s or NOTIFY_STATUS_S) / 2)
        said, said_at, step = "", 0.0, progress()
        while True:
            lines = ["WATCHDOG=1"] if self.watchdog_s else []
            now, text = time.monotonic(), status()
            if text != said and now - said_at >= NOTIFY_STATUS_S:
                said, said_at = text, now
                lines.append(f"STATUS={' '.join(text.split())}")
            before, step = step, progress()
            if step != before and (self._stopping or not self._ready):
                lines.append(f"EXTEND_TIMEOUT_USEC={NOTIFY_EXTEND_S * 1e6:.0f}")
            if self._say_waiting() and lines:
                self._send("\n".join(lines))
            await anyio.sleep(pause_s)

    def _say(self, *lines: str) -> None:
        if self._address is not None:
            self._unsaid.append("\n".join(lines))
            self._say_waiting()

    def _say_waiting(self) -> bool:
        """Whether nothing waits any more."""
        while self._unsaid and self._send(self._unsaid[0]):
            self._unsaid.popleft()
        return not self._unsaid

    def _send(self, text: str) -> bool:
        """False where there is no room now."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(text.encode(errors="replace"), self._address or "")
        except BlockingIOError:
            return False
        except OSError as error:
            what = text.partition("\n")[0]
            _log.warning("the service manager can't be told", what=what, reason=str(error))
        return True


def _address(text: str) -> str | None:
    """An abstract socket is written with @ for its zero byte."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None
