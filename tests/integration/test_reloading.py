"""SIGHUP at real processes: what changes at once, what needs a restart, what is refused."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from processes import Process, Serve, Server, Start
from sidecar.server.tokens import new_token
from test_workers import until, workers


@pytest.fixture
def node(tmp_path: Path, start: Start) -> Path:
    """A running chain."""
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20").wait_for("block|height")
    return ipc


class Configured:
    """A sidecar and its settings file."""

    def __init__(self, tmp_path: Path, node: Path, serve: Serve) -> None:
        self.file = tmp_path / "sidecar.toml"
        self.tokens = tmp_path / "tokens"
        self._node = node
        self._serve = serve

    def write(self, **server: object) -> None:
        told = "".join(f"{name} = {json.dumps(value)}\n" for name, value in server.items())
        self.file.write_text(f"[source]\npath = {json.dumps(str(self._node))}\n[server]\n{told}")

    def starts(self, *flags: str, **server: object) -> Server:
        self.write(**server)
        return self._serve("--config", str(self.file), *flags)

    def reloads(self, server: Server, **settings: object) -> str:
        """The lines that it says then."""
        self.write(**settings)
        return reloaded(server)


def reloaded(server: Process) -> str:
    before = server.output
    server.signal(signal.SIGHUP)
    until(lambda: "reloaded" in server.output[len(before) :])
    return server.output[len(before) :]


@pytest.fixture
def configured(tmp_path: Path, node: Path, serve: Serve) -> Configured:
    return Configured(tmp_path, node, serve)


def ping(client: ClientConnection) -> None:
    client.send('{"method": "ping"}')
    assert json.loads(client.recv(timeout=10)) == {"channel": "pong"}


def is_refused(server: Server) -> bool:
    try:
        with connect(server.ws_url) as client:
            client.send('{"method": "ping"}')
            client.recv(timeout=10)
    except (ConnectionClosed, OSError, TimeoutError):
        return True
    except Exception as error:  # whatever status it is refused with
        if "HTTP 4" in str(error) or "HTTP 503" in str(error):
            return True
        raise
    return False


def test_limits_change_while_clients_stay(configured: Configured) -> None:
    server = configured.starts(connections_per_ip=2)
    with connect(server.ws_url) as client, connect(server.ws_url) as another:
        assert is_refused(server)
        told = configured.reloads(server, connections_per_ip=3, subscriptions_per_connection=1)
        assert '"changed": ["server.connections_per_ip", "server.subscriptions_per_' in told
        assert not is_refused(server)
        for coin in ("TOYOTA", "SONY"):
            subscription = {"type": "bbo", "coin": coin}
            client.send(json.dumps({"method": "subscribe", "subscription": subscription}))
        until(lambda: json.loads(client.recv(timeout=10))["channel"] == "error")
        ping(another)
    assert server.stop() == 0


def test_what_needs_a_restart_is_named(configured: Configured) -> None:
    server = configured.starts()
    told = configured.reloads(server, port=1, ping_interval_s=7)
    assert '"changed": ["server.ping_interval_s"]' in told
    assert "server.port" not in told  # the flag is stronger than the file, and it has not changed
    told = configured.reloads(server, ping_interval_s=7, workers=2)
    assert '"changed": []' in told
    assert '"keys": ["server.workers"]' in server.output


def test_a_wrong_file_changes_nothing(configured: Configured) -> None:
    server = configured.starts(connections_per_ip=1)
    configured.write(connections_per_ip=0)
    server.signal(signal.SIGHUP)
    server.wait_for('"not reloaded"')
    assert "server.connections_per_ip: Expected `int` >= 1" in server.output
    configured.tokens.write_text("nonsense\n")
    configured.write(connections_per_ip=5, tokens_file=str(configured.tokens))
    server.signal(signal.SIGHUP)
    until(lambda: server.output.count('"not reloaded"') == 2)
    with connect(server.ws_url) as client:
        ping(client)
        assert is_refused(server)
    assert server.stop() == 0


def test_who_has_no_token_any_more_is_let_go(configured: Configured) -> None:
    (mine, my_line), (_, other_line) = new_token("a", "read"), new_token("b", "read")
    configured.tokens.write_text(my_line + "\n" + other_line + "\n")
    server = configured.starts(tokens_file=str(configured.tokens))
    headers = {"Authorization": f"Bearer {mine}"}
    with connect(server.ws_url, additional_headers=headers) as client:
        ping(client)
        reloaded(server)
        ping(client)
        configured.tokens.write_text(other_line + "\n")
        reloaded(server)
        with pytest.raises(ConnectionClosed) as error:
            client.recv(timeout=10)
        assert error.value.rcvd is not None
        assert (error.value.rcvd.code, "token" in error.value.rcvd.reason) == (1008, True)
        assert is_refused(server)
    assert mine not in server.output


def test_a_token_that_is_revoked_while_the_node_is_waited_for(
    tmp_path: Path, start: Start, serve: Serve
) -> None:
    late = tmp_path / "late"
    configured = Configured(tmp_path, late, serve)
    mine, line = new_token("a", "read")
    configured.tokens.write_text(line + "\n")
    configured.write(tokens_file=str(configured.tokens))
    server = serve("--config", str(configured.file), ready=False)
    server.wait_for('"waiting for the node"')
    configured.tokens.write_text(new_token("b", "read")[1] + "\n")
    told = configured.reloads(server, tokens_file=str(configured.tokens), connections_per_ip=7)
    assert '"server.connections_per_ip"' in told
    start("devnet", "--path", str(late), "--block-ms", "20").wait_for("block|height")
    server.ready()
    headers = {"Authorization": f"Bearer {mine}"}
    with pytest.raises(InvalidStatus) as error, connect(server.ws_url, additional_headers=headers):
        pass
    assert error.value.response.status_code == 401


def test_a_file_of_tokens_that_is_new(configured: Configured) -> None:
    server = configured.starts()
    configured.tokens.write_text(new_token("a", "read")[1] + "\n")
    with connect(server.ws_url) as client:
        configured.reloads(server, tokens_file=str(configured.tokens))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=10)
    assert is_refused(server)
    configured.reloads(server)
    assert not is_refused(server)
    assert "tokens are asked for no more" in server.output


def test_the_level_of_logs_changes(configured: Configured) -> None:
    server = configured.starts()
    configured.file.write_text(configured.file.read_text() + '[log]\nlevel = "debug"\n')
    reloaded(server)
    with connect(server.ws_url) as client:
        ping(client)
    server.wait_for('"event": "opened"')


def test_workers_take_it_over_and_so_do_those_that_are_started_later(
    configured: Configured,
) -> None:
    server = configured.starts("--workers", "2", "--operator-port", "0", connections_per_ip=1)
    told = configured.reloads(server, connections_per_ip=50, ping_interval_s=9)
    assert '"server.connections_per_ip"' in told
    until(lambda: server.output.count('"reloaded"') == 3)  # the supervisor's and theirs
    os.kill(workers(server)[1]["pid"], signal.SIGKILL)
    both = [(1, True), (2, True)]
    until(lambda: [(one["starts"], one["ready"]) for one in workers(server)] == both)
    with ExitStack() as stack:
        for _ in range(10):
            ping(stack.enter_context(connect(server.ws_url)))
    os.kill(workers(server)[0]["pid"], signal.SIGHUP)  # as `systemctl kill -s HUP` does
    time.sleep(0.2)
    assert [one["starts"] for one in workers(server)] == [1, 2]
    assert server.stop() == 0


def test_workers_are_not_told_what_they_would_refuse(configured: Configured) -> None:
    server = configured.starts("--workers", "2", "--operator-port", "0", connections_per_ip=50)
    configured.tokens.write_text("nonsense\n")
    configured.write(connections_per_ip=1, tokens_file=str(configured.tokens))
    server.signal(signal.SIGHUP)
    server.wait_for('"not reloaded"')
    os.kill(workers(server)[1]["pid"], signal.SIGKILL)  # what is started later begins as before
    both = [(1, True), (2, True)]
    until(lambda: [(one["starts"], one["ready"]) for one in workers(server)] == both)
    with ExitStack() as stack:
        for _ in range(10):
            ping(stack.enter_context(connect(server.ws_url)))
    assert server.output.count('"not reloaded"') == 1
    assert '"reloaded"' not in server.output
    assert server.stop() == 0


def test_a_terminal_that_goes_ends_it(node: Path) -> None:
    """As any command: with its terminal nobody is there who would look at it."""
    ours, theirs = pty.openpty()
    command = (sys.executable, "-m", "sidecar", "serve", "--source-path", str(node))
    ports = ("--server-port", "0", "--operator-port", "0")
    process = subprocess.Popen(
        (*command, *ports), stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    try:
        assert b"serving ws://" in os.read(ours, 1 << 16)
        process.send_signal(signal.SIGHUP)  # the terminal is there: the settings are read again
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_under_nohup_it_is_nothing(node: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ("nohup", sys.executable, "-m", "sidecar", "serve", "--source-path", str(node))
    ports = ("--server-port", "0", "--operator-port", "0")
    with output.open("wb") as file:
        process = subprocess.Popen(
            (*command, *ports), stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        until(lambda: "serving ws://" in output.read_text())
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        assert "reloaded" not in output.read_text()
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


BROKEN = """
import sys
import anyio
from sidecar import app
from sidecar.cli.main import main

async def dies(*_):
    await anyio.sleep(0.2)
    {dies}

app.watch_freshness = dies
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("dies", "reason"),
    [
        ('raise RuntimeError("planted")', "RuntimeError: planted"),
        ("return", "RuntimeError: the task freshness ended by itself"),
    ],
)
def test_a_task_that_dies_unexpectedly_ends_the_process_with_its_name(
    node: Path, dies: str, reason: str
) -> None:
    flags = ("serve", "--source-path", str(node), "--server-port", "0", "--operator-port", "0")
    ended = subprocess.run(
        (sys.executable, "-c", BROKEN.format(dies=dies), *flags),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == os.EX_SOFTWARE
    assert ended.stderr.splitlines()[-1] == f"sidecar: bug: {reason}"
    (line,) = (line for line in ended.stderr.splitlines() if '"task died"' in line)
    told = json.loads(line)
    assert (told["task"], told["reason"]) == ("freshness", reason)
