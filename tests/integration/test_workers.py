"""Several workers on one port: what clients and operators see while workers die and end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect, unix_connect

from processes import COMMAND, Serve, Server, Start
from rig import Node
from sidecar.checkpoints import CHECKPOINTS
from sidecar.config import load_settings
from sidecar.node.row_files import RowDirectory
from sidecar.workers.role import Role

BLOCKS = {"method": "subscribe", "subscription": {"type": "blocks"}}


@pytest.fixture
def node(tmp_path: Path, start: Start) -> Path:
    """A running chain."""
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    return ipc


@pytest.fixture
def pair(node: Path, serve: Serve) -> Server:
    """Two workers beside it, serving."""
    return serve("--source-path", str(node), "--workers", "2", "--operator-port", "0")


def workers(server: Server) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = server.get("/readyz", server.operator_port)[1]["workers"]
    return told


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@contextmanager
def subscribed(server: Server, count: int) -> Iterator[list[ClientConnection]]:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connect(server.ws_url, max_queue=None)) for _ in range(count)
        ]
        for client in clients:
            client.send(json.dumps(BLOCKS))
        yield clients


def heights(client: ClientConnection, count: int) -> list[int]:
    """Of the next blocks that are told."""
    found: list[int] = []
    while len(found) < count:
        message = json.loads(client.recv(timeout=10))
        if message["channel"] == "blocks":
            found.append(message["data"]["height"])
    return found


def test_one_dies_and_the_others_serve_on(pair: Server) -> None:
    told = workers(pair)
    assert [one["ready"] for one in told] == [True, True]
    with subscribed(pair, 30) as clients:
        before = {client: heights(client, 1)[-1] for client in clients}
        os.kill(told[1]["pid"], signal.SIGKILL)
        lost = 0
        for client, height in before.items():
            try:
                assert heights(client, 20) == list(range(height + 1, height + 21))
            except ConnectionClosed:
                lost += 1
        assert 0 < lost < len(clients)  # both had some
        with connect(pair.ws_url) as another:
            another.send('{"method": "ping"}')
            assert json.loads(another.recv(timeout=10)) == {"channel": "pong"}
        until(lambda: [one["ready"] for one in workers(pair)] == [True, True])
        again = workers(pair)
        assert again[0]["pid"] == told[0]["pid"]
        assert (again[1]["starts"], again[1]["pid"] == told[1]["pid"]) == (2, False)
        assert pair.get("/readyz", pair.operator_port)[0] == 200
    assert pair.stop() == 0


def test_all_clients_are_told_of_the_end(pair: Server) -> None:
    with subscribed(pair, 20) as clients:
        for client in clients:
            heights(client, 1)
        pids = [one["pid"] for one in workers(pair)]
        pair.signal(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed) as error:
                while True:
                    client.recv(timeout=10)
            assert error.value.rcvd is not None
            assert error.value.rcvd.code == 1001
    assert pair.wait() == 0
    assert all(map(gone, pids))


def test_the_end_is_asked_for_while_the_workers_are_being_started(
    tmp_path: Path, serve: Serve
) -> None:
    flags = ("--source-path", str(tmp_path / "none"), "--workers", "4", "--operator-port", "0")
    server = serve(*flags, ready=False)
    server.wait_for("operators are answered")
    assert server.stop() == 0


def test_workers_do_not_outlive_their_supervisor(pair: Server) -> None:
    pids = [one["pid"] for one in workers(pair)]
    pair.kill()
    until(lambda: all(map(gone, pids)))


def test_the_first_writes_the_checkpoints(tmp_path: Path, node: Path, serve: Serve) -> None:
    own = tmp_path / "own"
    flags = ("--source-path", str(node), "--workers", "2", "--checkpoint-directory", str(own))
    first = serve(*flags, "--checkpoint-blocks", "50")
    until(lambda: RowDirectory(own, CHECKPOINTS).list())
    assert first.stop() == 0
    assert '"worker": 0, ' in first.output
    again = serve(*flags)
    assert again.output.count('"origin": "checkpoint"') == 2
    assert again.stop() == 0


def test_over_one_unix_socket(tmp_path: Path, node: Path, serve: Serve) -> None:
    path = tmp_path / "api.sock"
    flags = ("--source-path", str(node), "--workers", "2", "--operator-port", "0")
    server = serve(*flags, "--server-host", f"unix:{path}", ready=False)
    server.wait_for("serving ")
    os.kill(workers(server)[0]["pid"], signal.SIGKILL)
    with unix_connect(str(path), "ws://x/ws") as client:
        client.send(json.dumps(BLOCKS))
        assert heights(client, 3)
    assert server.stop() == 0


def test_a_port_that_another_has_is_refused(node: Path, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = str(taken.getsockname()[1])
        flags = ("--source-path", str(node), "--workers", "2", "--server-port", port)
        server = serve(*flags, ready=False)
        assert server.wait() == 1
        assert "ConfigInvalid: server.port: can't listen on 127.0.0.1" in server.output


def test_when_none_is_left_it_ends_with_the_reason(tmp_path: Path, serve: Serve) -> None:
    with Node(tmp_path / "ipc", segment_blocks=2) as broken:
        broken.step(5)
    min(broken.ipc.log.iterdir()).unlink()
    server = serve("--source-path", str(broken.path), "--workers", "2", ready=False)
    assert server.wait() == 1
    assert server.output.count("LogGap: ") >= 2  # what each worker says, each time
    assert "WorkersEnded: the last of 2 workers ended with 1" in server.output


def test_tokens_that_are_wrong_are_said_once(tmp_path: Path, serve: Serve) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("nonsense\n")
    flags = ("--source-path", str(tmp_path / "none"), "--workers", "2")
    server = serve(*flags, "--server-tokens-file", str(tokens), ready=False)
    assert server.wait() == 1
    (line,) = server.output.splitlines()
    assert line.startswith("sidecar: ConfigInvalid: server.tokens_file: ")


MUTE = """
import sys
from sidecar.cli.main import main
import sidecar.workers.process as process
process.COMMAND = (sys.executable, "-c", "import time; time.sleep(100)")
process.WORKER_START_S = 0.5
sys.exit(main(sys.argv[1:]))
"""


def test_workers_that_hang_before_they_say_a_word_are_ended(tmp_path: Path) -> None:
    flags = ("--source-path", str(tmp_path / "none"), "--workers", "2")
    ports = ("--server-port", "0", "--operator-port", "0")
    ended = subprocess.run(
        (sys.executable, "-c", MUTE, "serve", *flags, *ports),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert '"worker hangs"' in ended.stderr
    assert "workers ended with -6" in ended.stderr.splitlines()[-1]


def test_what_a_worker_is_told_while_it_starts_is_not_lost(tmp_path: Path, node: Path) -> None:
    """Tokens, perhaps, without which everybody would be let in."""
    flags = {"source.path": str(node), "server.port": "0", "operator.port": "0"}
    told = [
        (load_settings(None, {}, flags | {"server.messages_per_minute": number}), Role(0, 2))
        for number in ("2000", "7", "8")
    ]
    orders, said = b"\n".join(map(msgspec.json.encode, told)) + b"\n", tmp_path / "said"
    with said.open("w") as file:
        worker = subprocess.Popen(
            (*COMMAND, "worker"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=file
        )
        try:
            assert worker.stdin is not None
            worker.stdin.write(orders)  # all of it is there before the worker is
            worker.stdin.flush()
            until(lambda: said.read_text().count('"reloaded"') == 2)
            worker.stdin.close()
            assert worker.wait(20) == 0
        finally:
            worker.kill()
            worker.wait()
