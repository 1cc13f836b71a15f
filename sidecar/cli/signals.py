"""SIGINT and SIGTERM, from the first one to the last moment of the process."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio


@contextmanager
def end_signals() -> Iterator[AsyncIterator[signal.Signals]]:
    """The signals that ask for the end. Behind it they are ignored: the process is ending, and an
    impatient second one would only interrupt that.
    """
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            yield signals
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
