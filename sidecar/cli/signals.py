"""SIGINT, SIGTERM and SIGHUP, from the first one to the last moment of the process."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio


@contextmanager
def end_signals(*others: signal.Signals) -> Iterator[AsyncIterator[signal.Signals]]:
    """The signals that ask for the end, and others. Behind it they are ignored: the process is
    ending, and an impatient second one would only interrupt that.
    """
    wanted = (signal.SIGINT, signal.SIGTERM, *others)
    try:
        with anyio.open_signal_receiver(*wanted) as signals:
            yield signals
    finally:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def service_signals() -> Iterator[AsyncIterator[signal.Signals]]:
    """Those and SIGHUP, which asks for the settings to be read again: but of a terminal that is
    gone it is the end, as of any command (SIGTERM is said then), and under nohup it is nothing.
    """
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    from_terminal = _is_terminal()
    with end_signals(*(() if nohup else (signal.SIGHUP,))) as signals:
        yield _end_of_terminal(signals) if from_terminal else signals


async def _end_of_terminal(signals: AsyncIterator[signal.Signals]) -> AsyncIterator[signal.Signals]:
    async for number in signals:
        gone = number is signal.SIGHUP and not _is_terminal()
        yield signal.SIGTERM if gone else number


def _is_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False
