"""The official client's `Exchange`, unmodified, places and takes back; what another client sees."""

import ast
import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from hyperliquid.exchange import Exchange
from hyperliquid.utils.types import Cloid
from websockets.asyncio.client import connect
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_sync

from processes import Serve, Server, Start
from sidecar.fixed import SCALE
from sidecar.node.log import LogReader
from sidecar.node.transitions import OrderStatus
from trader import exchange, fund, order, post, signed, wallet_of

ALICE = wallet_of(0xA11CE)
BOB = wallet_of(0xB0B)
GTC = {"limit": {"tif": "Gtc"}}
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def server(tmp_path: Path, start: Start, serve: Serve) -> Server:
    start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "20")
    server = serve("--source-path", str(tmp_path / "ipc"))
    deadline = time.monotonic() + 20
    while len(server.info(type="allMids")) < 5:  # the chain's first blocks fill its books
        assert time.monotonic() < deadline
        time.sleep(0.02)
    fund(server, ALICE)
    return server


@pytest.fixture
def alice(server: Server) -> Iterator[Exchange]:
    client = exchange(server, ALICE)
    yield client
    client.session.close()
    client.info.session.close()


def statuses(answer: Any) -> list[Any]:
    assert answer["status"] == "ok", answer
    found: list[Any] = answer["response"]["data"]["statuses"]
    return found


def oid_of(answer: Any) -> int:
    (status,) = statuses(answer)
    return int(status["resting"]["oid"])


def mid(server: Server, coin: str = "TOYOTA") -> float:
    return float(server.info(type="allMids")[coin])


def settled(server: Server, height: int = 0) -> None:
    """Until the sidecar serves the block of an answer that came before."""
    start = server.info(type="serverInfo")["height"]
    while server.info(type="serverInfo")["height"] < max(start + 2, height):
        time.sleep(0.005)


def test_place_modify_cancel(server: Server, alice: Exchange) -> None:
    px = float(int(mid(server) * 0.8))
    first = oid_of(alice.order("TOYOTA", True, 10, px, GTC))
    cloid = Cloid.from_int(77)
    second = oid_of(alice.order("TOYOTA", True, 10, px - 10, GTC, cloid=cloid))
    settled(server)
    open_ = {one["oid"]: one for one in alice.info.open_orders(ALICE.address)}
    assert {first, second} <= set(open_)
    assert float(open_[first]["limitPx"]) == px
    assert alice.modify_order(first, "TOYOTA", True, 20, px - 5, GTC)["status"] == "ok"
    settled(server)
    modified = [one for one in alice.info.open_orders(ALICE.address) if one["oid"] not in open_]
    assert [(float(one["limitPx"]), float(one["sz"])) for one in modified] == [(px - 5, 20.0)]
    assert statuses(alice.cancel("TOYOTA", modified[0]["oid"])) == ["success"]
    assert statuses(alice.cancel_by_cloid("TOYOTA", cloid)) == ["success"]
    settled(server)
    assert alice.info.open_orders(ALICE.address) == []
    (again,) = statuses(alice.cancel("TOYOTA", first))
    assert again == {"error": "Order was never placed, already canceled, or filled."}


