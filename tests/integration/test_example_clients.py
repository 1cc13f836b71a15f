"""The clients of the documents, as a reader starts them, against real processes."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import Serve, Start

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "docs" / "book_delta_client.py"
LINES = 150


def test_every_message_is_verified_across_a_restart_of_the_sidecar(
    tmp_path: Path, start: Start, serve: Serve
) -> None:
    ipc, own = tmp_path / "ipc", tmp_path / "checkpoints"
    start("devnet", "--path", str(ipc), "--block-ms", "20")
    flags = ("--source-path", str(ipc), "--checkpoint-directory", str(own))
    server = serve(*flags)
    port = server.ws_url.rsplit(":", 1)[1].removesuffix("/ws")
    output = tmp_path / "client.log"
    with output.open("wb") as file:
        client = subprocess.Popen(
            (sys.executable, str(CLIENT), server.ws_url, "TOYOTA"),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_lines(client, output, LINES)
        assert server.stop() == 0
        serve(*flags, "--server-port", port)
        wait_for_lines(client, output, 2 * LINES)
    finally:
        client.kill()
        client.wait()
    text = output.read_text()
    assert "coming back after" in text
    heights = [int(line.split()[1]) for line in text.splitlines() if line.startswith("height")]
    assert heights == sorted(set(heights))


def of_readme(tmp_path: Path, url: str) -> tuple[str, ...]:
    """Its first client, but for the address."""
    text = (ROOT / "README.md").read_text()
    snippet = re.search(r"## A client in ten lines\n+```python\n(.*?)```", text, re.DOTALL)
    assert snippet is not None
    assert len(snippet[1].splitlines()) <= 10
    script = tmp_path / "client.py"
    script.write_text(snippet[1].replace("ws://127.0.0.1:8010/ws", url))
    return ("-u", str(script))


def of_docs(_: Path, url: str) -> tuple[str, ...]:
    return (str(CLIENT), url, "TOYOTA")


@pytest.mark.parametrize("client_of", [of_readme, of_docs])
def test_ctrl_c_ends_it_without_a_word(
    tmp_path: Path, start: Start, serve: Serve, client_of: Callable[[Path, str], tuple[str, ...]]
) -> None:
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20")
    server = serve("--source-path", str(ipc))
    output = tmp_path / "client.log"
    with output.open("wb") as file:
        command = (sys.executable, *client_of(tmp_path, server.ws_url))
        client = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_for_lines(client, output, 3)
        client.send_signal(signal.SIGINT)
        assert client.wait(30) == 0, output.read_text()
    finally:
        client.kill()
        client.wait()
    text = output.read_text()
    assert "Traceback" not in text
    assert "KeyboardInterrupt" not in text


def wait_for_lines(client: subprocess.Popen[bytes], output: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while output.read_text().count("height") < count:
        assert client.poll() is None, output.read_text()[-2000:]
        assert time.monotonic() < deadline, output.read_text()[-2000:]
        time.sleep(0.05)
