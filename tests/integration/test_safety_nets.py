"""onDisconnect when it matters: the node is away, the nonce is old, somebody lays out too many."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from processes import Process, Serve, Server, Start
from sidecar.limits import NONCES_KEPT
from trader import fund, order, post, signed, wallet_of

ALICE = wallet_of(0xA11CE)


def chain(start: Start, path: Path) -> Process:
    quick = ("--block-ms", "30", "--snapshot-blocks", "50", "--actions-per-block", "2")
    return start("devnet", "--path", str(path), *quick)


def rest(server: Server) -> dict[str, Any]:
    """An order of Alice's that rests; the action that takes it back."""
    answer = post(server, signed(ALICE, order("1500", "1.0")))
    oid = answer["response"]["data"]["statuses"][0]["resting"]["oid"]
    return {"type": "cancel", "cancels": [{"a": 0, "o": oid}]}


def lay(websocket: ClientConnection, action: Any) -> Any:
    websocket.send(json.dumps({"method": "onDisconnect", "action": action}))
    return json.loads(websocket.recv(timeout=20))


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def open_orders(server: Server) -> list[Any]:
    found: list[Any] = server.info(type="openOrders", user=ALICE.address)
    return found


def test_it_waits_for_the_node(start: Start, serve: Serve, tmp_path: Path) -> None:
    """The connection ends while the node is away; its order is taken back when it returns."""
    ipc = tmp_path / "ipc"
    node = chain(start, ipc)
    server = serve("--source-path", str(ipc))
    fund(server, ALICE)
    cancel = rest(server)
    with connect(server.ws_url) as websocket:
        assert lay(websocket, signed(ALICE, cancel))["data"]["type"] == "cancel"
        node.kill()
        until(lambda: server.get("/readyz", server.operator_port)[0] == 503)
    server.wait_for("on disconnect waits")
    assert len(open_orders(server)) == 1
    chain(start, ipc)
    server.wait_for(r'"status": "ok".*"on disconnect"')
    until(lambda: not open_orders(server))


def test_what_the_node_never_took_is_told_at_the_end(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    ipc = tmp_path / "ipc"
    node = chain(start, ipc)
    server = serve("--source-path", str(ipc))
    fund(server, ALICE)
    with connect(server.ws_url) as websocket:
        lay(websocket, signed(ALICE, rest(server)))
        node.kill()
        until(lambda: server.get("/readyz", server.operator_port)[0] == 503)
    server.wait_for("on disconnect waits")
    assert server.stop() == 0
    assert '"status": 503' in server.wait_for(r'.*"on disconnect"[,}].*')[0]


@pytest.mark.parametrize("old", [True, False])
def test_the_client_is_told_when_its_nonce_is_too_old(
    start: Start, serve: Serve, tmp_path: Path, old: bool
) -> None:
    """The chain takes no nonce below the signer's 100 highest; one of tomorrow stays good."""
    ipc = tmp_path / "ipc"
    chain(start, ipc)
    server = serve("--source-path", str(ipc))
    fund(server, ALICE)
    cancel = rest(server)
    ahead = None if old else time.time_ns() // 1_000_000 + 12 * 3_600_000
    with connect(server.ws_url, max_queue=None) as websocket:
        laid = lay(websocket, signed(ALICE, cancel, ahead))["data"]
        for number in range(NONCES_KEPT):
            action = {"type": "action", "payload": signed(ALICE, {"type": "noop"})}
            request = {"method": "post", "id": number, "request": action}
            websocket.send(json.dumps(request))
        answers = [json.loads(websocket.recv(timeout=20)) for _ in range(NONCES_KEPT + old)]
    told = [one["data"] for one in answers if one["channel"] == "onDisconnect"]
    assert told == [{**laid, "expired": True}] * old
    expected = "below the 100 highest" if old else '"status": "ok"'
    assert expected in server.wait_for(r'.*"on disconnect".*')[0]
    if not old:
        until(lambda: not open_orders(server))


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_who_lays_and_goes_is_limited_as_who_sends(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    """Each costs two: laying it out, and that it is sent; the last one is sent on credit."""
    ipc = tmp_path / "ipc"
    chain(start, ipc)
    limits = ("--orders-burst-per-account", "6", "--orders-per-s-per-account", "0.001")
    server = serve("--source-path", str(ipc), *limits)
    fund(server, ALICE)  # one of the six
    address, said = ("127.0.0.1", server.port), []
    for _ in range(5):
        net = {"method": "onDisconnect", "action": signed(ALICE, {"type": "noop"})}
        text = json.dumps(net).encode()
        frame = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text
        with socket.create_connection(address) as sock:
            sock.sendall(UPGRADE + frame + b"\x88\x80" + bytes(4))
            heard = b"".join(iter(lambda s=sock: s.recv(1 << 16), b""))  # type: ignore[misc]
            said.append(b"Too many requests from this account" in heard)
    assert said == [False, False, False, True, True]
    assert server.info(type="userRateLimit", user=ALICE.address)["nRequestsUsed"] == 6
    until(lambda: server.output.count('"on disconnect"') == 3)
    status, answer = server.post("/exchange", json.dumps(signed(ALICE, order())).encode())
    assert (status, answer["code"]) == (429, 429)
