"""Structured logs: one line per event worth waking for, JSON under systemd, readable on a
terminal.
"""

import logging
import sys

import structlog

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
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_log(room: str) -> structlog.typing.FilteringBoundLogger:
    """The log of a room."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return log
