"""What is said to the service manager where it is slow to listen, or the words are odd."""

import itertools
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from sidecar.cli.signals import service_signals
from sidecar.limits import NOTIFY_UNSAID_MAX
from sidecar.service import notify
from sidecar.service.notify import Notifier

pytestmark = pytest.mark.anyio


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(tmp_path / "notify"))
        yield sock


def notifier_of(manager: socket.socket) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "10000"})


def filled(manager: socket.socket) -> int:
    """With datagrams of others, until it takes no more, of anybody; how many those are."""
    total = 0
    while count := _sent(manager):
        total += count
    return total


def _sent(manager: socket.socket) -> int:
    """As many as one sender may have under way."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
        for count in itertools.count():
            try:
                other.sendto(b"other", manager.getsockname())
            except BlockingIOError:
                return count
    raise AssertionError


async def heard(manager: socket.socket) -> str:
    with anyio.fail_after(20):
        await anyio.wait_readable(manager)
    return manager.recv(4096).decode()


async def test_what_there_was_no_room_for_is_said_later_in_its_order(
    manager: socket.socket,
) -> None:
    notifier = notifier_of(manager)
    others = filled(manager)
    notifier.ready()
    notifier.reloading()
    notifier.reloaded()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notifier.run, lambda: "", lambda: 0)
        await anyio.sleep(0.05)
        for _ in range(others):
            assert manager.recv(4096) == b"other"
        said = [await heard(manager) for _ in range(4)]
        tasks.cancel_scope.cancel()
    first, second, third, fourth = said
    assert (first, third, fourth) == ("READY=1", "READY=1", "WATCHDOG=1")
    assert second.startswith("RELOADING=1\nMONOTONIC_USEC=")


async def test_no_more_waits_than_is_of_use(manager: socket.socket) -> None:
    notifier = notifier_of(manager)
    others = filled(manager)
    for _ in range(10 * NOTIFY_UNSAID_MAX):
        notifier.ready()
    notifier.stopping()
    for _ in range(others):
        manager.recv(4096)
    notifier.stopping()
    said = []
    with pytest.raises(BlockingIOError):
        while True:
            said.append(manager.recv(4096))
    assert said == [b"READY=1"] * (NOTIFY_UNSAID_MAX - 2) + [b"STOPPING=1"] * 2


async def test_a_status_is_one_line_of_utf_8(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "NOTIFY_STATUS_S", 0.0)
    notifier = notifier_of(manager)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notifier.run, lambda: "torn\nREADY=1 \udcff", lambda: 0)
        said = await heard(manager)
        tasks.cancel_scope.cancel()
    assert said == "WATCHDOG=1\nSTATUS=torn READY=1 ?"


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (1, 2, 15)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("terminal", [True, False])
async def test_a_wait_for_signals_that_is_cancelled_is_not_their_end(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setattr("os.isatty", lambda _: terminal)
    with service_signals() as signals:
        with anyio.move_on_after(0.01):
            await anext(signals)
        signal.raise_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            assert await anext(signals) is signal.SIGTERM