def test_bulk_and_schedule(server: Server, alice: Exchange) -> None:
    px = float(int(mid(server) * 0.8))
    wanted = [
        {
            "coin": "TOYOTA",
            "is_buy": True,
            "sz": 10 + number,
            "limit_px": px - number,
            "order_type": GTC,
            "reduce_only": False,
        }
        for number in range(5)
    ]
    placed = statuses(alice.bulk_orders(wanted))
    oids = [one["resting"]["oid"] for one in placed]
    assert len(set(oids)) == 5
    moved = [{"oid": oid, "order": one | {"sz": 50}} for oid, one in zip(oids, wanted, strict=True)]
    moved_to = [one["resting"]["oid"] for one in statuses(alice.bulk_modify_orders_new(moved))]
    cancels = [{"coin": "TOYOTA", "oid": oid} for oid in moved_to[:3]]
    assert statuses(alice.bulk_cancel(cancels)) == ["success"] * 3
    assert alice.schedule_cancel(time.time_ns() // 1_000_000 + 60_000)["status"] == "ok"
    assert alice.schedule_cancel(None)["status"] == "ok"
    assert statuses(alice.bulk_cancel([{"coin": "TOYOTA", "oid": oid} for oid in moved_to[3:]]))


def test_market_open_tpsl_and_close(server: Server, alice: Exchange) -> None:
    leverage = alice.update_leverage(5, "TOYOTA", is_cross=True)
    assert leverage == {"status": "ok", "response": {"type": "default"}}
    (opened,) = statuses(alice.market_open("TOYOTA", True, 5))
    assert float(opened["filled"]["totalSz"]) == 5
    settled(server)
    (position,) = alice.info.user_state(ALICE.address)["assetPositions"]
    assert float(position["position"]["szi"]) == 5
    assert position["position"]["leverage"] == {"type": "cross", "value": 5}
    now = mid(server)
    for tpsl, px in (("tp", now * 1.3), ("sl", now * 0.7)):
        trigger = {"trigger": {"triggerPx": int(px), "isMarket": True, "tpsl": tpsl}}
        assert oid_of(alice.order("TOYOTA", False, 5, int(px), trigger, reduce_only=True))
    settled(server)
    assert len(alice.info.frontend_open_orders(ALICE.address)) == 2
    (closed,) = statuses(alice.market_close("TOYOTA"))
    assert float(closed["filled"]["totalSz"]) == 5
    settled(server)
    assert alice.info.user_state(ALICE.address)["assetPositions"] == []
    assert len(alice.info.user_fills(ALICE.address)) >= 2


def test_isolated_margin_transfer_and_agent(server: Server, alice: Exchange) -> None:
    assert alice.update_leverage(5, "SONY", is_cross=False)["status"] == "ok"
    (opened,) = statuses(alice.market_open("SONY", True, 3))
    assert "filled" in opened
    assert alice.update_isolated_margin(1000.0, "SONY")["status"] == "ok"
    assert alice.usd_transfer(1_000_000.0, BOB.address)["status"] == "ok"
    approved, key = alice.approve_agent("desk")
    assert approved == {"status": "ok", "response": {"type": "default"}}
    agent = exchange(server, wallet_of(int(key, 16)), account_address=ALICE.address)
    px = float(int(mid(server) * 0.8))
    oid = oid_of(agent.order("TOYOTA", True, 10, px, GTC))  # its approval may not be applied yet
    settled(server)
    assert oid in {one["oid"] for one in alice.info.open_orders(ALICE.address)}
    assert float(alice.info.user_state(BOB.address)["withdrawable"]) == 1_000_000
    refused = agent.usd_transfer(1.0, BOB.address)  # an agent may not
    assert refused["status"] == "err"
    assert "Must deposit before performing actions" in refused["response"]
    agent.session.close()
    agent.info.session.close()


@pytest.mark.anyio
async def test_another_client_sees_it_in_the_answers_block(server: Server) -> None:
    """orderUpdates, userFills, l2Book, clearinghouseState: of one block, whose height it is."""
    user = ALICE.address
    async with connect(server.ws_url) as reader, connect(server.ws_url) as writer:
        for subscription in (
            {"type": "orderUpdates", "user": user},
            {"type": "userFills", "user": user},
            {"type": "clearinghouseState", "user": user},
            {"type": "l2Book", "coin": "TOYOTA"},
        ):
            request = {"method": "subscribe", "subscription": subscription}
            await reader.send(json.dumps(request))
        px = str(int(mid(server) * 1.2))
        action = {"type": "action", "payload": signed(ALICE, order(px, "3.0", tif="Ioc"))}
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        post_ = {"method": "post", "id": 5, "request": action, "traceparent": trace}
        await writer.send(json.dumps(post_))
        answer = json.loads(await writer.recv())
        assert (answer["channel"], answer["data"]["id"]) == ("post", 5)
        assert answer["traceparent"].split("-")[1] == trace.split("-")[1]
        assert answer["traceparent"].split("-")[2] != trace.split("-")[2]
        (status,) = statuses(answer["data"]["response"]["payload"])
        oid, height = status["filled"]["oid"], answer["height"]
        seen: dict[str, Any] = {}
        while len(seen) < 4:
            message = json.loads(await asyncio.wait_for(reader.recv(), 20))
            if message.get("height") == height:
                seen[message["channel"]] = message["data"]
        assert oid in {one["order"]["oid"] for one in seen["orderUpdates"]}
        assert oid in {one["oid"] for one in seen["userFills"]["fills"]}
        (position,) = seen["clearinghouseState"]["clearinghouseState"]["assetPositions"]
        assert float(position["position"]["szi"]) == 3


def test_http_says_block_and_trace(server: Server) -> None:
    request = signed(ALICE, {"type": "noop"})
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    answer = requests.post(
        f"{server.url}/exchange", json=request, headers={"traceparent": trace}, timeout=20
    )
    assert answer.json() == {"status": "ok", "response": {"type": "default"}}
    assert int(answer.headers["Sidecar-Height"]) > 0
    assert answer.headers["Traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


def test_the_same_action_twice_is_one_order(server: Server) -> None:
    request = signed(ALICE, order())
    first = post(server, request)
    assert post(server, request) == first
    other = signed(ALICE, order("2400.0"), request["nonce"])
    assert post(server, other) == {
        "status": "err",
        "response": f"Invalid nonce: duplicate nonce {request['nonce']}.",
    }


def ask(websocket: ClientConnection, **request: Any) -> Any:
    websocket.send(json.dumps(request))
    return json.loads(websocket.recv(timeout=20))


def opened_in_log(ipc: Path, user: bytes, px: int) -> int:
    """How many orders of a price the chain has taken of a user."""
    with LogReader(ipc / "log", after=0, chain="devnet-1") as log:
        return sum(
            one.status == "open" and (one.user, one.limit_px) == (user, px)
            for block in iter(log.next_block, None)
            for one in block.transitions
            if isinstance(one, OrderStatus)
        )


@pytest.mark.parametrize("how", ["close", "reset", "shutdown"])
def test_on_disconnect(server: Server, tmp_path: Path, how: str) -> None:
    """However the connection ends, the action is sent, once: also where two have laid it out."""
    net = signed(ALICE, order("2345.0"))
    user = bytes.fromhex(ALICE.address[2:])
    with ExitStack() as stack:
        for _ in range(2):
            websocket = stack.enter_context(connect_sync(server.ws_url))
            laid = ask(websocket, method="onDisconnect", action=net)
            data = {"type": "order", "nonce": net["nonce"]}
            assert laid == {"channel": "onDisconnect", "data": data}
            if how == "reset":
                linger = struct.pack("ii", 1, 0)
                websocket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                stack.callback(websocket.socket.close)
        settled(server)
        assert not opened_in_log(tmp_path / "ipc", user, 2345 * SCALE)
        if how == "shutdown":
            assert server.stop() == 0
    if how == "reset":
        assert server.running
    deadline = time.monotonic() + 10
    while not opened_in_log(tmp_path / "ipc", user, 2345 * SCALE):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    assert opened_in_log(tmp_path / "ipc", user, 2345 * SCALE) == 1
    if how != "shutdown":
        assert server.wait_for(r'"status": "ok".*"on disconnect"')


def test_on_disconnect_can_be_taken_back(server: Server) -> None:
    oid = oid_of(post(server, signed(ALICE, order())))
    cancel = {"type": "cancel", "cancels": [{"a": 0, "o": oid}]}
    with connect_sync(server.ws_url) as websocket:
        assert ask(websocket, method="onDisconnect", action=signed(ALICE, cancel))["data"]
        assert ask(websocket, method="onDisconnect", action=None)["data"] is None
        unknown = signed(wallet_of(99), cancel)
        refused = ask(websocket, method="onDisconnect", action=unknown)
        assert "Must deposit before performing actions" in refused["data"]
        assert ask(websocket, method="onDisconnect", action={"a": 1})["channel"] == "error"
    settled(server)
    assert oid in {one["oid"] for one in server.info(type="openOrders", user=ALICE.address)}


def test_on_disconnect_of_a_silent_client(start: Start, serve: Serve, tmp_path: Path) -> None:
    """One that is there but answers no ping: its connection is given up, and its action sent."""
    start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "20")
    pings = ("--server-ping-interval-s", "0.5", "--server-pong-timeout-s", "0.5")
    server = serve("--source-path", str(tmp_path / "ipc"), *pings)
    fund(server, ALICE)
    net = signed(ALICE, order("2345.0"))
    with socket.create_connection(("127.0.0.1", server.port)) as dead:
        text = json.dumps({"method": "onDisconnect", "action": net}).encode()
        frame = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text
        dead.sendall(UPGRADE + frame)
        server.wait_for(r'"status": "ok".*"on disconnect"')
    assert opened_in_log(tmp_path / "ipc", bytes.fromhex(ALICE.address[2:]), 2345 * SCALE) == 1


def test_the_documented_order_works(server: Server) -> None:
    """The script in README.md, as it stands there but for the port."""
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (script,) = re.findall(r"## An order\n\n```python\n(.*?)```", text, re.DOTALL)
    script = script.replace("127.0.0.1:8010", f"127.0.0.1:{server.port}")
    done = subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, timeout=60, check=True
    )
    faucet, placed, *_ = map(ast.literal_eval, done.stdout.splitlines())
    assert faucet == {"status": "ok", "response": {"type": "default"}}
    assert oid_of(placed) > 0
