"""Out of descriptors: who is in stays in, nobody ends, and who waits gets in when some are free."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import connect

from blocks import fill
from hostile import UPGRADE, Peer
from test_sessions import running, say, subscribe

pytestmark = pytest.mark.anyio

OUT_OF_DESCRIPTORS = "can't accept connections"


@contextmanager
def server_in_a_process(output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that makes a block every 10 ms; its log is in a file."""
    with output.open("wb") as file:
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen((sys.executable, __file__), stdout=file, stderr=file, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def shows(output: Path, words: str) -> str:
    """What follows the words on their line."""
    while words not in (text := output.read_text()):
        await anyio.sleep(0.01)
    return text.partition(words)[2].partition("\n")[0]


def leave_descriptors(pid: int, count: int) -> None:
    """That process may open so many more, from now on."""
    newest = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir())
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (newest + 1 + count, hard))


async def test_descriptor_exhaustion_ends_nobody_and_is_over_when_some_are_free(
    tmp_path: Path,
) -> None:
    output = tmp_path / "output"
    with anyio.fail_after(30), server_in_a_process(output) as process:
        port = int(await shows(output, "port "))
        url = f"ws://127.0.0.1:{port}/ws"
        async with connect(url, max_queue=None) as inside:
            await subscribe(inside, type="trades", coin="TOYOTA")
            leave_descriptors(process.pid, 5)
            waiting = [Peer(port) for _ in range(30)]
            await shows(output, OUT_OF_DESCRIPTORS)
            last = json.loads(await inside.recv())["height"]
            for _ in range(100):
                message = json.loads(await inside.recv())
                assert message["prev"] == last
                last = message["height"]
            out_since = time.monotonic()
            while time.monotonic() < out_since + 1.5:
                last = json.loads(await inside.recv())["height"]
            assert output.read_text().count(OUT_OF_DESCRIPTORS) <= 3
            for peer in waiting[:-1]:
                peer.sock.close()
            await waiting[-1].send(UPGRADE + b"\r\n")  # it came before there was room
            assert (await waiting[-1].receive()).startswith(b"HTTP/1.1 101 ")
            waiting[-1].sock.close()
            async with connect(url) as after:
                assert await say(after, method="ping") == {"channel": "pong"}
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


async def _serve() -> None:
    async with running() as sidecar:
        os.write(1, b"port %d\n" % sidecar.server.port)
        for tid in range(1_000_000):
            sidecar.push(fill(tid))
            await anyio.sleep(0.01)


if __name__ == "__main__":
    anyio.run(_serve, backend_options={"use_uvloop": True})
