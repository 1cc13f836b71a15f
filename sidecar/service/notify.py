"""Tells the service manager how the process is: sd_notify(3), a datagram for each thing to say.

    READY=1         once the state is at the node's head and clients can connect
    STATUS=...      what `systemctl status` shows, every few seconds
    WATCHDOG=1      from the event loop itself, twice in the time that WATCHDOG_USEC allows: a loop
                    that hangs says nothing, and is ended and started again
    RELOADING=1     while settings are read again
    STOPPING=1      when the drain begins

Without NOTIFY_SOCKET nobody listens, and all of it is nothing.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping

import anyio

from sidecar.limits import NOTIFY_STATUS_S
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
        self._ready = False

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
        self._say("STOPPING=1")

    async def run(self, status: Callable[[], str]) -> None:
        """For ever: feeds the watchdog, and says `status` when it has changed."""
        if self._address is None:
            await anyio.sleep_forever()
        pause_s = min(NOTIFY_STATUS_S, (self.watchdog_s or NOTIFY_STATUS_S) / 2)
        said, said_at = "", 0.0
        while True:
            lines = ["WATCHDOG=1"] if self.watchdog_s else []
            now, text = time.monotonic(), status()
            if text != said and now - said_at >= NOTIFY_STATUS_S:
                said, said_at = text, now
                lines.append(f"STATUS={text}")
            if lines:
                self._say(*lines)
            await anyio.sleep(pause_s)

    def _say(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning("the service manager can't be told", what=lines[0], reason=str(error))


def _address(text: str) -> str | None:
    """An abstract socket is written with @ for its zero byte."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None
