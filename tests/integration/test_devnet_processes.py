"""The development chain as a process: traders on its socket, and everything that can end it."""

import ast
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eth_account import Account
from submit_client import submitting

from processes import Start
from sidecar.node.log import LogReader
from sidecar.node.transitions import Block, BookAdded, Fill, OrderStatus

QUICK = ("--block-ms", "10", "--snapshot-blocks", "15", "--actions-per-block", "10")


def blocks_of(ipc: Path) -> list[Block]:
    """Every block, or an error of the reader."""
    with LogReader(ipc / "log", after=0, chain="devnet-1") as log:
        return list(iter(log.next_block, None))


def test_a_trader_with_the_official_client(start: Start, tmp_path: Path) -> None:
    """Place, see it in the log at the height of the answer, trade, cancel."""
    node = start("devnet", "--path", str(tmp_path), "--block-ms", "20")
    wallet = Account.from_key("0x" + "55" * 32)
    user = bytes.fromhex(wallet.address[2:])
    with submitting(tmp_path / "submit.sock") as submitter:
        assert submitter.faucet(wallet)["status"] == "ok"
        client = submitter.client(wallet)
        placed = client.order("TOYOTA", True, 10, 2500.0, {"limit": {"tif": "Gtc"}})
        (resting,) = placed["response"]["data"]["statuses"]
        oid = resting["resting"]["oid"]
        deadline = time.monotonic() + 20  # the makers come one a block
        while True:
            bought = client.order("TOYOTA", True, 1, 3500.0, {"limit": {"tif": "Ioc"}})
            (status,) = bought["response"]["data"]["statuses"]
            if "filled" in status:
                break
            assert time.monotonic() < deadline, status
        filled_at = submitter.heights[-1]
        gone = client.cancel("TOYOTA", oid)
        assert gone["response"]["data"]["statuses"] == ["success"]
        _, placed_at, *_, gone_at = submitter.heights
    assert node.stop() == 0
    assert not (tmp_path / "submit.sock").exists()
    said = {block.height: block.transitions for block in blocks_of(tmp_path)}
    (added,) = [one for one in said[placed_at] if isinstance(one, BookAdded) and one.oid == oid]
    assert added.user == user
    assert any(isinstance(one, Fill) and one.buyer and one.buyer.user == user
               for one in said[filled_at])  # fmt: skip
    statuses = [one for one in said[gone_at] if isinstance(one, OrderStatus) and one.oid == oid]
    assert [one.status for one in statuses] == ["canceled"]


def test_killed_at_any_moment_it_goes_on(start: Start, tmp_path: Path) -> None:
    """Nothing that was answered is lost, whenever the process dies; the log is never corrupt."""
    rng = random.Random(3)
    wallet = Account.from_key("0x" + "66" * 32)
    answered: list[tuple[int, int]] = []  # height and oid
    highest = 0
    for _ in range(8):
        node = start("devnet", "--path", str(tmp_path), *QUICK)
        with submitting(tmp_path / "submit.sock") as submitter:
            submitter.faucet(wallet)
            client = submitter.client(wallet)
            for _ in range(rng.randrange(1, 12)):
                order = client.order("NTT", True, 20, 120.0, {"limit": {"tif": "Gtc"}})
                (status,) = order["response"]["data"]["statuses"]
                answered.append((submitter.heights[-1], status["resting"]["oid"]))
            time.sleep(rng.random() * 0.05)
            node.kill()
        blocks = blocks_of(tmp_path)
        assert [block.height for block in blocks] == list(range(1, len(blocks) + 1))
        assert len(blocks) > highest
        highest = len(blocks)
        assert start("log", "verify", str(tmp_path)).wait() == 0
    added = {
        (block.height, one.oid)
        for block in blocks_of(tmp_path)
        for one in block.transitions
        if isinstance(one, BookAdded)
    }
    assert set(answered) <= added


