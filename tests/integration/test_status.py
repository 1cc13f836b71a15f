"""`sidecar status` of real sidecars: ready, not ready, not reachable, with one process and more."""

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from processes import Process, Serve, Start

NOT_READY, UNREACHABLE = 1, 2


@pytest.fixture
def chain(tmp_path: Path, start: Start) -> Process:
    chain = start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "100")
    chain.wait_for("after_height")
    return chain


def status(*flags: str) -> tuple[int, str]:
    """Exit code and output."""
    done = subprocess.run(
        (sys.executable, "-m", "sidecar", "status", *flags),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def status_json(place: str) -> tuple[int, dict[str, Any]]:
    code, output = status("--operator", place, "--json")
    told: dict[str, Any] = json.loads(output)
    return code, told


def until_ready(place: str) -> None:
    deadline = time.monotonic() + 20
    while status_json(place)[0] != 0:
        assert time.monotonic() < deadline


def test_one_process(tmp_path: Path, chain: Process, serve: Serve) -> None:
    own = tmp_path / "own"
    flags = ("--checkpoint-directory", str(own), "--checkpoint-blocks", "20")
    server = serve("--source-path", str(tmp_path / "ipc"), *flags)
    place = f"127.0.0.1:{server.operator_port}"
    until_ready(place)
    server_height = server.info(type="serverInfo")["height"]
    while not list(own.glob("*.ckpt")):
        time.sleep(0.02)
    code, output = status("--operator", place)
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in output.splitlines() if line[0] != " ")
    assert lines["alive"] == "its event loop answers"
    assert lines["state"] == "ready"
    answers = f"127.0.0.1:{server.port} answers: live, 0 contradictions found so far"
    assert lines["server"] == answers
    assert int(lines["height"]) >= server_height
    assert lines["feed"] == "live"
    assert re.fullmatch(r"-?\d+\.\d{3} s behind the chain's clock", lines["lag"])
    assert lines["markets"] == "5 served"
    assert lines["submission"] == "the node takes orders"
    assert re.fullmatch(r"none yet|height \d+, \d+ blocks ago", lines["checkpoint"])


def test_checkpoints_that_fail_are_said(tmp_path: Path, chain: Process, serve: Serve) -> None:
    own = tmp_path / "own"
    flags = ("--checkpoint-directory", str(own), "--checkpoint-blocks", "20")
    server = serve("--source-path", str(tmp_path / "ipc"), *flags)
    place = f"127.0.0.1:{server.operator_port}"
    shutil.rmtree(own)
    server.wait_for("checkpoint not written")
    code, output = status("--operator", place)
    assert code == 0  # it serves
    assert re.search(r"failing \(\d+ times so far\): No such file or directory", output)


def test_a_node_that_is_gone_is_said_with_its_reasons(
    tmp_path: Path, chain: Process, serve: Serve
) -> None:
    flags = ("--source-stale-after-s", "0.3")
    server = serve("--source-path", str(tmp_path / "ipc"), *flags)
    place = f"127.0.0.1:{server.operator_port}"
    chain.stop()
    deadline = time.monotonic() + 20
    while (code := status("--operator", place))[0] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while "stale" not in code[1]:
        assert time.monotonic() < deadline
        code = status("--operator", place)
    assert code[0] == NOT_READY
    assert "state        not ready" in code[1]
    assert "feed         stale: the node has written no block for 0.3 s" in code[1]
    assert "submission   the node takes none: " in code[1]


def test_a_sidecar_that_waits_for_its_node(tmp_path: Path, serve: Serve) -> None:
    server = serve("--source-path", str(tmp_path / "ipc"), ready=False)
    code, output = status("--operator", f"127.0.0.1:{server.operator_port}")
    assert code == NOT_READY
    assert "feed         starting: the node is waited for, or its first snapshot" in output


