"""Structured logs: one line per event worth waking for, JSON under systemd, readable on a
terminal. Repeats are counted, secrets taken out (docs/logs.md).
"""

import logging
import sys
from textwrap import indent

import anyio
import structlog

from sidecar.limits import LOG_REPEATS_S
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
    Logs go to stderr.
    """
    _REPEATS.clear()
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


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
