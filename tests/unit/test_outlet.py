"""What is printed where nothing can be written: it never raises, never waits, and is counted."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.limits import LAST_WORDS_S
from sidecar.telemetry.outlet import Outlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its reading and its writing end, which blocks."""
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with suppress(OSError):
            os.close(fd)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def drain(reader: int) -> bytes:
    os.set_blocking(reader, False)
    found = b""
    with suppress(BlockingIOError):
        while data := os.read(reader, 1 << 16):
            found += data
    return found


def test_lines_come_out_whole_and_in_order(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with (tmp_path / "file").open("wb") as file:
        for fd in (writer, file.fileno()):
            out = Outlet(fd).open()
            print("one", 2, file=out)
            print("begun", end="", file=out)
            print(", ended ✓ \udc80", file=out)
            out.write(long := 3000 * "word " + "\n")
            print("no line", end="", file=out, flush=True)
            out.close()
            assert (out.lost, out.failing) == (0, False)
    told = (tmp_path / "file").read_bytes()
    assert told.decode() == f"one 2\nbegun, ended ✓ \\udc80\n{long}no line"
    assert drain(reader) == told


@pytest.mark.parametrize("again", [True, False], ids=["a description of its own", "none"])
def test_a_pipe_that_nobody_reads(
    pipe: tuple[int, int], again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    if not again:
        monkeypatch.setattr("sidecar.telemetry.outlet._OWN", os.O_WRONLY | os.O_DIRECTORY)
    out = Outlet(writer).open()
    with within(5):
        for number in range(3000):
            out.write(f"{number:0100}\n")
    assert 0 < out.lost < 3000
    assert out.why == "nobody reads it"
    assert os.get_blocking(writer)
    assert [int(one) for one in drain(reader).splitlines()] == list(range(3000 - out.lost))
    out.write("there is room again\n")
    assert drain(reader) == b"there is room again\n"


def test_what_is_torn_is_ended_by_a_newline(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = Outlet(writer).open()
    for _ in range(20):
        out.write(9000 * "x" + "\n")
    lost, written = out.lost, drain(reader)
    assert lost
    assert written.count(b"\n") == 20 - lost
    assert not written.endswith(b"\n")
    out.write("whole\n")
    out.write("next\n")
    assert drain(reader) == b"\nwhole\nnext\n"


def test_a_reader_that_has_gone(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outs = [Outlet(writer).open()]
    os.close(reader)
    outs.append(Outlet(writer).open())
    for out in outs:
        out.write("one\ntwo\n")
        assert (out.lost, out.why) == (2, "Broken pipe")


def test_a_terminal_whose_other_side_reads_nothing() -> None:
    """There poll says that there is room where there is some: a line is longer."""
    ours, terminal = pty.openpty()
    try:
        out = Outlet(terminal).open()
        with within(5):
            for _ in range(300):
                out.write(4000 * "x" + "\n")
        assert out.lost
        assert not fcntl.fcntl(terminal, fcntl.F_GETFL) & os.O_NONBLOCK
        termios.tcflush(terminal, termios.TCOFLUSH)
    finally:
        os.close(ours)
        os.close(terminal)


def test_last_words_wait_for_room_once(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    out = Outlet(writer).open()
    for _ in range(20):
        out.write(4095 * "x" + "\n")
    out.patience_s = LAST_WORDS_S / 5
    with within(LAST_WORDS_S):
        for _ in range(20):
            out.write("Traceback\n")


def test_many_last_words_wait_no_longer_than_few(pipe: tuple[int, int]) -> None:
    """Whoever reads a little now and then does not hold the end up for as long as he likes."""
    reader, writer = pipe
    out = filled(writer)
    patience = out.patience_s = LAST_WORDS_S / 5

    def reads_drops() -> None:
        while not stopped.wait(0.6 * patience):
            os.read(reader, 4096)

    stopped = threading.Event()
    drops = threading.Thread(target=reads_drops)
    drops.start()
    try:
        with within(LAST_WORDS_S):
            out.write(20 * 4096 * "x" + "\n")
    finally:
        stopped.set()
        drops.join()
    assert (out.lost, out.failing) == (1, True)


def test_a_signal_that_speaks_while_room_is_waited_for(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = filled(writer)
    out.patience_s = LAST_WORDS_S

    def speaks(*_: object) -> None:
        out.write("from the handler\n")
        drain(reader)

    before = signal.signal(signal.SIGUSR1, speaks)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        out.write("last words\n")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert drain(reader) == b"last words\n"
    assert (out.lost, out.why) == (1, "in the middle of another line")


def filled(writer: int) -> Outlet:
    """An outlet to a pipe that has no room left."""
    out = Outlet(writer).open()
    while not out.lost:
        out.write(4095 * "x" + "\n")
    out.lost = 0
    return out


def test_a_child_writes_to_the_descriptor_that_it_has(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = Outlet(writer).open()
    own = out._out
    assert own != writer
    out.forked()
    os.close(own)
    out.write("from the child\n")
    assert drain(reader) == b"from the child\n"


SAYING = "import sys; from sidecar.cli.main import main; sys.exit(main())"
NOWHERE = ("--server-host=192.0.2.1", "--source-path=/nowhere", "--operator-port=0")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- >&- <&-", "2>/dev/null"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("serve", "--qwertz"), 2), (("serve", "--server-port=x"), 1), (("serve", *NOWHERE), 1)],
)
def test_an_exit_code_does_not_depend_on_who_listens(
    redirection: str, arguments: tuple[str, ...], code: int
) -> None:
    command = ("sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", SAYING)
    assert subprocess.run((*command, *arguments), check=False, timeout=60).returncode == code


def test_a_bug_keeps_its_exit_code(pipe: tuple[int, int]) -> None:
    """Its traceback and its reason are more than a stalled pipe takes."""
    _, writer = pipe
    out = Outlet(writer).open()
    for _ in range(20):
        out.write(4095 * "x" + "\n")
    planted = f"import sidecar.cli.serve as s; s.read_settings = lambda _: [][1]; {SAYING}"
    command = (sys.executable, "-c", planted, "serve")
    with within(30):
        done = subprocess.run(command, stderr=writer, check=False, timeout=60)
    assert done.returncode == os.EX_SOFTWARE