def test_a_full_disk_ends_it_and_the_log_verifies(start: Start, tmp_path: Path) -> None:
    """No file may grow over 300 kB, which the kernel enforces as it would a full disk: a part of
    the record is written, the rest refused. With room again the chain goes on.
    """
    command = (sys.executable, "-m", "sidecar", "devnet", "--path", str(tmp_path), *QUICK)
    done = subprocess.run(
        (*command, "--snapshot-blocks", "100000"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "LogUnwritable" in done.stderr
    assert "disk full" in done.stderr or "File too large" in done.stderr
    assert start("log", "verify", str(tmp_path)).wait() == 0
    before = blocks_of(tmp_path)
    assert before
    again = start("devnet", "--path", str(tmp_path), *QUICK, "--blocks", "5")
    assert again.wait() == 0, again.output
    assert [block.height for block in blocks_of(tmp_path)][-1] == len(before) + 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_politely(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    node = start("devnet", "--path", str(tmp_path), *QUICK, "--info-port", "0")
    node.wait_for("info server")
    began = time.monotonic()
    node.signal(number)
    assert node.wait() in (0, 130)
    assert time.monotonic() - began < 5
    assert not (tmp_path / "submit.sock").exists()
    assert "Traceback" not in node.output


def test_a_flood_is_answered_whole(start: Start, tmp_path: Path) -> None:
    """2,000 orders at once, some signed by nobody: each has its answer, the blocks go on."""
    node = start("devnet", "--path", str(tmp_path), "--block-ms", "20")
    wallet = Account.from_key("0x" + "77" * 32)
    with submitting(tmp_path / "submit.sock") as submitter:
        submitter.faucet(wallet)
        bodies: list[bytes] = []
        client = submitter.client(wallet)

        def keep(_path: str, payload: Any) -> Any:
            bodies.append(msgspec.json.encode(payload))
            return {}

        client.post = keep
        for number in range(40):
            client.order("SONY", True, 1, 3000.0 + number, {"limit": {"tif": "Gtc"}})
            time.sleep(0.002)  # the client's nonces are ms
        bodies = [*bodies, b"{}", b"not json"] * 50
        asked = [submitter.send(body) for body in bodies]
        answers = {answer.request_id: answer for answer in (submitter.answer() for _ in asked)}
        assert set(answers) == set(asked)
        good = [answer for answer in answers.values() if answer.ok]
        assert len(good) == 40  # each nonce once
        duplicate = [answer for answer in answers.values() if "duplicate nonce" in f"{answer}"]
        assert len(duplicate) == 40 * 49
        assert all(not answer.height for answer in answers.values() if "JSON" in f"{answer}")
    assert node.running


def test_the_same_chain_in_both_languages_live(start: Start, serve: Any, tmp_path: Path) -> None:
    """A sidecar on the native log and one on the Hyperliquid files, with a snapshot of the chain's
    own info server, hold the same books.
    """
    ipc, data, snapshot = tmp_path / "ipc", tmp_path / "hl", tmp_path / "l4.json"
    node = start(
        "devnet", "--path", str(ipc), "--block-ms", "50", "--hyperliquid", str(data),
        "--info-port", "0",
    )  # fmt: skip
    port = int(node.wait_for(r'"port": (\d+), "event": "info server"')[1])
    native = serve("--source-path", str(ipc)).ready()
    time.sleep(0.5)
    request = {
        "type": "fileSnapshot",
        "request": {"type": "l4Snapshots", "includeUsers": True, "includeTriggerOrders": False},
        "outPath": str(snapshot),
        "includeHeightInOutput": True,
    }
    answer = post(port, request)
    assert answer == b"null"
    theirs = serve(
        "--source-kind", "hyperliquid", "--source-path", str(data),
        "--source-snapshot", str(snapshot),
    ).ready()  # fmt: skip
    for coin in ("TOYOTA", "NTT"):
        for _ in range(200):  # until both were asked between the same two blocks
            mine, other = (
                server.info(type="l2Book", coin=coin, nLevels=100) for server in (native, theirs)
            )
            if mine["time"] == other["time"]:
                break
        assert mine == other
        assert len(mine["levels"][0]) > 20


def post(port: int, request: Any) -> bytes:
    """A request to the info server."""
    done = subprocess.run(
        (
            "curl", "-sf", "--max-time", "10", f"http://127.0.0.1:{port}/info",
            "-H", "Content-Type: application/json", "-d", msgspec.json.encode(request),
        ),
        capture_output=True,
        check=True,
        env=os.environ,
    )  # fmt: skip
    return done.stdout


def test_the_documented_script_works(start: Start, tmp_path: Path) -> None:
    """The one in docs/devnet.md, as it stands there."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "devnet.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    node = start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "20")
    node.wait_for("producing")
    done = subprocess.run(
        (sys.executable, "-c", script),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    faucet, order = map(ast.literal_eval, done.stdout.splitlines())
    assert (faucet[:2], faucet[3]) == ([1, True], {"type": "default"})
    assert order[:2] == [2, True]
    assert "resting" in order[3]["data"]["statuses"][0]


@pytest.mark.parametrize("command", ["devnet", "serve"])
def test_a_second_interrupt_leaves_no_traceback(start: Start, tmp_path: Path, command: str) -> None:
    node = start("devnet", "--path", str(tmp_path), *QUICK)
    node.wait_for("producing")
    if command == "serve":
        node = start("serve", "--source-path", str(tmp_path), "--server-port", "0")
        node.wait_for("serving ws")
    for _ in range(4):
        node.signal(signal.SIGINT)
        time.sleep(0.002)
    assert node.wait() == 0
    assert "Traceback" not in node.output
