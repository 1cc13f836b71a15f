"""Commands as an operator meets them: starting, failing with a reason, stopping."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processes import Process, Serve, Server, Start
from sidecar.limits import DRAIN_TIMEOUT_S
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import list_snapshots


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "sidecar", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def made(tmp_path: Path, start: Start) -> Path:
    """The directory of a chain of 60 blocks with snapshots, ended."""
    ipc = tmp_path / "ipc"
    flags = ("--block-ms", "5", "--blocks", "60", "--snapshot-blocks", "20")
    assert start("devnet", "--path", str(ipc), *flags).wait() == 0
    return ipc


def test_help_of_every_command() -> None:
    commands = ("serve", "devnet", "watch", "replay", "log", "demo")
    overview = run("--help").stdout
    for command in commands:
        assert command in overview
        result = run(command, "--help")
        assert result.returncode == 0
        assert result.stdout.startswith(f"usage: sidecar {command}")


def test_serve_waits_for_a_node_that_has_not_started(
    tmp_path: Path, start: Start, serve: Serve
) -> None:
    ipc = tmp_path / "ipc"
    server = serve("--source-path", str(ipc), ready=False)
    server.wait_for("waiting for the node")
    start("devnet", "--path", str(ipc), "--block-ms", "20")
    server.ready()
    assert set(server.info(type="allMids")) <= {"TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO"}
    assert server.stop() == 0


def test_serve_goes_on_when_the_node_pauses_dies_and_returns(
    tmp_path: Path, start: Start, serve: Serve
) -> None:
    ipc = tmp_path / "ipc"
    node = start("devnet", "--path", str(ipc), "--block-ms", "20")
    server = serve("--source-path", str(ipc))
    while not server.info(type="allMids"):
        time.sleep(0.02)
    node.kill()
    before = server.info(type="exchangeStatus")["time"]
    assert server.running
    start("devnet", "--path", str(ipc), "--block-ms", "20")
    deadline = time.monotonic() + 20
    while server.info(type="exchangeStatus")["time"] <= before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def restored_at(server: Server) -> int:
    return int(server.wait_for(r'"height": (\d+), .*"state restored"')[1])


def test_serve_starts_from_the_newest_usable_snapshot(made: Path, serve: Serve) -> None:
    newest, older = list_snapshots(made / "snapshots")
    whole = serve("--source-path", str(made))
    assert restored_at(whole) == int(newest.stem)
    newest.write_bytes(newest.read_bytes()[:-1])
    fallback = serve("--source-path", str(made))
    assert "snapshot not used" in fallback.output
    assert restored_at(fallback) == int(older.stem)
    older.unlink()
    newest.unlink()
    genesis = serve("--source-path", str(made))
    assert restored_at(genesis) == 0
    for coin in ("TOYOTA", "NTT"):
        books = [one.info(type="l2Book", coin=coin) for one in (whole, fallback, genesis)]
        assert books[0] == books[1] == books[2]


def corrupt(ipc: Path) -> Path:
    segment = list_segments(ipc / "log")[-1]
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    return segment


def test_serve_names_the_place_of_a_corrupt_record_and_waits(made: Path, serve: Serve) -> None:
    list_snapshots(made / "snapshots")[0].unlink()  # that of height 60
    segment = corrupt(made)
    server = serve("--source-path", str(made), ready=False)
    server.wait_for("the feed can't go on")
    assert "the CRC of a record of " in server.output
    assert f"(file {segment}, offset " in server.output
    assert ", height 60)" in server.output
    assert server.running
    assert server.stop() == 0
    corrupt(made)  # once more: as it was
    assert serve("--source-path", str(made)).info(type="serverInfo")["height"] == 60


def test_log_verify_and_inspect(made: Path) -> None:
    result = run("log", "verify", str(made))
    assert result.returncode == 0
    assert "blocks 1 to 60, verified" in result.stdout
    assert "the log has no block 61" in run("log", "verify", str(made), "--from", "61").stderr
    result = run("log", "inspect", str(made), "--from", "7", "--to", "8", "--transitions")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["height"] for line in lines] == [7, 8]
    assert {"type", "market"} <= lines[0]["transitions"][0].keys()
    corrupt(made)
    result = run("log", "verify", str(made))
    assert result.returncode == 1
    assert "LogCorrupt" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serve", "--server-port", "x"), "ConfigInvalid: --server-port: server.port is a number"),
        (("serve", "--source-kind", "x"), "source.kind: Invalid enum value 'x'"),
        (("serve", "--source-kind", "hyperliquid"), "source.snapshot: a Hyperliquid node's files"),
        (("serve", "--config", "/nowhere.toml"), "/nowhere.toml: no such config file"),
        (("serve", "--server-host", "256.0.0.1"), "server.host: can't listen on '256.0.0.1'"),
        (("log", "verify", "/nowhere"), "SourceMissing: no chain.json"),
        (("watch", "--url", "http://x"), "is not an address such as ws://"),
        (("watch", "--url", "ws://127.0.0.1:9/ws"), "no server at ws://127.0.0.1:9/ws"),
        (("watch", "--url", "ws://h:99999/ws"), "is not an address such as ws://"),
        (("devnet", "--block-ms", "0"), "devnet.block_ms: 0"),
    ],
)
def test_errors_say_what_and_what_to_do(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_named(made: Path, serve: Serve) -> None:
    server = serve("--source-path", str(made))
    result = run("serve", "--source-path", str(made), "--server-port", str(server.port))
    assert result.returncode == 1
    assert f"server.port: can't listen on 127.0.0.1 port {server.port}" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_shows_a_book_and_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "demo"
    demo = Process(tmp_path / "out", "demo", "--path", str(path), "--port", "0")
    try:
        demo.wait_for(r"height \d+  TOYOTA  \d+\.\d+ / \d+\.\d+")
        operators = demo.wait_for(r"operators   127\.0\.0\.1:(\d+)")[1]
        assert run("status", "--operator", f"127.0.0.1:{operators}").returncode == 0
        children = children_of(demo)
        assert len(children) == 2
        demo.signal(number)
        assert demo.wait() == 0
    finally:
        demo.kill()
    assert demo.output.rstrip().endswith("stopped")
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def children_of(process: Process) -> list[str]:
    pid = process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_output_into_a_closed_pipe_is_no_traceback(made: Path) -> None:
    command = f"{sys.executable} -m sidecar log inspect {made} --transitions | head -1"
    result = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )
    assert json.loads(result.stdout)["height"] == 1
    assert "Traceback" not in result.stderr


def test_the_demo_without_a_terminal_says_what_is_wrong(tmp_path: Path) -> None:
    demo = Process(tmp_path / "out", "demo", "--coin", "NOPE", "--port", "0")
    assert demo.wait() == 1
    assert "RequestInvalid: unknown coin 'NOPE'" in demo.output


def test_the_demo_ends_with_its_chain(tmp_path: Path) -> None:
    demo = Process(tmp_path / "out", "demo", "--port", "0", "--path", str(tmp_path / "demo"))
    try:
        demo.wait_for(r"height \d+  TOYOTA")
        for child in children_of(demo):
            if "devnet" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), signal.SIGKILL)
        assert demo.wait() == 1
    finally:
        demo.kill()
    assert "DemoFailed: sidecar devnet ended" in demo.output


def test_a_second_signal_does_not_wait_for_the_drain(made: Path, serve: Serve) -> None:
    server = serve("--source-path", str(made))
    with socket.create_connection(("127.0.0.1", server.port)) as deaf:
        deaf.sendall(UPGRADE)
        deaf.recv(1000)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait_for("stopping")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.output.count("stopping") == 2
        assert time.monotonic() - began < DRAIN_TIMEOUT_S


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_descriptors_run_out_for_clients_not_for_the_log(tmp_path: Path, start: Start) -> None:
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "20")
    ports = "--server-port 0 --operator-port 0"
    serve = f"{sys.executable} -m sidecar serve {ports} --source-path {ipc}"
    output = tmp_path / "out"
    with output.open("wb") as file:
        command = ("bash", "-c", f"ulimit -n 90; exec {serve}")
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        pattern = r"serving ws://127\.0\.0\.1:(\d+)/ws"
        while not (found := re.search(pattern, output.read_text())):
            time.sleep(0.02)
        clients = [socket.create_connection(("127.0.0.1", int(found[1]))) for _ in range(60)]
        clients[-1].settimeout(10)
        assert b"503" in clients[-1].recv(1000)
        assert process.poll() is None
        for client in clients:
            client.close()
        assert "connections_max lowered" in output.read_text()
    finally:
        process.kill()
        process.wait()
