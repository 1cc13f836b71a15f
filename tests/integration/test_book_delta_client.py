"""The reference client, as a reader of the documentation starts it, against real processes."""

import subprocess
import sys
import time
from pathlib import Path

from processes import Serve, Start

CLIENT = Path(__file__).parents[2] / "docs" / "book_delta_client.py"
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


def wait_for_lines(client: subprocess.Popen[bytes], output: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while output.read_text().count("height") < count:
        assert client.poll() is None, output.read_text()[-2000:]
        assert time.monotonic() < deadline, output.read_text()[-2000:]
        time.sleep(0.05)
