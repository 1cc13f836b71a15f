"""The official Python client, unmodified, against the development chain."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from processes import Serve, Server, Start

SYMBOLS = {"TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO"}


@pytest.fixture
def server(tmp_path: Path, start: Start, serve: Serve) -> Server:
    start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "20", "--funding-ms", "1000")
    server = serve("--source-path", str(tmp_path / "ipc"))
    deadline = time.monotonic() + 20
    while set(server.info(type="allMids")) != SYMBOLS:  # the chain's first blocks fill its books
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return server


@pytest.fixture
def info(server: Server) -> Iterator[Info]:
    client = Info(base_url=server.url)
    yield client
    client.ws_manager.ws.keep_running = False
    server.kill()  # else its thread may wait ten seconds for a message on a socket that it closed
    client.disconnect_websocket()
    client.ws_manager.join()
    client.session.close()


def test_sdk_constructs_and_queries(info: Info) -> None:
    meta = info.meta()
    assert {asset["name"] for asset in meta["universe"]} == SYMBOLS
    assert info.name_to_asset("TOYOTA") == 0
    mids = info.all_mids()
    assert set(mids) == SYMBOLS
    assert all(float(mid) > 0 for mid in mids.values())
    book = info.l2_snapshot("SONY")
    bids, asks = book["levels"]
    assert book["coin"] == "SONY"
    assert 0 < float(bids[0]["px"]) < float(asks[0]["px"])
    assert info.spot_meta() == {"universe": [], "tokens": []}


def test_sdk_gets_callbacks(info: Info) -> None:
    received: dict[str, queue.Queue[Any]] = {}
    for kind in ("l2Book", "bbo", "trades", "allMids"):
        received[kind] = queue.Queue()
        subscription = {"type": kind} | ({} if kind == "allMids" else {"coin": "TOYOTA"})
        info.subscribe(subscription, received[kind].put)
    first = {kind: messages.get(timeout=20) for kind, messages in received.items()}
    assert {kind: message["channel"] for kind, message in first.items()} == {
        kind: kind for kind in received
    }
    bids, asks = first["l2Book"]["data"]["levels"]
    assert len(bids) == len(asks) == 20
    assert first["bbo"]["data"]["coin"] == "TOYOTA"
    assert set(first["allMids"]["data"]["mids"]) == SYMBOLS
    trade = first["trades"]["data"][0]
    assert trade["side"] in {"A", "B"}
    assert len(trade["users"]) == 2
    for kind, messages in received.items():  # and they go on
        later = messages.get(timeout=20)
        assert later["height"] > first[kind]["height"]


def traders(info: Info) -> list[str]:
    """Those who traded lately, newest first."""
    deadline = time.monotonic() + 20
    while not (trades := info.post("/info", {"type": "recentTrades", "coin": "TOYOTA", "n": 50})):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [user for trade in trades for user in trade["users"]]


def maker(info: Info) -> str:
    """Somebody who trades, whose orders rest and have ids of its own."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for user in traders(info):
            past = info.historical_orders(user)
            if info.open_orders(user) and any(one["order"]["cloid"] for one in past):
                return user
    raise AssertionError("nobody has resting orders")


def test_sdk_asks_for_orders(info: Info) -> None:
    user = maker(info)
    orders = info.open_orders(user)
    assert {order["coin"] for order in orders} <= SYMBOLS
    frontend = info.frontend_open_orders(user)
    assert all(float(order["sz"]) <= float(order["origSz"]) for order in frontend)
    assert all(order["children"] == [] and not order["isTrigger"] for order in frontend)
    past = info.historical_orders(user)
    assert 0 < len(past) <= 2000
    named = next(one["order"] for one in past if one["order"]["cloid"])
    for oid in (named["oid"], orders[0]["oid"]):
        found = info.query_order_by_oid(user, oid)
        assert (found["status"], found["order"]["order"]["oid"]) == ("order", oid)
    by_cloid = info.query_order_by_cloid(user, Cloid.from_str(named["cloid"]))
    assert by_cloid["order"]["order"]["cloid"] == named["cloid"]
    assert info.query_order_by_oid(user, 10**12) == {"status": "unknownOid"}


def test_sdk_asks_for_the_past(info: Info) -> None:
    user = traders(info)[0]
    fills = info.user_fills(user)
    assert 0 < len(fills) <= 2000
    assert fills[0]["time"] >= fills[-1]["time"]
    by_time = info.user_fills_by_time(user, fills[-1]["time"], fills[0]["time"])
    assert {one["tid"] for one in by_time} >= {one["tid"] for one in fills}
    assert by_time[0]["time"] <= by_time[-1]["time"]
    combined = info.user_fills_by_time(user, fills[-1]["time"], fills[0]["time"], True)
    assert 0 < len(combined) <= len(by_time)
    (deposit, *_) = info.user_non_funding_ledger_updates(user, 0)
    assert deposit["delta"]["type"] == "deposit"
    deadline = time.monotonic() + 20
    while not (payments := info.user_funding_history(user, 0)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert payments[0]["delta"]["coin"] in SYMBOLS


def test_sdk_follows_a_user(info: Info) -> None:
    user = maker(info)
    received: dict[str, queue.Queue[Any]] = {}
    for kind in (
        "orderUpdates",
        "userEvents",
        "userFills",
        "userFundings",
        "userNonFundingLedgerUpdates",
    ):
        received[kind] = queue.Queue()
        info.subscribe({"type": kind, "user": user}, received[kind].put)
    first = {kind: messages.get(timeout=30) for kind, messages in received.items()}
    assert first["userEvents"]["channel"] == "user"
    assert {"order", "status", "statusTimestamp"} == set(first["orderUpdates"]["data"][0])
    for kind in ("userFills", "userFundings", "userNonFundingLedgerUpdates"):
        assert (first[kind]["data"]["user"], first[kind]["data"]["isSnapshot"]) == (user, True)
    for kind in ("orderUpdates", "userFills", "userFundings"):  # and they go on, unbroken
        later = received[kind].get(timeout=30)
        newest = first[kind]["prev"] if kind != "orderUpdates" else first[kind]["height"]
        assert later["prev"] == newest