def test_two_workers(tmp_path: Path, chain: Process, serve: Serve) -> None:
    server = serve("--source-path", str(tmp_path / "ipc"), "--workers", "2")
    place = f"127.0.0.1:{server.operator_port}"
    until_ready(place)
    code, output = status("--operator", place)
    assert code == 0
    assert "workers      2, 2 of them serving" in output
    assert output.count("\n  feed       live") == 2
    assert f"server       127.0.0.1:{server.port} answers: live, " in output
    assert output.count("\n  markets    5 served") == 2
    pid = int(re.findall(r"process    (\d+), start 1\n", output)[1])
    os.kill(pid, signal.SIGSTOP)  # it hangs
    try:
        deadline = time.monotonic() + 20
        silent = r"worker 1     not ready: it (has said nothing|ended|is starting)"
        while not re.search(silent, (told := status("--operator", place))[1]):
            assert time.monotonic() < deadline, told
    finally:
        os.kill(pid, signal.SIGCONT)
    assert told[0] == NOT_READY


def test_over_a_unix_socket(tmp_path: Path, chain: Process, serve: Serve) -> None:
    path = tmp_path / "operator.sock"
    server = serve("--source-path", str(tmp_path / "ipc"), "--operator-host", f"unix:{path}")
    until_ready(f"unix:{path}")
    told = status_json(str(path))[1]
    assert told["readyz"]["feed"]["state"] == "live"
    assert told["healthz"] == {"alive": True}
    assert told["serverInfo"]["height"] >= told["readyz"]["height"] > 0
    assert told["answered"] == {"address": f"127.0.0.1:{server.port}", "reason": ""}
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--server-tokens-file", "{tokens}"), r".*:\d+ answers who has a token"),
        (("--server-host", "unix:{path}/api.sock"), r"unix:.*/api\.sock answers: live, .*"),
        (("--server-host", "0.0.0.0"), r"0\.0\.0\.0:\d+ answers: live, .*"),
    ],
    ids=["tokens", "unix", "everywhere"],
)
def test_clients_are_answered_wherever_they_come_in(
    tmp_path: Path, chain: Process, serve: Serve, flags: tuple[str, ...], said: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"desk read {'0' * 64}\n")
    tokens.chmod(0o600)
    given = [one.format(tokens=tokens, path=tmp_path) for one in flags]
    server = serve("--source-path", str(tmp_path / "ipc"), *given, ready=False)
    place = f"127.0.0.1:{server.operator_port}"
    server.wait_for('"event": "ready"')
    until_ready(place)
    assert re.search(f"\nserver       {said}\n", status("--operator", place)[1])


def test_a_server_that_answers_no_clients_is_not_well(
    tmp_path: Path, chain: Process, serve: Serve
) -> None:
    """All of it is ready, but nobody comes in any more."""
    server = serve("--source-path", str(tmp_path / "ipc"), "--server-connections-max", "1")
    place = f"127.0.0.1:{server.operator_port}"
    until_ready(place)
    with socket.create_connection(("127.0.0.1", server.port)) as only:
        only.send(b"GET")
        deadline = time.monotonic() + 20
        while (told := status("--operator", place))[0] == 0:
            assert time.monotonic() < deadline
    assert told[0] == NOT_READY
    assert "state        ready\n" in told[1]
    assert re.search(r"\nserver       clients are not answered: 127\S+: 503 .+", told[1])


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        place = f"127.0.0.1:{gone.getsockname()[1]}"
    code, output = status("--operator", place)
    assert code == UNREACHABLE
    assert output.startswith(f"not reachable: {place}: no sidecar answers: ")
    code, told = status_json(place)
    assert (code, told["reachable"]) == (UNREACHABLE, False)
    assert status("--operator", "nonsense")[0] == 1


@contextmanager
def somebody_else() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_somebody_else_there() -> None:
    with somebody_else() as port:
        code, output = status("--operator", f"127.0.0.1:{port}")
    assert code == UNREACHABLE
    assert "no sidecar's operator port" in output


def test_it_watches_until_it_is_interrupted(
    tmp_path: Path, chain: Process, serve: Serve, start: Start
) -> None:
    server = serve("--source-path", str(tmp_path / "ipc"))
    place = f"127.0.0.1:{server.operator_port}"
    watching = start("status", "--operator", place, "--watch")
    watching.wait_for(r"height[^\0]*height")
    server.stop()
    watching.wait_for("not reachable: ")
    watching.signal(signal.SIGINT)
    assert watching.wait() == 130
