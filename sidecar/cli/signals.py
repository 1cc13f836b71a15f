"""SIGINT, SIGTERM and SIGHUP, from the first one to the last moment of the process."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Self

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
        yield _EndOfTerminal(signals) if from_terminal else signals


class _EndOfTerminal:
    """No generator: one would end with the first wait for it that is cancelled."""

    def __init__(self, signals: AsyncIterator[signal.Signals]) -> None:
        self._signals = signals

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> signal.Signals:
        number = await anext(self._signals)
        gone = number is signal.SIGHUP and not _is_terminal()
        return signal.SIGTERM if gone else number


def _is_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False
