"""Structured logs: one line per event worth waking for, JSON under systemd, readable on a
terminal. Repeats are counted, secrets taken out, and what can't be written ends nothing
(docs/logs.md).
"""

import logging
import sys
from textwrap import indent
from typing import TextIO

import anyio
import structlog

from sidecar.limits import LOG_REPEATS_S
from sidecar.telemetry.outlet import STDERR
from sidecar.telemetry.printable import block, line
from sidecar.telemetry.redact import redact
from sidecar.telemetry.repeats import Event, Repeats

_REPEATS = Repeats()
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(level: str, style: str) -> None:
    """`level` is a key of `LEVELS`; `style` is "json", "text", or "auto": text on a terminal.
    Logs go to stderr, which is not waited for any more.
    """
    _REPEATS.clear()
    STDERR.patience_s = 0.0
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _REPEATS,
            structlog.processors.format_exc_info,
            _redacted,
            *((_printable,) if text else ()),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_Lines(sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Makes itself what structlog writes to: a stream's lines, and among them how many are
    missing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, *_: object) -> "_Lines":
        return self

    def msg(self, text: str) -> bool:
        """Always true: a line has come as far as this."""
        self._stream.write(f"{text}\n")
        STDERR.tell_lost(_say_lost)
        return True

    debug = info = warning = error = critical = exception = msg


def _say_lost(lines: int, reason: str) -> object:
    log = get_log("logs")
    return log.error("log lines were lost", lines=lines, reason=reason)


async def tell_repeats() -> None:
    """For ever: says what was left out of lines that came too often."""
    while True:
        await anyio.sleep(LOG_REPEATS_S)
        _REPEATS.tell(_say_again)


def _say_again(event: Event) -> None:
    level, what, room = event.pop("level"), event.pop("event"), event.pop("room")
    known = {name: value for name, value in event.items() if value is not None}
    getattr(get_log(room), level)(what, **known)


def _redacted(_logger: object, _method: str, event: Event) -> Event:
    return {name: redact(value, name) for name, value in event.items()}


def _printable(_logger: object, _method: str, event: Event) -> Event:
    """What clients wrote can neither steer a terminal nor look like a line of its own. JSON escapes
    by itself.
    """
    shown = {name: line(one) if isinstance(one, str) else one for name, one in event.items()}
    if isinstance(exception := event.get("exception"), str):
        shown["exception"] = indent(block(exception), "    ")
    return shown


def get_log(room: str) -> structlog.typing.FilteringBoundLogger:
    """The log of a room."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return log
