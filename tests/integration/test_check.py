"""`sidecar serve --check`: what the settings name is tried without a start."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import Node
from test_tokens import token


def check(*flags: str) -> tuple[int, str]:
    """Exit code and output."""
    free = ("--server-port", "0", "--operator-port", "0")
    command = (sys.executable, "-m", "sidecar", "serve", "--check", *free, *flags)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield str(sock.getsockname()[1])


def test_settings_with_which_a_sidecar_would_serve(tmp_path: Path) -> None:
    token("desk", "--file", str(tmp_path / "tokens"))
    with Node(tmp_path / "ipc") as node:
        node.step()
        flags = ("--source-path", str(node.path), "--checkpoint-directory", str(tmp_path / "own"))
        code, output = check(*flags, "--server-tokens-file", str(tmp_path / "tokens"))
    assert code == 0, output
    told = output.splitlines()[-1]
    assert told.startswith("the settings are valid; tried: ")
    for name in ("tokens", "source", "log-format", "server-port", "operator-port", "checkpoints"):
        assert name in told
    assert not (tmp_path / "own").exists()  # nothing was started


def test_all_that_a_start_would_fail_of_is_said_at_once(tmp_path: Path, taken: str) -> None:
    (tmp_path / "tokens").write_text("desk read,write 00\n")
    (tmp_path / "own").write_text("")
    code, output = check(
        *("--server-tokens-file", str(tmp_path / "tokens"), "--server-port", taken),
        *("--operator-host", "192.0.2.1", "--checkpoint-directory", str(tmp_path / "own")),
    )
    assert code == 1
    assert f"error    tokens: server.tokens_file: {tmp_path / 'tokens'} line 1 is not" in output
    assert f"error    server-port: the port is in use\n         at server.port = {taken}" in output
    assert "error    operator-port: this machine has no such address" in output
    assert "error    checkpoints: not a directory" in output
    assert "a start would fail" in output.splitlines()[-1]


def test_what_a_start_waits_for_is_no_reason_to_fail(tmp_path: Path, taken: str) -> None:
    (tmp_path / "data").mkdir()
    code, output = check("--source-path", str(tmp_path / "elsewhere"))
    assert code == 0
    assert "warning  source: the node's directory does not exist" in output
    kind = ("--source-kind", "hyperliquid", "--source-path", str(tmp_path / "data"))
    code, output = check(*kind, "--source-info-url", f"http://127.0.0.1:{taken}/info")
    assert code == 0
    assert "warning  info-server: " in output


def test_what_a_hyperliquid_node_has_to_start_from(tmp_path: Path) -> None:
    kind = ("--source-kind", "hyperliquid", "--source-path", str(tmp_path))
    assert "error    snapshot: there is nothing to start from" in check(*kind)[1]
    code, output = check(*kind, "--source-snapshot", str(tmp_path / "l4.json"))
    assert (code, "error    snapshot: " in output) == (1, True)
    code, output = check(*kind, "--source-info-url", "https://127.0.0.1:3001/info")
    assert (code, "ConfigInvalid: source.info_url: " in output) == (1, True)
